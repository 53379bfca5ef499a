"""The two connections of a request: what they are waiting for, what waits for them, and their end.

A side is registered with epoll only while something is expected of it that cannot be had at once: a registration is a
system call, and the kernel is the cost of a relay.  stream.py moves the bytes and has the table of states.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

from fastroute.router.relay.logged import NOTHING, Logged

if TYPE_CHECKING:
    from io import FileIO

    from fastroute.router.relay.http.exchange import Exchange
    from fastroute.router.relay.loop import Relay
    from fastroute.router.relay.pool import Node, Pool

HEAD: Final = 0
CONNECT: Final = 1
RELAY: Final = 2
LINGER: Final = 3
OVER: Final = 4
BODY: Final = 5

#: One read.  With the packet (64 KiB), the beginning of its body and one chunk each way a request stays under 256 KiB.
CHUNK: Final = 65_536
#: Chunks moved for one request before others get their turn.
ROUNDS: Final = 4

OUT: Final = select.EPOLLOUT
ERR: Final = select.EPOLLERR
RDHUP: Final = select.EPOLLRDHUP
GONE: Final = select.EPOLLERR | select.EPOLLHUP
READ: Final = select.EPOLLIN | select.EPOLLRDHUP


class Sides(Logged):
    """One client's connection and, once there is one, the worker's.  -1: no descriptor, or not registered.

    ``corked``: TCP keeps what would not fill a packet until the client's side is closed (or 0.2 s, tcp(7)).
    ``body_left``: bytes of the request that are still to come; 1 when nobody knows.  ``bodied``: more than the packet
    went to the worker, or will.
    """

    # fmt: off
    __slots__ = (
        "avoid", "bodied", "body_left", "cfd", "client_mask", "corked", "down_at", "exchange", "packet", "partial",
        "pool", "relay", "sent_at", "spool", "started", "tried", "tunnel", "up", "up_at", "up_broken", "watched",
        "wfd", "worker_mask",
    )
    # fmt: on

    def __init__(self, relay: Relay, cfd: int, corked: bool = False) -> None:
        self.relay = relay
        self.cfd = cfd
        self.corked = corked
        self.wfd = -1
        self.client_mask = self.worker_mask = -1
        self.state = HEAD
        self.seen = self.began = relay.now
        self.up = self.down = b""
        self.up_at = self.down_at = 0
        self.body_left = 0
        self.bodied = False
        self.started = self.tunnel = self.watched = False
        self.client_eof = self.worker_eof = self.up_broken = False
        # Of the request (session.py):
        self.packet = b""
        self.partial: bytearray | None = None
        self.spool: FileIO | None = None
        self.end = self.attempts = 0
        self.asked = b""
        self.again = False
        self.pool: Pool | None = None
        self.node = None
        #: Where this request failed, in order; None while it is on its first try.
        self.tried: list[Node] | None = None
        #: The one of them that closed without a byte: it is never asked again.
        self.avoid: Node | None = None
        #: Set where the answer is read, not only passed on (answer_reader.py).
        self.exchange: Exchange | None = None
        self.shown = NOTHING
        self.status = b""
        self.fault = ""
        self.tx = self.rx = 0
        self.connect_time = self.answer_time = -1.0
        self.sent_at = 0.0

    # What the loop calls.

    def on_head(self) -> None:
        """The client sent more of its packet; also the beginning of all, right after accept."""
        raise NotImplementedError

    def on_worker(self, mask: int) -> None:
        """epoll says something of the worker's side."""
        raise NotImplementedError

    def on_client(self, mask: int) -> None:
        """epoll says something of the client's side."""
        raise NotImplementedError

    def watch(self) -> None:
        """The request takes its time: from now on see the client leave, or send what nobody expected."""
        raise NotImplementedError

    def check(self, now: float) -> None:
        """End what has been silent for too long."""
        raise NotImplementedError

    def fail(self) -> None:
        """A fault of this router met the request: end it so that its client learns of it."""
        raise NotImplementedError

    def drop(self) -> None:
        """Forget it all; nothing may go wrong any more."""
        relay = self.relay
        for fd, sessions in ((self.cfd, relay.by_client), (self.wfd, relay.by_worker)):
            sessions.pop(fd, None)
            if fd >= 0 and fd not in relay.closing:
                relay.closing.append(fd)
        self.state = OVER
        self.wfd = -1

    # The end, and what comes before it.

    def release_worker(self) -> None:
        """The worker's part is over: close its side, count it out."""
        raise NotImplementedError

    def close(self) -> None:
        """Both sides, now.  Descriptors are closed after the events at hand, so that none is given out again before."""
        if self.state == OVER:
            return
        relay = self.relay
        if relay.access_log is not None:
            relay.access_log.add(self, relay.now)
        relay.closing.append(self.cfd)
        if self.client_mask >= 0:
            del relay.by_client[self.cfd]
        if self.wfd >= 0:
            self.release_worker()
        self.state = OVER
        self.packet = self.up = self.down = b""
        self.spool = None

    def arm(self) -> None:
        """Tell epoll what is waited for, where that changed."""
        relay = self.relay
        want = OUT if self.down else 0
        if not self.client_eof and not self.up:
            if self.state == RELAY:
                if self.body_left > 0 or self.watched or self.tunnel:
                    want |= READ
            elif self.state != CONNECT:
                want |= READ
        if want != self.client_mask:
            if self.client_mask >= 0 and not want and self.worker_eof:
                relay.epoll.unregister(self.cfd)
                del relay.by_client[self.cfd]
                self.client_mask = -1
            elif self.client_mask >= 0:
                relay.epoll.modify(self.cfd, want)
                self.client_mask = want
            elif want or self.watched:
                relay.epoll.register(self.cfd, want)
                relay.by_client[self.cfd] = self
                self.client_mask = want
        if self.wfd >= 0:
            want = OUT if self.up or self.state == CONNECT else 0
            if not self.down and not self.worker_eof and self.state != CONNECT:
                want |= READ
            self.arm_worker(want)

    def arm_worker(self, want: int) -> None:
        """A worker nobody waits for is not registered (a client is): its hang-up would be told for ever."""
        epoll = self.relay.epoll
        if want == self.worker_mask or (not want and self.worker_mask < 0):
            return
        if not want:
            epoll.unregister(self.wfd)
            self.worker_mask = -1
        else:
            if self.worker_mask < 0:
                epoll.register(self.wfd, want)
            else:
                epoll.modify(self.wfd, want)
            self.worker_mask = want
