"""Two sockets and the bytes between them: the part of a request that knows nothing of keys and nodes.

Raw descriptors and few system calls: the kernel is the cost of a relay.  A side is registered with epoll only while
something is expected of it that cannot be had at once.  Memory is bounded by what is here: one chunk that waits in
each direction (``up`` to the worker, ``down`` to the client); while one waits, its source is not read.

===========  ==================================  =============================  =======================================
state        client's side                       worker's side                  leaves by
===========  ==================================  =============================  =======================================
HEAD         read until the packet is whole      none yet                       whole -> CONNECT or RELAY; bad -> LINGER
CONNECT      not read                            connecting, ``up`` waits       first byte written -> RELAY;
                                                                                failed -> CONNECT elsewhere, or LINGER
RELAY        read when a body is expected, when  read unless ``down`` waits     answer over -> LINGER or OVER;
             it upgraded, or once 100 ms passed                                 no answer -> CONNECT elsewhere or LINGER
LINGER       ``down`` is written, then end of    closed                         all written, and end of file from the
             file; what it sends is thrown away                                 client or silence -> OVER
OVER         closed                              closed                         never
===========  ==================================  =============================  =======================================

Half-close is passed on: end of file from the client shuts the worker's side for writing once ``up`` is empty, and in a
tunnel (101) the other way round as well.  A client that is gone (reset, or a unix socket closed) ends everything.
LINGER exists because closing a TCP socket with unread bytes resets it and may destroy the answer on its way.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from fastroute.router.rawsocket import reset_at_close, shut_for_writing

if TYPE_CHECKING:
    from fastroute.router.pool import Node, Pool
    from fastroute.router.relay import Relay

HEAD: Final = 0
CONNECT: Final = 1
RELAY: Final = 2
LINGER: Final = 3
OVER: Final = 4

#: One read.  With the packet (64 KiB), the beginning of its body and one chunk each way a request stays under 256 KiB.
CHUNK: Final = 65_536
#: Chunks moved for one request before others get their turn.
ROUNDS: Final = 4

EPOLLIN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
ERR: Final = select.EPOLLERR
RDHUP: Final = select.EPOLLRDHUP
GONE: Final = select.EPOLLERR | select.EPOLLHUP
READ: Final = select.EPOLLIN | select.EPOLLRDHUP


class Stream:
    """One client's connection and, once there is one, the worker's.  -1: no descriptor, or not registered.

    ``body_left``: bytes of the request that are still to come; 1 when nobody knows.
    """

    __slots__ = ("again", "asked", "attempts", "avoid", "body_left", "cfd", "client_eof", "client_mask", "down",
                 "down_at", "end", "node", "packet", "partial", "pool", "relay", "seen", "started", "state", "status",
                 "tunnel", "up", "up_at", "up_broken", "watched", "wfd", "worker_eof", "worker_mask")  # fmt: skip

    def __init__(self, relay: Relay, cfd: int) -> None:
        self.relay = relay
        self.cfd = cfd
        self.wfd = -1
        self.client_mask = self.worker_mask = -1
        self.state = HEAD
        self.seen = relay.now
        self.up = self.down = b""
        self.up_at = self.down_at = 0
        self.body_left = 0
        self.started = self.tunnel = self.watched = False
        self.client_eof = self.worker_eof = self.up_broken = False
        # Of the request (session.py):
        self.packet = b""
        self.partial: bytearray | None = None
        self.end = self.attempts = 0
        self.asked = b""
        self.status = ""
        self.again = False
        self.pool: Pool | None = None
        self.node: Node | None = None
        self.avoid: Node | None = None

    # What the request decides (session.py).

    def on_head(self) -> None:
        """The client sent more of its packet."""
        raise NotImplementedError

    def on_connect(self) -> None:
        """The connection to the worker is there, or failed."""
        raise NotImplementedError

    def on_first(self, data: bytes) -> bool:
        """The answer begins with ``data``.  False: it is no answer, and what to do instead has been done."""
        raise NotImplementedError

    def on_no_answer(self, reason: str) -> None:
        """The worker closed or reset the connection without a byte."""
        raise NotImplementedError

    def on_broken_off(self, reason: str) -> None:
        """The worker reset the connection in the middle of its answer."""
        raise NotImplementedError

    def check(self, now: float) -> None:
        """End what has been silent for too long."""
        raise NotImplementedError

    def release_worker(self) -> None:
        """The worker's part is over: close its side, count it out."""
        raise NotImplementedError

    # Events.

    def on_worker(self, mask: int) -> None:
        """epoll says something of the worker's side."""
        if self.state == CONNECT:
            self.on_connect()
            return
        if mask & OUT and self.up:
            self._push_up()
        if mask & ~OUT and self.state == RELAY and not self.down and not self.worker_eof:
            self.pull_down(mask)

    def on_client(self, mask: int) -> None:
        """epoll says something of the client's side."""
        # Half-closed by both, it looks the same: then there may be last words to read.
        if mask & GONE and self.state != HEAD and not self.worker_eof:
            self.close()
            return
        if mask & OUT and self.down:
            self._push_down()
        if not mask & ~OUT or self.client_eof:
            return
        if self.state == HEAD:
            self.on_head()
        elif self.state == RELAY and not self.up:
            self._pull_up()
        elif self.state == LINGER:
            self._discard()

    def watch(self) -> None:
        """The request takes its time: from now on see the client leave, or send what nobody expected."""
        self.watched = True
        if self.state == RELAY:
            self.arm()

    # Worker to client.

    def pull_down(self, mask: int) -> None:
        """Read from the worker and pass it on: all it has, what the client takes, or until it is others' turn."""
        relay = self.relay
        node = self.node
        assert node is not None
        for _ in range(ROUNDS):
            try:
                data = os.read(self.wfd, CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                self._worker_broke(error)
                return
            if not data:
                self._worker_ended()
                return
            self.seen = relay.now
            if not self.started and not self.on_first(data):
                return
            node.tx += len(data)
            try:
                sent = os.write(self.cfd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent < len(data):
                self.down, self.down_at = data, sent
                self.arm()
                return
            if sent < CHUNK:
                # Reported before this read, which took all there was: what remains is the end of file.
                if mask & (RDHUP | ERR) == RDHUP:
                    self._worker_ended()
                return

    def _push_down(self) -> None:
        try:
            self.down_at += os.write(self.cfd, memoryview(self.down)[self.down_at :])
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self.seen = self.relay.now
        if self.down_at < len(self.down):
            return
        self.down = b""
        if self.state == LINGER:
            self.end_client()
            return
        self.arm()

    def _worker_ended(self) -> None:
        if not self.started:
            self.on_no_answer("closed the connection without an answer")
        elif self.tunnel:
            self.worker_eof = True
            shut_for_writing(self.cfd)
            if self.client_eof:
                self.close()
            else:
                self.arm()
        else:
            self.release_worker()
            self.end_client()

    def _worker_broke(self, error: OSError) -> None:
        if self.started:
            self.on_broken_off(error.strerror or str(error))
        else:
            self.on_no_answer(f"broke off without an answer ({error.strerror})")

    # Client to worker.

    def _pull_up(self) -> None:
        node = self.node
        assert node is not None
        for _ in range(ROUNDS):
            try:
                data = os.read(self.cfd, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            if not data:
                self._client_ended()
                return
            self.seen = self.relay.now
            self.body_left -= len(data)
            if not self.up_broken:
                try:
                    sent = os.write(self.wfd, data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    self._upload_broke()
                    return
                node.rx += sent
                if sent < len(data):
                    self.up, self.up_at = data, sent
                    self.arm()
                    return
            if len(data) < CHUNK:
                return

    def _push_up(self) -> None:
        node = self.node
        assert node is not None
        try:
            sent = os.write(self.wfd, memoryview(self.up)[self.up_at :])
        except BlockingIOError:
            return
        except OSError:
            self._upload_broke()
            return
        node.rx += sent
        self.seen = self.relay.now
        self.up_at += sent
        if self.up_at == len(self.up):
            self.up = b""
            if self.client_eof:
                shut_for_writing(self.wfd)
            self.arm()

    def _upload_broke(self) -> None:
        """The worker reads no more.  It may have answered before: what it said still counts."""
        self.up = b""
        self.up_broken = True
        if self.down or self.worker_eof:
            self.arm()
            return
        self.pull_down(0)
        if self.state == RELAY:
            self.arm()

    def _client_ended(self) -> None:
        self.client_eof = True
        if not self.up_broken:
            shut_for_writing(self.wfd)
        if self.worker_eof:
            self.close()
        else:
            self.arm()

    # The end.

    def end_client(self) -> None:
        """Nothing more will be said to the client than what is in ``down``."""
        self.state = LINGER
        if self.down:
            self.arm()
        elif self.client_eof or self.body_left <= 0:
            self.close()
        else:
            shut_for_writing(self.cfd)
            self.arm()

    def _discard(self) -> None:
        try:
            data = os.read(self.cfd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            # Not `seen`: a client that sends for ever must not keep its connection for ever.
            return
        self.client_eof = True
        if self.down:
            self.arm()
        else:
            self.close()

    def abort(self) -> None:
        """End so that the client sees that the answer is not whole (by a reset, where the socket has one)."""
        reset_at_close(self.cfd)
        self.close()

    def close(self) -> None:
        """Both sides, now.  Descriptors are closed after the events at hand, so that none is given out again before."""
        if self.state == OVER:
            return
        relay = self.relay
        relay.closing.append(self.cfd)
        if self.client_mask >= 0:
            del relay.by_client[self.cfd]
        if self.wfd >= 0:
            self.release_worker()
        self.state = OVER
        if relay.access_log is not None:
            relay.access_log(self)
        self.packet = self.up = self.down = b""

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
            elif want:
                relay.epoll.register(self.cfd, want)
                relay.by_client[self.cfd] = self
                self.client_mask = want
        if self.wfd >= 0:
            want = OUT if self.up or self.state == CONNECT else 0
            if not self.down and not self.worker_eof and self.state != CONNECT:
                want |= READ
            self._arm_worker(want)

    def _arm_worker(self, want: int) -> None:
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
