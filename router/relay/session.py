"""One request: its packet, its key, the node it goes to, another when that fails, our own answer when none is left.

The rules of INTERFACE.md, each in one place here:

* a connect that failed: another node, up to ``max_retries`` others (:meth:`Session._attempt`);
* a worker that closed without a byte: once more, elsewhere, if nothing can change (:meth:`Session.on_no_answer`);
* anything else that a worker may have begun is never sent twice;
* who gets which of our own answers (:meth:`Session.refuse`, texts where it is called).

The packet is kept until the answer begins; what is sent is the packet with the node's modifiers in it.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from fastroute.router.key import requested_key
from fastroute.router.relay.access_line import key_and_vars, status_of
from fastroute.router.relay.body_reader import BodyReader
from fastroute.router.relay.pool import TRIAL, Node
from fastroute.router.relay.rawsocket import no_delay, shut_for_writing
from fastroute.router.relay.replies import STATUS, reply
from fastroute.router.relay.request import body_size, repeatable, variable, whole_block_problem
from fastroute.router.relay.request_id import header_of, with_request_id
from fastroute.router.relay.sides import CONNECT, HEAD, LINGER, OVER, READ, RELAY
from fastroute.router.wire import HEADER_SIZE

#: Seconds that a client may take to see our answer and close.
LINGER_TIME: Final = 5.0
#: uWSGI workers refuse larger vars unless they are told otherwise (their --buffer-size).
UWSGI_BUFFER: Final = 4096

_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_INTERNET: Final = (int(socket.AF_INET), int(socket.AF_INET6))
#: No descriptor or no memory for a socket: our trouble, not the node's.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Session(BodyReader):
    """A request from its first byte to its last.  Starts with :meth:`on_head` right after accept."""

    __slots__ = ()

    # The packet.

    def on_packet(self, packet: bytes, end: int) -> None:
        """``packet`` has all vars, in ``packet[4:end]``, and perhaps the beginning of the body."""
        relay = self.relay
        relay.requests += 1
        self.packet, self.end = packet, end
        if relay.access_log is None:
            asked = requested_key(packet, end)
        else:
            asked, self.shown = key_and_vars(packet, end)
        if not asked:
            self.body_left = 1
            if asked is None:
                self.refuse("bad-request", f"not uwsgi: {whole_block_problem(packet, end)}")
            else:
                self.refuse("bad-request", "no host: no UWSGI_FASTROUTER_KEY, HTTP_HOST or SERVER_NAME in the vars")
            return
        # Fooled by a value that holds this text, it only delays that request's own body, until it is watched.
        if len(packet) > end or packet.find(b"CONTENT_LENGTH\0\0", HEADER_SIZE, end) < 0:
            self.body_left = body_size(packet, end) - (len(packet) - end)
            self.bodied = len(packet) > end or self.body_left > 0
        self.asked = asked
        if relay.request_id is not None:
            self.packet, self.end = packet, end = with_request_id(packet, end, relay.request_id, self.shown)
        pool = relay.replica.find(asked, packet, end)
        if pool is None:
            pool = relay.reserve.find(asked, None, relay.now)
            if pool is None:
                self.refuse("no-key", f"no worker has announced {self.name}")
                return
        else:
            pool.hits += 1
            relay.hit.add(pool)
        self.pool = pool
        if self.body_left > 0 and relay.post_buffering:
            self.read_body()
        else:
            self._attempt()

    def on_body(self) -> None:
        """The body, read before a worker is asked, is whole."""
        self._attempt()

    @property
    def name(self) -> str:
        """The key that was asked for, as text."""
        return self.asked.decode("latin-1")

    # The node.

    def _attempt(self) -> None:
        """Connect to one node after the other until one takes the request, or is being waited for."""
        while True:
            node = self._choose()
            if node is None or self._connect(node):
                return

    def _choose(self) -> Node | None:
        """The next node to try; ``None`` when the request has been answered instead."""
        relay, pool = self.relay, self.pool
        assert pool is not None
        if self.attempts > relay.max_retries:
            self.refuse("bad-gateway", f"no worker of {self.name} could be reached ({self.attempts} tried)")
            return None
        client = variable(self.packet, self.end, b"REMOTE_ADDR") if pool.algorithm == "iphash" else b""
        node = pool.choose(relay.now, client, self.avoid)
        while node is None and (other := relay.reserve.find(self.asked, pool, relay.now)) is not None:
            self.pool = pool = other
            node = pool.choose(relay.now, client, self.avoid)
        if node is None:
            if self.attempts or self.again:
                self.refuse("bad-gateway", f"no other worker of {self.name} is left to try")
            else:
                self.refuse("no-node", f"no worker of {self.name} is up")
            return None
        if node.protocol != "uwsgi":
            pool.undecided(node, relay.now)
            relay.warn((node, "protocol"), "%s => %s speaks %s, which this router does not", self.name, node.address,
                       node.protocol)  # fmt: skip
            self.refuse("bad-gateway", f"the worker of {self.name} speaks {node.protocol!r}")
            return None
        return node

    def _connect(self, node: Node) -> bool:
        """Open a connection to ``node`` and write the packet at once.  False: it failed, and has been counted."""
        relay = self.relay
        try:
            worker = socket.SocketType(node.target[0], _STREAM, 0)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                return self._connect_failed(node, error.strerror)
            node.pool.undecided(node, relay.now)
            relay.exhausted(error)
            self.refuse("no-node", "this router is out of descriptors")
            return True
        try:
            code = worker.connect_ex(node.target[1])
        except (OSError, OverflowError, ValueError):
            code = errno.EINVAL
        self.wfd = wfd = worker.detach()
        self.node = node
        node.in_flight += 1
        if node.pool.counts:
            node.pool.changed(node)
        self.seen = relay.now
        relay.by_worker[wfd] = self
        if code and code != errno.EINPROGRESS:
            return self._connect_failed(node, os.strerror(code))
        packet = self.packet
        if packet[0] != node.modifier1 or packet[3] != node.modifier2:
            packet = self.packet = b"%c%b%c%b" % (node.modifier1, packet[1:3], node.modifier2, packet[4:])
        try:
            sent = os.write(wfd, packet)
        except BlockingIOError:
            self.up, self.up_at = packet, 0
            self.state = CONNECT
            self.arm()
            return True
        except OSError as error:
            return self._connect_failed(node, error.strerror)
        self._connected(node, sent)
        return True

    def on_connect(self) -> None:
        """The first byte can be written, or the connect failed: writing tells."""
        node = self.node
        assert node is not None
        try:
            sent = os.write(self.wfd, self.up)
        except BlockingIOError:
            return
        except OSError as error:
            self._connect_failed(node, error.strerror)
            self._attempt()
            return
        self._connected(node, sent)

    def _connected(self, node: Node, sent: int) -> None:
        """The worker took the first ``sent`` bytes of the packet: from here on nothing may be sent twice unasked."""
        relay = self.relay
        now = relay.now
        node.requests += 1
        node.rx += sent
        self.rx = sent
        if relay.timed and self.pool is not None:
            self.connect_time = now - self.seen
            self.pool.timed().connected(self.connect_time)
        relay.dirty.add(node)
        if node.state == TRIAL:
            node.pool.recovered(node)
            relay.tell_recovered(node)
        self.state = RELAY
        self.seen = self.sent_at = now
        if sent < len(self.packet):
            self.up, self.up_at = self.packet, sent
        else:
            self.up = b""
            if self.client_eof:
                shut_for_writing(self.wfd)
            if self.body_left <= 0 and not self.watched and self.worker_mask < 0:
                # The common request: nothing else to arm.
                relay.epoll.register(self.wfd, READ)
                self.worker_mask = READ
                return
            self.refill()
        if node.target[0] in _INTERNET:
            no_delay(self.wfd)
        self.arm()

    def _connect_failed(self, node: Node, reason: str | None) -> bool:
        relay = self.relay
        self.attempts += 1
        self.avoid = node
        seconds = node.pool.failed(node, relay.now)
        relay.dirty.add(node)
        if seconds:
            relay.tell_failed(node, reason or "unknown error", seconds)
        self.release_worker()
        return False

    def release_worker(self) -> None:
        """Close the worker's side and count the request out of its node."""
        node, relay = self.node, self.relay
        if node is None or self.wfd < 0:
            return
        if self.state == CONNECT:
            node.pool.undecided(node, relay.now)
        del relay.by_worker[self.wfd]
        relay.closing.append(self.wfd)
        self.wfd = self.worker_mask = -1
        self.up = b""
        node.pool.finish(node)
        relay.dirty.add(node)

    # The answer.

    def on_first(self, data: bytes) -> bool:
        """Note the status line; the packet is not needed any more."""
        if data[0] != 72 and data[4:68] == self.packet[4:68]:
            # On loopback, a connect to a dead worker's port may meet itself (a simultaneous open).
            self.on_no_answer("sent the request back: nobody listens there")
            return False
        self.started = True
        relay = self.relay
        if relay.timed and self.pool is not None:
            self.answer_time = relay.now - self.sent_at
            self.pool.timed().answered(self.answer_time)
            relay.hit.add(self.pool)
        self.packet = b""
        if relay.access_log is not None:
            self.status = status_of(data)
        if data[8:13] == b" 101 ":
            self.tunnel = True
            if self.node is not None and self.node.target[0] in _INTERNET:
                no_delay(self.wfd)
            self.arm()
        return True

    def on_no_answer(self, reason: str) -> None:
        """Once more on another node if nothing can have changed, else 502."""
        node = self.node
        assert node is not None
        node.failures += 1
        self.connect_time = -1.0
        hint, size = "", self.end - HEADER_SIZE
        if size > UWSGI_BUFFER:
            hint = f" (vars of {size} bytes: a uWSGI worker takes {UWSGI_BUFFER} unless its buffer-size says more)"
        self.relay.warn((node, "no answer"), "%s => %s %s%s", self.name, node.address, reason, hint)
        self.release_worker()
        if not self.again and not self.bodied and repeatable(self.packet, self.end):
            self.again = True
            self.avoid = node
            self._attempt()
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

    def refuse(self, kind: str, text: str) -> None:
        """Answer ``kind`` ourselves and end the connection."""
        relay = self.relay
        relay.errors[kind] = relay.errors.get(kind, 0) + 1
        relay.errors_changed = True
        self.release_worker()
        self.fault, self.status = kind, STATUS[kind][:3].encode()
        answer = reply(kind, text, header_of(self.packet, self.end))
        self.tx = len(answer)
        try:
            sent = os.write(self.cfd, answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(answer):
            self.down, self.down_at = answer, sent
        self.seen = relay.now
        self.end_client()

    # Time.

    def check(self, now: float) -> None:
        """End what has been silent for too long."""
        relay = self.relay
        silent = now - self.seen
        if self.state == OVER:
            return
        if self.state == HEAD:
            if silent >= relay.client_timeout:
                if self.partial is None:
                    self.close()
                else:
                    self.refuse_packet("bad-request", f"the packet stalled after {len(self.partial)} bytes")
        elif self.state == LINGER:
            if silent >= LINGER_TIME:
                self.close()
        elif self.state == CONNECT:
            if silent >= relay.connect_timeout and self.node is not None:
                self._connect_failed(self.node, f"no connection within {relay.connect_timeout:g} s")
                self._attempt()
        elif self.started:
            if silent >= (relay.timeout if self.client_eof else relay.idle_timeout):
                self.fault = "silent"
                self.close()
        elif self.body_left > 0 and not self.up and not self.client_eof:
            if silent >= relay.client_timeout:
                self.refuse("bad-request", f"the request's body stalled {self.body_left} bytes before its end")
        elif silent >= relay.timeout and self.node is not None:
            self.node.failures += 1
            relay.warn((self.node, "timeout"), "%s => %s did not answer within %g s", self.name, self.node.address,
                       relay.timeout)  # fmt: skip
            self.refuse("timeout", f"the worker of {self.name} did not answer within {relay.timeout:g} s")
