"""Requests whose answer is read on its way, because the worker speaks HTTP/1.1 or keeps its connection.

The bytes are understood in http/; which connection may be used again is decided in kept.py.  Here they are moved, as
in stream.py, whose states hold here, too.  Once both sides upgraded, stream.py has them for itself.

* A connection is kept when the answer is complete, says so, and began after the request had gone up as announced: a
  worker that answers before may take what it has not read for the next request.
* An answer of a worker that keeps nothing is read only where it may begin with an interim one, until it does not.
* It is taken only while nothing is there to be read: what a worker said unasked must not become somebody's answer.
* A worker that closed it without a byte has not begun anything that this relay knows of: INTERFACE.md's rule for such
  workers holds, and the repetition goes by a new connection.
"""

from __future__ import annotations

import os

from fastroute.router.relay.access_line import status_of
from fastroute.router.relay.body_reader import BodyReader
from fastroute.router.relay.http.answer import BadAnswer, HttpAnswer
from fastroute.router.relay.http.body import Body, ChunkedBody
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.http.events import unbuffered
from fastroute.router.relay.http.exchange import Exchange
from fastroute.router.relay.http.head import CHUNKED, BadRequest, head_of
from fastroute.router.relay.http.uwsgi_answer import KeptAnswer, UwsgiAnswer
from fastroute.router.relay.kept import answered, closed_at_once, ended_by_closing, held
from fastroute.router.relay.pool import Node
from fastroute.router.relay.rawsocket import no_delay
from fastroute.router.relay.request import framing, repeatable, with_modifiers
from fastroute.router.relay.sides import CHUNK, ERR, RDHUP, READ, RELAY, ROUNDS


