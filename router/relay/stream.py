"""Two sockets and the bytes between them: the part of a request that knows nothing of keys and nodes.

Raw descriptors and few system calls: the kernel is the cost of a relay.  Memory is bounded by what is here: one chunk
that waits in each direction (``up`` to the worker, ``down`` to the client); while one waits, its source is not read.

===========  ==================================  =============================  =======================================
state        client's side                       worker's side                  leaves by
===========  ==================================  =============================  =======================================
HEAD         read until the packet is whole      none yet                       whole -> CONNECT, RELAY or BODY;
                                                                                bad -> LINGER
BODY         read until the body is whole        none yet                       whole -> CONNECT or RELAY; bad -> LINGER
             (only with post-buffering)
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

from fastroute.router.relay.http.events import unbuffered
from fastroute.router.relay.rawsocket import reset_at_close, send_at_once, shut_for_writing
from fastroute.router.relay.sides import BODY, CHUNK, CONNECT, ERR, GONE, HEAD, LINGER, OUT, RDHUP, RELAY, ROUNDS, Sides


class Stream(Sides):
    """Moves what comes from one side to the other."""

    __slots__ = ()

    # Of a body that is read before a worker is asked (body_reader.py).

    def more_body(self) -> None:
        """The client sent more of it."""
        raise NotImplementedError

    def refill(self) -> None:
        """The next chunk of it waits for the worker."""
        raise NotImplementedError

    # Of an answer that is read on its way (answer_reader.py).

    def pull_answer(self, mask: int) -> None:
        """As :meth:`pull_down`, for a request with an ``exchange``."""
        raise NotImplementedError

    def push_body(self) -> None:
        """The client sent something, and the worker's protocol says how much of it is the request's body."""
        raise NotImplementedError

    def client_left(self) -> None:
        """The client ended its side while the worker still had its own."""
        raise NotImplementedError

    # What the request decides (session.py).

    def on_connect(self) -> None:
        """The connection to the worker is there, or failed."""
        raise NotImplementedError

    def on_first(self, data: bytes) -> bool:
        """The answer begins with ``data``.  False: it does not, or not yet, and what to do instead has been done."""
        raise NotImplementedError

    def on_no_answer(self, reason: str) -> None:
        """The worker closed or reset the connection without a byte."""
        raise NotImplementedError

    def on_broken_off(self, reason: str) -> None:
        """The worker reset the connection in the middle of its answer."""
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
            if self.corked and self.started and self.state == RELAY:
                self.uncork()

    def on_client(self, mask: int) -> None:
        """epoll says something of the client's side."""
        # Half-closed by both looks the same (LINGER, or a tunnel whose worker is done): then reading tells.
        if mask & GONE and (self.state == CONNECT or (self.state == RELAY and not self.worker_eof)):
            self.client_left()
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
        elif self.state == BODY:
            self.more_body()

    def uncork(self) -> None:
        """The answer goes on: what there is of it must not wait."""
        self.corked = False
        send_at_once(self.cfd)

    def watch(self) -> None:
        """The request takes its time: from now on see the client leave, or send what nobody expected."""
        self.watched = True
        if self.state in (CONNECT, RELAY):
            self.arm()

    # Worker to client.

    def pull_down(self, mask: int) -> None:
        """Read from the worker and pass it on: all it has, what the client takes, or until it is others' turn."""
        if self.exchange is not None:
            self.pull_answer(mask)
            return
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
                self.worker_ended()
                return
            self.seen = relay.now
            if not self.started:
                if not self.on_first(data):
                    return
                data = unbuffered(data)
            size = len(data)
            node.tx += size
            self.tx += size
            try:
                sent = os.write(self.cfd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent < size:
                self.down, self.down_at = data, sent
                self.arm()
                return
            if sent < CHUNK:
                # Reported before this read, which took all there was: what remains is the end of file.
                if mask & (RDHUP | ERR) == RDHUP:
                    self.worker_ended()
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

    def worker_ended(self) -> None:
        """The worker has no more to say."""
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
        if self.started and self.bodied:
            # Who closes without having read all of a body resets, after a whole answer just the same.
            self.worker_ended()
        elif self.started:
            self.on_broken_off(error.strerror or str(error))
        else:
            self.on_no_answer(f"broke off without an answer ({error.strerror})")

    # Client to worker.

    def _pull_up(self) -> None:
        if self.exchange is not None and self.exchange.body is not None:
            self.push_body()
            return
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
            self.bodied = True
            if not self.up_broken and not self.send_up(data):
                return
            if len(data) < CHUNK:
                return

    def send_up(self, data: bytes) -> bool:
        """Write to the worker.  False: not all of it, the rest waits; or the worker reads no more."""
        node = self.node
        assert node is not None
        try:
            sent = os.write(self.wfd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.upload_broke()
            return False
        node.rx += sent
        self.rx += sent
        if sent == len(data):
            return True
        self.up, self.up_at = data, sent
        self.arm()
        return False

    def _push_up(self) -> None:
        node = self.node
        assert node is not None
        try:
            sent = os.write(self.wfd, memoryview(self.up)[self.up_at :])
        except BlockingIOError:
            return
        except OSError:
            self.upload_broke()
            return
        node.rx += sent
        self.rx += sent
        self.seen = self.relay.now
        self.up_at += sent
        if self.up_at == len(self.up):
            self.up = b""
            self.refill()
            if self.client_eof and not self.up:
                self.shut_worker()
            self.arm()

    def upload_broke(self) -> None:
        """The worker reads no more.  It may have answered before: what it said still counts."""
        self.up = b""
        self.spool = None
        self.up_broken = True
        if self.down or self.worker_eof:
            self.arm()
            return
        self.pull_down(0)
        if self.state == RELAY:
            if self.corked and self.started:
                self.uncork()
            self.arm()

    def _client_ended(self) -> None:
        self.client_left()
        self.client_eof = True
        if not self.up_broken:
            self.shut_worker()
        if self.worker_eof:
            self.close()
        else:
            self.arm()

    def shut_worker(self) -> None:
        """Pass the client's end of file on, but not to HTTP workers: many take that for a client that is gone."""
        if self.exchange is None or self.exchange.body is None:
            shut_for_writing(self.wfd)

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
