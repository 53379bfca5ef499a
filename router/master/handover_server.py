"""The old router's side of a hand-over: the door in ``--run-dir``, and the one talk that may be going on there."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal

from fastroute.router.master.handover import NAME, PROTOCOL, HandoverSocket, accept
from fastroute.router.runtime import listen
from fastroute.router.runtime.listen import Listener
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.notify import Notifier
from fastroute.router.runtime.own_files import doubt

#: A successor that does not serve by then is refused.  It gives up by itself after half of that.
TAKES_AT_MOST = 60.0
#: Seconds for the first word: a successor says it as soon as it has connected, and nobody else is heard meanwhile.
FIRST_WORD = 2.0

Event = Literal["", "hello", "standby", "ready", "gone"]

log = get_logger("fastroute.master")


class HandoverServer:
    """``door`` is what the router before this one handed over; None: a new one is made (without ``run_dir``: none)."""

    def __init__(self, run_dir: str | None, door: Listener | None) -> None:
        self.door = door
        if run_dir and door is None:
            self.door = listen.open_packets(str(Path(run_dir) / NAME), 0o600)
            self.door.socket.setblocking(False)
            if why := doubt(run_dir):
                log.warning("run-dir %s: %s; nobody else can take this router's place, but others can be in the way of"
                            " the next one", run_dir, why)  # fmt: skip
        self.talk: HandoverSocket | None = None
        self.version = ""
        self.deadline = 0.0

    def step(self, readable: list[int]) -> Event:
        """What the other side wants now, of the descriptors that are ``readable``."""
        if self.talk is None:
            if self.door is not None and self.door.socket.fileno() in readable:
                self.talk, self.deadline = accept(self.door), time.monotonic() + FIRST_WORD
            return ""
        if time.monotonic() >= self.deadline:
            self.refuse(f"it took longer than {TAKES_AT_MOST if self.version else FIRST_WORD:g} s")
            return "gone"
        if self.talk.fileno() not in readable:
            return ""
        return self._hear(self.talk)

    def _hear(self, talk: HandoverSocket) -> Event:
        message, _ = talk.hear()
        if message is None:
            self.hang_up()
            return "gone"
        if "hello" in message:
            self.version, self.deadline = str(message.get("version"))[:40] or "?", time.monotonic() + TAKES_AT_MOST
            if message["hello"] == PROTOCOL:
                return "hello"
            self.refuse(f"version {self.version} takes over otherwise than this one; stop this one first")
            return "gone"
        word = message.get("word")
        return word if word in ("standby", "ready") else ""

    def refuse(self, why: str) -> None:
        """Say why there is no hand-over, and end the talk."""
        if self.talk is not None:
            log.error("no hand-over to the router with pid %d: %s; this one goes on", self.talk.pid, why)
            self.talk.say(error=why)
        self.hang_up()

    def hang_up(self) -> None:
        """End the talk."""
        if self.talk is not None:
            self.talk.close()
            self.talk, self.version = None, ""

    def close(self, *, remove: bool) -> None:
        """No door any more; ``remove``: its path neither."""
        self.hang_up()
        if self.door is not None:
            if remove:
                self.door.remove_path()
            self.door.socket.close()
            self.door = None


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
