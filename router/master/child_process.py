"""One process that the master keeps alive: forked with its descriptors only, and again when it dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from fastroute.router.master.forking import fork
from fastroute.router.runtime.backoff import Backoff
from fastroute.router.runtime.inheritance import Inheritance, StartError

#: Seconds before a child that keeps dying is started again: doubled from the first to the last.
MIN_BACKOFF, MAX_BACKOFF = 0.05, 1.0
#: A child that ran for this many seconds starts the back-off over.
HEALTHY_AFTER = 5.0
#: Buffer of a channel between control and a relay, each way; several messages of relays.MAX_MESSAGE.
CHANNEL_BUFFER = 1 << 20


@dataclass(slots=True, eq=False)
class ChildProcess:
    """A child of the master, whether it runs now or not."""

    #: What it is called in the log.
    name: str
    #: The Python module that it runs.
    module: str
    #: Called at each start, for the settings and descriptors that the child gets.
    inheritance: Callable[[], Inheritance]
    #: 0: it does not run.
    pid: int = 0
    #: What it reported last since its start: a word of ``inheritance.py``.
    state: str = ""
    #: When it reported last.
    last_report: float = 0.0
    started: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(MIN_BACKOFF, MAX_BACKOFF))
    #: When it has to be started again, while it does not run.
    due: float = 0.0

    def start(self, now: float) -> None:
        """Start it, as a copy of the master, where its module is prepared; ``StartError`` when that can't be done."""
        inheritance = self.inheritance()
        settings_fd = os.memfd_create(f"fastroute-{self.name}")
        try:
            os.write(settings_fd, inheritance.to_bytes())
            self.pid = fork(self.name, self.module, settings_fd, inheritance.descriptors())
        except OSError as error:
            raise StartError(f"{self.name} can't be started: {error.strerror} (as user {os.getuid()})") from None
        finally:
            os.close(settings_fd)
        self.started, self.due, self.state = now, 0.0, ""

    def died(self, now: float) -> None:
        """Plan the restart."""
        self.pid = 0
        healthy = now - self.started >= HEALTHY_AFTER
        if healthy:
            self.backoff.reset()
        delay = self.backoff.next()
        self.due = now if healthy else now + delay

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.pid:
            os.kill(self.pid, number)


@dataclass(slots=True, eq=False)
class RelayChannel:
    """The SOCK_SEQPACKET pair between control and one relay; the master holds both ends, so that either may restart."""

    control_end: int = -1
    relay_end: int = -1

    @classmethod
    def open(cls) -> RelayChannel:
        """A new pair."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BUFFER)
        return cls(pair[0].detach(), pair[1].detach())

    def close_relay_end(self) -> None:
        """The relay won't be started again: its end is closed when it ends, and control sees that."""
        if self.relay_end >= 0:
            os.close(self.relay_end)
            self.relay_end = -1

    def close(self) -> None:
        """Neither process needs it any more."""
        self.close_relay_end()
        if self.control_end >= 0:
            os.close(self.control_end)
            self.control_end = -1


def relay_ended(control_end: int) -> bool:
    """Whether no process holds the relay's end of this channel any more."""
    with socket.socket(fileno=os.dup(control_end)) as sock:
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