class AnswerReader(BodyReader):
    """The way of a request with an ``exchange``."""

    __slots__ = ()

    # What the attempt decides (attempt.py).

    def hold(self, node: Node, wfd: int) -> None:
        """The request is on its way to ``node`` by the connection ``wfd``."""
        raise NotImplementedError

    def connected(self, node: Node, request: bytes, sent: int) -> None:
        """The worker took the first ``sent`` bytes of ``request``."""
        raise NotImplementedError

    def try_next(self) -> None:
        """Go on with the next node, or answer that there is none."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The key that was asked for, as text."""
        raise NotImplementedError

    # The beginning.

    def prepare(self, node: Node) -> bool:
        """Write the request as ``node`` understands it.  False: it can't be written, and has been refused."""
        packet, end = self.packet, self.end
        if node.protocol == "uwsgi":
            method, length = framing(packet, end)
            self.exchange = None
            if length >= 0:
                if self.spool is None:
                    self.body_left = length - (len(packet) - end)
                safe = method in (b"GET", b"HEAD") and not length and len(packet) == end
                self.exchange = Exchange(with_modifiers(packet, node), KeptAnswer(method == b"HEAD"), None, safe)
            return True
        try:
            head = head_of(packet, end, self.asked)
            body = ChunkedBody() if head.length == CHUNKED else Body(head.length)
            beginning = body.feed(packet[end:])
        except (BadRequest, BadChunks) as error:
            node.pool.undecided(node, self.relay.now)
            self.body_left = 1
            self.refuse("bad-request", str(error))
            return False
        if self.spool is not None:
            body.left = 0
        self.body_left = body.left
        self.bodied = self.bodied or bool(beginning) or body.left > 0
        safe = head.safe and not self.bodied
        self.exchange = Exchange(head.text + beginning, HttpAnswer(head.bodiless, head.upgrade), body, safe)
        return True

    def reuse(self, node: Node) -> bool:
        """Send the request by a connection that ``node`` kept, if there is one for it."""
        relay, exchange = self.relay, self.exchange
        if exchange is None or self.again:
            return False
        while (fd := relay.kept.take(node, relay.now, exchange.safe)) >= 0:
            try:
                os.read(fd, 1)
            except BlockingIOError:
                try:
                    sent = os.write(fd, exchange.request)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    sent = -1
                if sent >= 0:
                    exchange.reused = True
                    self.hold(node, fd)
                    self.worker_mask = READ
                    self.connected(node, exchange.request, sent)
                    return True
            except OSError:
                pass
            relay.closing.append(fd)
        return False

    # Worker to client.

    def pull_answer(self, mask: int) -> None:
        """Read from the worker, understand it, and pass on what the client gets."""
        exchange = self.exchange
        assert exchange is not None
        for _ in range(ROUNDS):
            try:
                data = os.read(self.wfd, CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                self._worker_closed(f"broke off ({error.strerror})", True)
                return
            if not data:
                self._worker_closed("closed the connection", False)
                return
            if not self._pass_on(exchange, data, mask):
                return
            if len(data) < CHUNK:
                # Reported before this read, which took all there was: what remains is the end of file.
                if mask & (RDHUP | ERR) == RDHUP:
                    self._worker_closed("closed the connection", False)
                return

    def pull_beginning(self, data: bytes) -> None:
        """``data`` begins the answer of a worker that keeps nothing, and perhaps with an interim one."""
        self.exchange = Exchange(self.packet, UwsgiAnswer(False), None, False)
        self._pass_on(self.exchange, data, 0)

    def _pass_on(self, exchange: Exchange, data: bytes, mask: int) -> bool:
        """Understand ``data``, and pass on what the client gets.  False: there is nothing more to read for now."""
        relay, node, answer = self.relay, self.node, exchange.answer
        assert node is not None
        self.seen = relay.now
        node.tx += len(data)
        if not answer.begun and not self._on_first_byte(exchange, data):
            return False
        try:
            told = answer.feed(data)
        except BadAnswer as error:
            self._bad_answer(str(error))
            return False
        if answer.started and not self.started:
            self._on_started(exchange, told)
            told = unbuffered(told)
        if answer.complete and mask & RDHUP:
            answer.keep = False
            closed_at_once(node, relay.now)
        if told and not self._tell(told):
            if answer.complete and self.state == RELAY:
                self.worker_ended()
            return False
        if answer.complete:
            self.worker_ended()
            return False
        if self.exchange is None:
            # stream.py has the rest for itself.
            self.arm()
            return False
        return True

    def _tell(self, told: bytes) -> bool:
        """Write to the client.  False: not all of it, the rest waits; or the client is gone."""
        self.tx += len(told)
        try:
            sent = os.write(self.cfd, told)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return False
        if sent == len(told):
            return True
        self.down, self.down_at = told, sent
        self.arm()
        return False

    def _on_first_byte(self, exchange: Exchange, data: bytes) -> bool:
        relay, node = self.relay, self.node
        assert node is not None
        if data[0] != 72 and data[4:68] == exchange.request[4:68]:
            # On loopback, a connect to a dead worker's port may meet itself (a simultaneous open).
            self.on_no_answer("sent the request back: nobody listens there")
            return False
        if exchange.reused and node.protocol == "uwsgi":
            answered(node)
        if relay.timed and self.pool is not None:
            self.answer_time = relay.now - self.sent_at
            self.pool.timed().answered(self.answer_time)
            relay.hit[self.pool] = None
        return True

    def _on_started(self, exchange: Exchange, told: bytes) -> None:
        """The client gets its first bytes: the request is not needed any more."""
        answer = exchange.answer
        self.started = True
        self.packet = exchange.request = b""
        self.status = answer.status or status_of(told)
        exchange.early = self._request_left(exchange)
        if answer.tunnel:
            self.tunnel = True
            no_delay(self.wfd)
        if answer.tunnel or not isinstance(answer, (HttpAnswer, KeptAnswer)):
            self.exchange = None

    def _request_left(self, exchange: Exchange) -> bool:
        """Whether not all of the request has gone to the worker, as it was announced."""
        left = self.body_left if exchange.body is None else exchange.body.left
        return left != 0 or self.up != b"" or self.up_broken or self.spool is not None

    def _worker_closed(self, how: str, broken: bool) -> None:
        exchange, node = self.exchange, self.node
        assert exchange is not None
        assert node is not None
        answer = exchange.answer
        if not answer.begun:
            self.on_no_answer(f"{how} without an answer")
            return
        # Who closes without having read all of a body resets, after a whole answer just the same.
        problem = answer.end() or (how if broken and not self.bodied else "")
        if not problem:
            ended_by_closing(node, self.relay.now)
            self.worker_ended()
        elif self.started:
            self.on_broken_off(problem)
        else:
            self._bad_answer(problem)

    def _bad_answer(self, why: str) -> None:
        node = self.node
        assert node is not None
        node.failures += 1
        self.relay.warn((node, "bad answer"), "%s => %s gave no HTTP/1.1 answer: %s", self.name, node.address, why)
        if self.started:
            self.fault = "broken-off"
            self.abort()
        else:
            self.refuse("bad-gateway", f"the worker of {self.name} gave no HTTP/1.1 answer")

    # Client to worker.

    def push_body(self) -> None:
        """Read from the client, and pass on what is the request's body.  The rest is nobody's."""
        exchange = self.exchange
        assert exchange is not None
        body = exchange.body
        assert body is not None
        for _ in range(ROUNDS):
            try:
                data = os.read(self.cfd, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            if not data:
                self.client_eof = True
                if body.left:
                    self.close()
                else:
                    self.arm()
                return
            if body.left:
                self.seen = self.relay.now
            try:
                out = body.feed(data)
            except BadChunks as error:
                self._bad_body(str(error))
                return
            self.body_left = body.left
            if out and not self.up_broken:
                self.bodied = True
                if not self.send_up(out):
                    return
            if len(data) < CHUNK:
                return

    def _bad_body(self, why: str) -> None:
        if self.started:
            self.fault = "bad-request"
            self.abort()
        else:
            self.refuse("bad-request", f"the request's body: {why}")

    # The end.

    def may_repeat(self) -> bool:
        """Whether a worker that closed without a byte may have been followed by another (INTERFACE.md)."""
        return not self.again and not self.bodied and repeatable(self.packet, self.end)

    def keep(self, node: Node) -> bool:
        """Leave the connection to the next request, if it is clean.  False: it is to be closed."""
        exchange = self.exchange
        assert exchange is not None
        answer = exchange.answer
        if not answer.complete or not answer.keep or exchange.early or self._request_left(exchange):
            return False
        if exchange.body is None and self.client_eof:
            return False
        if not self.relay.kept.put(node, self.wfd, self.relay.now):
            return False
        self.arm_worker(READ)
        return True

    def is_stale(self, node: Node) -> bool:
        """``node`` had closed the connection that it had kept.  True: the request has been sent by another."""
        relay = self.relay
        relay.closing += relay.kept.drop(node)
        closed_at_once(node, relay.now)
        if not self.may_repeat():
            return False
        self.again = True
        # The worker may be there: it is one of those that the next try may go to, and that is no first one.
        self.tried = self.tried or []
        self.connect_time = -1.0
        self.release_worker()
        self.try_next()
        return True

    def client_left(self) -> None:
        """A uwsgi worker that holds its side when the client has what it wanted may be one that keeps connections."""
        if self.started and not self.tunnel and self.exchange is None and self.node is not None:
            held(self.node, self.relay.now)
