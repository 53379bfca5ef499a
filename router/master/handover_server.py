"""The old router's side of a hand-over: the listener in ``--run-dir``, and the one connection that may be open."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal

from fastroute.router.master.handover import PROTOCOL, SOCKET_NAME, HandoverSocket, accept
from fastroute.router.runtime import listen
from fastroute.router.runtime.listen import Listener
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier
from fastroute.router.runtime.own_files import doubt

#: Seconds until the new router has to serve, or it is refused.  It gives up by itself after half of that.
SERVE_TIMEOUT = 60.0
#: Seconds until the first message: a new router sends it as soon as it has connected, and no other is heard meanwhile.
HELLO_TIMEOUT = 2.0

#: What the new router reported; empty: nothing.
Event = Literal["", "hello", "standby", "ready", "gone"]

log = get_logger("fastroute.master")


class HandoverServer:
    """Lets one router at a time connect, and tells the master what it reports."""

    def __init__(self, run_dir: str | None, listener: Listener | None) -> None:
        #: What the router before this one handed over, or a new one; None: without ``run_dir`` nobody can take over.
        self.listener = listener
        if run_dir and listener is None:
            self.listener = listen.open_packets(str(Path(run_dir) / SOCKET_NAME), 0o600)
            self.listener.socket.setblocking(False)
            if problem := doubt(run_dir):
                log.warning("run-dir %s: %s; no other user can take over from this router, but one can hinder the next"
                            " router from doing so", run_dir, problem)  # fmt: skip
        #: The router that is taking over, if there is one.
        self.connection: HandoverSocket | None = None
        #: Its version; empty: it has not said hello.
        self.version = ""
        #: When :meth:`step` refuses it.
        self.deadline = 0.0

    def step(self, readable: list[int]) -> Event:
        """Do what is due; ``readable`` are the descriptors that can be read."""
        if self.connection is None:
            if self.listener is not None and self.listener.socket.fileno() in readable:
                self.connection, self.deadline = accept(self.listener), time.monotonic() + HELLO_TIMEOUT
            return ""
        if time.monotonic() >= self.deadline:
            self.refuse(f"it took longer than {SERVE_TIMEOUT if self.version else HELLO_TIMEOUT:g} s")
            return "gone"
        if self.connection.fileno() not in readable:
            return ""
        return self._receive(self.connection)

    def _receive(self, connection: HandoverSocket) -> Event:
        message, _ = connection.receive()
        if message is None:
            self.disconnect()
            return "gone"
        if "hello" in message:
            self.version, self.deadline = str(message.get("version"))[:40] or "?", time.monotonic() + SERVE_TIMEOUT
            if message["hello"] == PROTOCOL:
                return "hello"
            self.refuse(f"version {self.version} has another hand-over protocol than this one; stop this one first")
            return "gone"
        word = message.get("word")
        return word if word in ("standby", "ready") else ""

    def refuse(self, reason: str) -> None:
        """Tell the new router why it may not take over, and disconnect."""
        if self.connection is not None:
            log.error("no hand-over to the router with pid %d: %s; this one goes on", self.connection.pid, reason)
            self.connection.send(error=reason)
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        if self.connection is not None:
            self.connection.close()
            self.connection, self.version = None, ""

    def close(self, *, remove: bool) -> None:
        """Accept no router any more; ``remove``: and remove the listener's path."""
        self.disconnect()
        if self.listener is not None:
            if remove:
                self.listener.remove_path()
            self.listener.socket.close()
            self.listener = None


def start_successor(run_dir: str | None, notifier: Notifier) -> None:
    """SIGUSR2: start the router that is installed now, with the same command line; it takes over from this one."""
    if run_dir is None:
        log.error("SIGUSR2: nobody can take over without --run-dir")
    elif os.getpid() == 1:
        log.error("SIGUSR2: process 1 can't be followed by another; start the new router in a container of its own")
    else:
        argv = [sys.executable, *sys.orig_argv[1:]]
        try:
            pid = os.posix_spawn(sys.executable, argv, notifier.for_successor(os.environ))
        except OSError as error:
            log.error("SIGUSR2: %s: %s", sys.executable, error.strerror)
        else:
            log.info("started a router with pid %d, to take over", pid)
