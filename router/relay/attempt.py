"""One try at one node: connect, send the packet, see whether an answer begins; the node is counted and judged here.

* A connect that failed ejects the node and counts as one of the ``attempts`` (:meth:`Attempt.connect_failed`).
* From the first byte that the node took on, nothing is sent twice unasked.
* A worker that closed without a byte: once more, elsewhere, if nothing can change (:meth:`Attempt.on_no_answer`).

The packet is kept until the answer begins; what is sent is the packet with the node's modifiers in it.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from fastroute.router.relay.access_line import status_of
from fastroute.router.relay.answer_reader import AnswerReader
from fastroute.router.relay.http.answer import ONE
from fastroute.router.relay.http.uwsgi_answer import TELLING
from fastroute.router.relay.pool import TRIAL, Node
from fastroute.router.relay.rawsocket import no_delay
from fastroute.router.relay.request import with_modifiers
from fastroute.router.relay.sides import CONNECT, READ, RELAY
from fastroute.router.wire import HEADER_SIZE

#: uWSGI workers refuse larger vars unless they are told otherwise (their --buffer-size).
UWSGI_BUFFER: Final = 4096
#: No descriptor or no memory for a socket: our trouble, not the node's.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Attempt(AnswerReader):
    """The worker's side of a request, from :meth:`connect` to the first byte of the answer."""

    __slots__ = ()

    # What the request decides (session.py).

    def try_next(self) -> None:
        """Go on with the next node, or answer that there is none."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The key that was asked for, as text."""
        return self.asked.decode("latin-1")

    # The connection.

    def connect(self, node: Node) -> bool:
        """Open a connection to ``node`` and write the packet at once.  False: it failed, and has been counted."""
        relay = self.relay
        if node.keeps and (not self.prepare(node) or self.reuse(node)):
            return True
        try:
            worker = socket.SocketType(node.target[0], _STREAM, 0)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                return self.connect_failed(node, error.strerror)
            node.pool.undecided(node, relay.now)
            relay.front.exhausted(error)
            self.refuse("no-node", "this router is out of descriptors")
            return True
        try:
            code = worker.connect_ex(node.target[1])
        except (OSError, OverflowError, ValueError):
            code = errno.EINVAL
        wfd = worker.detach()
        self.hold(node, wfd)
        if code and code != errno.EINPROGRESS:
            return self.connect_failed(node, os.strerror(code))
        request = self.packet if self.exchange is None else self.exchange.request
        if self.exchange is None and (request[0] != node.modifier1 or request[3] != node.modifier2):
            request = self.packet = with_modifiers(request, node)
        try:
            sent = os.write(wfd, request)
        except BlockingIOError:
            self.up, self.up_at = request, 0
            self.state = CONNECT
            self.arm()
            return True
        except OSError as error:
            return self.connect_failed(node, error.strerror)
        self.connected(node, request, sent)
        return True

    def hold(self, node: Node, wfd: int) -> None:
        """The request is on its way to ``node`` by the connection ``wfd``."""
        relay = self.relay
        self.wfd = wfd
        self.node = node
        node.in_flight += 1
        if node.pool.counts:
            node.pool.changed(node)
        self.seen = relay.now
        relay.by_worker[wfd] = self

    def on_connect(self) -> None:
        """The first byte can be written, or the connect failed: writing tells."""
        node = self.node
        assert node is not None
        try:
            sent = os.write(self.wfd, self.up)
        except BlockingIOError:
            return
        except OSError as error:
            self.connect_failed(node, error.strerror)
            self.try_next()
            return
        self.connected(node, self.up, sent)

    def connected(self, node: Node, request: bytes, sent: int) -> None:
        """The worker took the first ``sent`` bytes of ``request``: from here on nothing may be sent twice unasked."""
        relay = self.relay
        now = relay.now
        node.requests += 1
        node.rx += sent
        self.rx = sent
        if relay.timed and self.pool is not None:
            self.connect_time = now - self.seen
            self.pool.timed().connected(self.connect_time)
        relay.dirty[node] = None
        if node.state == TRIAL:
            node.pool.recovered(node)
            relay.tell_recovered(node)
        self.state = RELAY
        self.seen = self.sent_at = now
        if sent < len(request):
            self.up, self.up_at = request, sent
        else:
            self.up = b""
            if self.client_eof:
                self.shut_worker()
            if self.body_left <= 0 and not self.watched and self.worker_mask < 0:
                # The common request: nothing else to arm.
                relay.epoll.register(self.wfd, READ)
                self.worker_mask = READ
                return
            self.refill()
        if node.internet:
            no_delay(self.wfd)
        self.arm()

    def connect_failed(self, node: Node, reason: str | None) -> bool:
        """Eject ``node`` and let go of it.  False, for :meth:`connect`."""
        relay = self.relay
        self.attempts += 1
        self.tried = [*(self.tried or ()), node]
        self.exchange = None
        seconds = node.pool.failed(node, relay.now)
        relay.dirty[node] = None
        if seconds:
            relay.tell_failed(node, reason or "unknown error", seconds)
        self.release_worker()
        return False

    def release_worker(self) -> None:
        """Close the worker's side, or keep it for another request, and count this one out of its node."""
        node, relay = self.node, self.relay
        if node is None or self.wfd < 0:
            return
        if self.state == CONNECT:
            node.pool.undecided(node, relay.now)
        del relay.by_worker[self.wfd]
        if self.exchange is None or not self.keep(node):
            relay.closing.append(self.wfd)
        self.exchange = None
        self.wfd = self.worker_mask = -1
        self.up = b""
        node.pool.finish(node)
        relay.dirty[node] = None

    # The answer.

    def on_first(self, data: bytes) -> bool:
        """Note the status line; the packet is not needed any more."""
        if data[0] != 72 and data[4:68] == self.packet[4:68]:
            # On loopback, a connect to a dead worker's port may meet itself (a simultaneous open).
            self.on_no_answer("sent the request back: nobody listens there")
            return False
        if len(data) < TELLING or data[TELLING - 1] == ONE:
            self.pull_beginning(data)
            return False
        self.started = True
        relay = self.relay
        if relay.timed and self.pool is not None:
            self.answer_time = relay.now - self.sent_at
            self.pool.timed().answered(self.answer_time)
            relay.hit[self.pool] = None
        self.packet = b""
        if relay.access_log is not None:
            self.status = status_of(data)
        return True

    def on_no_answer(self, reason: str) -> None:
        """Once more on another node if nothing can have changed, else 502."""
        node = self.node
        assert node is not None
        if self.exchange is not None and self.exchange.reused and self.is_stale(node):
            return
        node.failures += 1
        self.connect_time = -1.0
        hint, size = "", self.end - HEADER_SIZE
        if size > UWSGI_BUFFER and node.protocol == "uwsgi":
            hint = f" (vars of {size} bytes: a uWSGI worker takes {UWSGI_BUFFER} unless its buffer-size says more)"
        self.relay.warn((node, "no answer"), "%s => %s %s%s", self.name, node.address, reason, hint)
        self.release_worker()
        if self.may_repeat():
            self.again = True
            self.avoid = node
            self.tried = [*(self.tried or ()), node]
            self.try_next()
        else:
            self.refuse("bad-gateway", f"the worker of {self.name} {reason}")

    def on_broken_off(self, reason: str) -> None:
        """Nothing can be done for this request but to make it seen."""
        node = self.node
        assert node is not None
        node.failures += 1
        self.relay.warn((node, "broken"), "%s => %s broke off in its answer: %s", self.name, node.address, reason)
        self.fault = "broken-off"
        self.abort()
