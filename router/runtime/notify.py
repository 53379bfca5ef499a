"""Tells systemd the state of a program (sd_notify(3)), without systemd's library.  One edge.

Without ``NOTIFY_SOCKET`` it tells nothing.  The variables leave the environment, so that no child speaks for us.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping


class Notifier:
    """The connection to systemd, as ``environ`` names it."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = pid in ("", str(os.getpid()))
        #: Seconds within which systemd wants a sign of life (``WatchdogSec=``); 0: it wants none.
        self.watchdog = int(usec) / 1e6 if self._address and ours and usec.isdecimal() else 0.0

    def ready(self, status: str) -> None:
        """The program serves (again); ``status`` is a line for people."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The program reads its configuration; :meth:`ready` ends that."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The program has begun to end."""
        self._tell("STOPPING=1", "STATUS=draining")

    def alive(self) -> None:
        """A sign of life."""
        self._tell("WATCHDOG=1")

    def for_successor(self, environ: Mapping[str, str]) -> dict[str, str]:
        """``environ`` with the variables that were taken out, for a process that is to speak in our place."""
        taken = {"NOTIFY_SOCKET": self._address, "WATCHDOG_USEC": f"{self.watchdog * 1e6:.0f}" if self.watchdog else ""}
        return {**environ, **{name: value for name, value in taken.items() if value}}

    def successor(self, pid: int) -> None:
        """Process ``pid`` is the main one from now on."""
        self._tell(f"MAINPID={pid}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.sendto("\n".join(lines).encode(), address)
