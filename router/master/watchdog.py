"""Tells systemd and the log that this router serves and lives, and kills a control process that hangs."""

from __future__ import annotations

import signal
import time

from fastroute.router.master.generation import Generation
from fastroute.router.runtime.inheritance import READY
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier

log = get_logger("fastroute.master")


class Watchdog:
    """The master's part of systemd's watchdog: it reports only while control reports to it."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._announced = False
        #: When :meth:`check` has to be called again; infinite without a watchdog.
        self.due = 0.0 if notifier.watchdog else float("inf")

    def check(self, current: Generation) -> None:
        """Report once that ``current`` serves, and at intervals that it lives; kill a control that is silent too long.

        The control that is started in its place loses nothing.
        """
        if not self._announced and current.ready:
            self._announced = True
            addresses = ", ".join(current.bound)
            log.info("fastroute-router serves on %s", addresses)
            self._notifier.ready(f"serves on {addresses}")
        now, control, max_silence = time.monotonic(), current.control, self._notifier.watchdog
        if now < self.due:
            return
        self.due = now + max_silence / 3
        self._notifier.alive()
        silence = now - control.last_report
        if control.state == READY and silence > max_silence:
            log.error("control (pid %d) has been silent for %.0f s: killed", control.pid, silence)
            control.signal(signal.SIGKILL)
