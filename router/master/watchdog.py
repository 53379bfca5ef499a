"""That a router serves and lives: what systemd and the log are told, and a control that hangs is ended for."""

from __future__ import annotations

import signal
import time

from fastroute.router.master.generation import Generation
from fastroute.router.runtime.inheritance import READY
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier

log = get_logger("fastroute.master")


class Watchdog:
    """``due``: when :meth:`show` has to be called again; infinite without a watchdog."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._announced = False
        self.due = 0.0 if notifier.watchdog else float("inf")

    def show(self, current: Generation) -> None:
        """Say once that ``current`` serves, and to a watchdog that we live; kill a control that is silent too long."""
        if not self._announced and current.ready:
            self._announced = True
            where = ", ".join(current.bound)
            log.info("fastroute-router serves on %s", where)
            self._notifier.ready(f"serves on {where}")
        now, control, patience = time.monotonic(), current.control, self._notifier.watchdog
        if now < self.due:
            return
        self.due = now + patience / 3
        self._notifier.alive()
        # Its successor loses nothing.
        if control.word == READY and now - control.heard > patience:
            log.error("control (pid %d) has been silent for %.0f s: killed", control.pid, now - control.heard)
            control.signal(signal.SIGKILL)
