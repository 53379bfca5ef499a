"""One process that the master keeps alive: started by exec with its descriptors only, and again when it dies."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from fastroute.router.runtime.inheritance import Inheritance, StartError

#: Seconds between restarts of a child that keeps dying: doubled from the first to the last.
MIN_BACKOFF, MAX_BACKOFF = 0.05, 1.0
#: A child that lived this long starts the backoff over.
HEALTHY = 5.0
#: Buffer of a channel between control and a relay, each way; several messages of relays.MAX_MESSAGE.
CHANNEL_BUFFER = 1 << 20


@dataclass(slots=True, eq=False)
class ChildProcess:
    """``module`` is what runs; ``inheritance`` is asked anew at each start, for what it gets."""

    name: str
    module: str
    inheritance: Callable[[], Inheritance]
    pid: int = 0
    #: The last word that it reported since its start (runtime/inheritance.py), and when.
    word: str = ""
    heard: float = 0.0
    started: float = 0.0
    backoff: float = 0.0
    due: float = 0.0

    def start(self, now: float) -> None:
        """Start it: a fresh interpreter, without the working directory on its path."""
        inheritance = self.inheritance()
        settings_fd = os.memfd_create(f"fastroute-{self.name}")
        passed = [settings_fd, *inheritance.descriptors()]
        # SIGUSR1 and SIGHUP end a process that has no handler yet; children let them in once they have one.
        argv = [sys.executable, "-P", "-m", self.module, "--settings-fd", str(settings_fd)]
        held, default = [signal.SIGUSR1, signal.SIGHUP], [signal.SIGPIPE]
        try:
            os.write(settings_fd, inheritance.to_bytes())
            for fd in passed:
                os.set_inheritable(fd, True)
            self.pid = os.posix_spawn(sys.executable, argv, os.environ, setsigmask=held, setsigdef=default)
        except OSError as error:
            text = f"{self.name} can't be started: {sys.executable}: {error.strerror} (as user {os.getuid()})"
            raise StartError(text) from None
        finally:
            os.close(settings_fd)
            for fd in passed[1:]:
                os.set_inheritable(fd, False)
        self.started, self.due, self.word = now, 0.0, ""

    def died(self, now: float) -> None:
        """Plan the restart."""
        self.pid = 0
        lived = now - self.started >= HEALTHY
        self.backoff = MIN_BACKOFF if lived or not self.backoff else min(self.backoff * 2, MAX_BACKOFF)
        self.due = now if lived else now + self.backoff

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.pid:
            os.kill(self.pid, number)


@dataclass(slots=True, eq=False)
class RelayChannel:
    """The SOCK_SEQPACKET pair between control and one relay; the master holds both ends, so that either may restart."""

    ours: int = -1
    theirs: int = -1

    @classmethod
    def open(cls) -> RelayChannel:
        """A new pair."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BUFFER)
        return cls(pair[0].detach(), pair[1].detach())

    def close_theirs(self) -> None:
        """The relay won't be started again: its end is then closed when it ends, and control sees it."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def close(self) -> None:
        """Nobody needs it any more."""
        self.close_theirs()
        if self.ours >= 0:
            os.close(self.ours)
            self.ours = -1


def ended(channel_fd: int) -> bool:
    """Whether nobody holds the other end of control's ``channel_fd`` any more."""
    with socket.socket(fileno=os.dup(channel_fd)) as sock:
        try:
            return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


@dataclass(slots=True, eq=False)
class RelayProcess(ChildProcess):
    """A child with a channel to control."""

    channel: RelayChannel = field(default_factory=RelayChannel)
