"""One request, from the first byte of its client to the last: what happens when, and our own answers.

A request *has* a :class:`Transfer`, which moves the bytes between its two connections and has the table of states, and
:class:`Attempts`, which know the nodes that it is sent to.  What they may not decide comes back as a value with a name
(an outcome of states.py, a ``Refusal``), and is decided here.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from fastroute.router.protocol.wire import HEADER_SIZE, find_vars, packet_size, vars_problem
from fastroute.router.relay.access_line import AccessRecord
from fastroute.router.relay.attempts import Attempts
from fastroute.router.relay.connection import CHUNK, HANGUP, OUT, Connection
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.own_answer import own_answer
from fastroute.router.relay.partial_packet import BadPacket, PartialPacket
from fastroute.router.relay.rawsocket import reset_at_close
from fastroute.router.relay.replies import STATUS, Refusal
from fastroute.router.relay.request_id import with_request_id
from fastroute.router.relay.states import (
    ANSWERED,
    BAD_ANSWER,
    BAD_BODY,
    BODY,
    BROKEN_OFF,
    CLOSED,
    CONNECTING,
    CONTINUE,
    HEAD,
    LINGERING,
    NO_ANSWER,
    OVER,
    RELAYING,
)
from fastroute.router.relay.transfer import UNKNOWN_LENGTH, Transfer
from fastroute.router.relay.vars import (
    LOGGED_VARS,
    NO_LOG_VARS,
    REQUEST_VARS,
    body_size,
    log_vars,
    requested_key,
    with_logged_id,
)

#: Seconds that a client may take to see our answer and close.
LINGER_TIME: Final = 5.0


class Requests:
    """All requests of a relay, by the descriptors of their connections."""

    def __init__(self) -> None:
        self.by_client: dict[int, Request] = {}
        self.by_upstream: dict[int, Request] = {}
        #: Time of accept and client's descriptor, until the client is watched.  No requests: one that is over is freed
        #: at once, so that the next one finds its memory in the processor's cache (3 us a request).
        self.young: deque[tuple[float, int]] = deque()


class Request:
    """One request.  The listener calls :meth:`read_head` right after accept, then the loop calls the events.

    ``corked`` is explained in connection.py.
    """

    __slots__ = ("accepted", "attempts", "context", "fault", "log_vars", "partial", "requests", "transfer")

    def __init__(self, context: RelayContext, requests: Requests, client_fd: int, corked: bool = False) -> None:
        self.context = context
        self.requests = requests
        self.transfer = Transfer(context, Connection(client_fd, corked))
        self.attempts = Attempts(context, self.transfer)
        #: Monotonic.
        self.accepted = context.now
        #: A packet that is not whole yet.
        self.partial: PartialPacket | None = None
        #: For the access log: vars, and why the answer is not the worker's, or not whole.
        self.log_vars = NO_LOG_VARS
        self.fault = ""
        requests.by_client[client_fd] = self

    # Events.

    def on_client(self, mask: int) -> None:
        """epoll reported ``mask`` for the client's connection."""
        transfer = self.transfer
        state = transfer.state
        # Half-closed by both looks the same (LINGERING, or a tunnel whose worker is done): then reading tells.
        if mask & HANGUP and (state == CONNECTING or (state == RELAYING and not transfer.upstream_eof)):
            transfer.client_left()
            self.close()
        elif state >= RELAYING:
            begun = transfer.begun
            self._on_outcome(transfer.on_client(mask), begun)
        elif mask & ~OUT:
            if state == HEAD:
                self.read_head()
            elif state == BODY:
                self._read_body()

    def on_upstream(self, mask: int) -> None:
        """epoll reported ``mask`` for the upstream connection."""
        transfer = self.transfer
        if transfer.state == CONNECTING:
            self._on_connecting()
        else:
            begun = transfer.begun
            self._on_outcome(transfer.on_upstream(mask), begun)

    def watch(self) -> None:
        """The request takes its time: from now on notice when the client leaves, or sends more than was expected."""
        transfer = self.transfer
        transfer.watched = True
        if transfer.state in (CONNECTING, RELAYING):
            transfer.arm()

    # The packet.

    def read_head(self) -> None:
        """Read the packet; go on as soon as it is whole."""
        context, transfer = self.context, self.transfer
        try:
            data = os.read(transfer.client.fd, CHUNK)
        except BlockingIOError:
            transfer.arm()
            return
        except OSError:
            self.close()
            return
        transfer.last_activity = context.now
        end = packet_size(data)
        if end is not None and end <= len(data) and end <= context.max_packet and self.partial is None:
            self.on_packet(data, end)
            return
        self._read_piece(data)

    def _read_piece(self, data: bytes) -> None:
        """The slow way: the packet comes in pieces, or is refused before it is whole."""
        transfer = self.transfer
        if not data:
            transfer.client.eof = True
            if self.partial is None:
                self.close()
                return
        if self.partial is None:
            self.partial = PartialPacket(self.context.max_packet)
        try:
            packet, end = self.partial.feed(data)
        except BadPacket as error:
            self._refuse_partial(error.kind, str(error))
            return
        if packet:
            self.partial = None
            self.on_packet(packet, end)
        else:
            transfer.arm()

    def _refuse_partial(self, kind: str, text: str) -> None:
        """Refuse before the packet is whole."""
        self.context.total += 1
        self.transfer.body_left = UNKNOWN_LENGTH
        self.refuse(kind, text)

    def on_packet(self, packet: bytes, end: int) -> None:
        """``packet`` has all vars, in ``packet[4:end]``, and perhaps the beginning of the body."""
        context, transfer, attempts = self.context, self.transfer, self.attempts
        context.total += 1
        values = find_vars(packet, end, REQUEST_VARS if context.access_log is None else LOGGED_VARS)
        if values is None:
            transfer.body_left = UNKNOWN_LENGTH
            self.refuse("bad-request", f"not uwsgi: {vars_problem(packet, HEADER_SIZE, end)}")
            return
        attempts.packet, attempts.end = packet, end
        if context.access_log is not None:
            self.log_vars = log_vars(values)
        attempts.key = requested_key(values)
        if not attempts.key:
            transfer.body_left = UNKNOWN_LENGTH
            self.refuse("bad-request", "no host: no UWSGI_FASTROUTER_KEY, HTTP_HOST or SERVER_NAME in the vars")
            return
        content_length = values.get(b"CONTENT_LENGTH")
        if content_length or len(packet) > end:
            transfer.body_left = body_size(content_length or b"") - (len(packet) - end)
            transfer.has_body = len(packet) > end or transfer.body_left > 0
        if context.request_id is not None:
            attempts.packet, attempts.end, made = with_request_id(packet, end, context.request_id)
            if made:
                self.log_vars = with_logged_id(self.log_vars, made)
        refusal = attempts.find_pool()
        if refusal is not None:
            self.answer(refusal)
        elif context.post_buffering and transfer.body_left > 0:
            self._buffer_body()
        else:
            self._connect()

    # A body that is read before a worker is asked.

    def _buffer_body(self) -> None:
        # Most relays never need it.
        from fastroute.router.compat.post_buffering import BufferedBody, NoRoom

        transfer, attempts = self.transfer, self.attempts
        transfer.state = BODY
        # The client is registered from here on.
        transfer.watched = True
        beginning = attempts.packet[attempts.end :]
        attempts.packet = attempts.packet[: attempts.end]
        try:
            transfer.buffered = BufferedBody(self.context.post_buffering, beginning, transfer.body_left)
        except NoRoom as error:
            self._no_room(error)
            return
        self._read_body()

    def _read_body(self) -> None:
        from fastroute.router.compat.post_buffering import CLIENT_GONE, CUT_SHORT, WHOLE, NoRoom

        transfer, buffered = self.transfer, self.transfer.buffered
        assert buffered is not None
        try:
            outcome = buffered.read(transfer.client.fd)
        except NoRoom as error:
            self._no_room(error)
            return
        if buffered.left < transfer.body_left:
            transfer.last_activity = self.context.now
            transfer.body_left = buffered.left
        if outcome == WHOLE:
            self._connect()
        elif outcome == CUT_SHORT:
            transfer.client.eof = True
            text = f"the connection ended {transfer.body_left} bytes before the end of the body"
            self.refuse("bad-request", text)
        elif outcome == CLIENT_GONE:
            self.close()
        else:
            transfer.arm()

    def _no_room(self, error: Exception) -> None:
        self.context.warn("post-buffering", "a body can't be buffered: %s", error)
        self.refuse("no-node", "this router has no room for the body")

    # The upstream side.

    def _connect(self) -> None:
        """Send the request to the next node, or answer it where none is left."""
        refusal = self.attempts.connect_next()
        upstream = self.transfer.upstream
        if upstream is not None:
            self.requests.by_upstream[upstream.fd] = self
        elif refusal is not None:
            self.answer(refusal)

    def _on_connecting(self) -> None:
        """The first byte can be written, or the connect failed: writing tells."""
        upstream = self.transfer.upstream
        assert upstream is not None
        try:
            sent = upstream.flush()
        except OSError as error:
            self._on_connect_failed(error.strerror or str(error))
            return
        if sent:
            self.attempts.connected(upstream, sent)

    def _on_connect_failed(self, reason: str) -> None:
        upstream = self.transfer.upstream
        if upstream is not None:
            self.attempts.unreachable(upstream.node, reason)
            self._release()
            self._connect()

    def _release(self) -> None:
        upstream = self.transfer.upstream
        if upstream is not None:
            del self.requests.by_upstream[upstream.fd]
            self.attempts.release()

    # The answer.

    def _on_outcome(self, outcome: int, begun: bool) -> None:
        """Act on the ``outcome`` of the transfer; ``begun``: the answer had begun before this event."""
        transfer, attempts = self.transfer, self.attempts
        if transfer.begun and not begun:
            attempts.answer_begun()
        if outcome == CONTINUE:
            return
        if outcome == ANSWERED:
            self._release()
            self._end_client()
        elif outcome == NO_ANSWER:
            refusal = attempts.no_answer(transfer.reason)
            self._release()
            if refusal is None:
                self._connect()
            else:
                self.answer(refusal)
        elif outcome == BROKEN_OFF:
            attempts.count_failure("broken", f"broke off in its answer: {transfer.reason}")
            self._abort("broken-off")
        elif outcome == BAD_ANSWER:
            attempts.count_failure("bad answer", f"gave no HTTP/1.1 answer: {transfer.reason}")
            self._abort("broken-off", Refusal("bad-gateway", f"the worker of {attempts.name} gave no HTTP/1.1 answer"))
        elif outcome == BAD_BODY:
            self._abort("bad-request", Refusal("bad-request", f"the request's body: {transfer.reason}"))
        else:
            self.close()

    # The end.

    def refuse(self, kind: str, text: str) -> None:
        """Answer ``kind`` ourselves and end the connection."""
        self.answer(Refusal(kind, text))

    def answer(self, refusal: Refusal) -> None:
        """Answer as ``refusal`` says, and end the connection."""
        context, transfer, attempts = self.context, self.transfer, self.attempts
        kind = refusal.kind
        context.count_error(kind)
        self._release()
        self.fault, transfer.status = kind, STATUS[kind][:3].encode()
        answer = own_answer(context, refusal, attempts.key, attempts.packet, attempts.end)
        transfer.tx = len(answer)
        transfer.last_activity = context.now
        try:
            transfer.client.write(answer)
        except OSError:
            self.close()
            return
        self._end_client()

    def _end_client(self) -> None:
        if self.transfer.end_client() == OVER:
            self.close()

    def _abort(self, fault: str, refusal: Refusal | None = None) -> None:
        """End so that the client sees that the answer is not whole (by a reset, where the socket has one).

        Where the answer has not begun, ``refusal`` says how to answer instead.
        """
        if refusal is not None and not self.transfer.started:
            self.answer(refusal)
            return
        self.fault = fault
        reset_at_close(self.transfer.client.fd)
        self.close()

    def fail(self) -> None:
        """End the request so that its client learns that a fault of this router met it."""
        transfer, attempts = self.transfer, self.attempts
        # Not looked into again: that may have been the fault.
        attempts.packet, attempts.end = b"", 0
        if transfer.state == LINGERING and not transfer.started:
            self.close()
            return
        transfer.body_left = UNKNOWN_LENGTH
        self._abort("fault", Refusal("bad-gateway", "a fault of this router, which its log describes"))

    @property
    def has_not_begun(self) -> bool:
        """True while the client has not sent a byte."""
        return self.transfer.state == HEAD and self.partial is None

    def cut_off(self, fault: str) -> None:
        """End the request because no time or no room is left for it; ``fault`` says which."""
        self.fault = fault
        self.close()

    def close(self) -> None:
        """End both connections now.  Their descriptors are closed after the events at hand."""
        context, transfer, attempts = self.context, self.transfer, self.attempts
        if transfer.state == CLOSED:
            return
        if context.access_log is not None and (attempts.end or transfer.status):
            context.access_log.add(self._record(), context.now)
        client = transfer.client
        del self.requests.by_client[client.fd]
        context.closing.append(client.fd)
        self._release()
        transfer.state = CLOSED
        client.pending = attempts.packet = b""
        transfer.buffered = None

    def drop(self) -> None:
        """Take the request out of all tables.  For when closing it in order has failed: nothing here can."""
        transfer, requests = self.transfer, self.requests
        fds = [transfer.client.fd]
        requests.by_client.pop(transfer.client.fd, None)
        if transfer.upstream is not None:
            fds.append(transfer.upstream.fd)
            requests.by_upstream.pop(transfer.upstream.fd, None)
        self.context.closing += [fd for fd in fds if fd not in self.context.closing]
        transfer.state = CLOSED
        transfer.upstream = None

    def _record(self) -> AccessRecord:
        """What the access log gets of this request, which is about to close."""
        transfer, attempts = self.transfer, self.attempts
        if transfer.state == LINGERING:
            ended, whole = transfer.last_activity, not transfer.client.pending
        else:
            ended, whole = self.context.now, transfer.upstream_eof and transfer.client.eof
        return AccessRecord(
            self.log_vars, attempts.key, "" if attempts.node is None else attempts.node.address, transfer.status,
            self.fault or ("" if whole else "client-gone"), transfer.tx, transfer.rx,
            attempts.failed + attempts.retried + (attempts.connect_time >= 0), attempts.connect_time,
            attempts.answer_time, ended, ended - self.accepted, attempts.sent_at,
        )  # fmt: skip

    # Time.

    def check(self, now: float) -> None:
        """End what has been silent for too long."""
        context, transfer, attempts = self.context, self.transfer, self.attempts
        silent = now - transfer.last_activity
        state = transfer.state
        if state == HEAD:
            # All of it has this time: a byte now and then keeps no connection.
            if now - self.accepted >= context.client_timeout:
                if self.partial is None:
                    self.close()
                else:
                    self._refuse_partial("bad-request", f"the packet stalled after {self.partial.size} bytes")
        elif state == LINGERING:
            if silent >= LINGER_TIME:
                self.close()
        elif state == CONNECTING:
            if silent >= context.connect_timeout:
                self._on_connect_failed(f"no connection within {context.connect_timeout:g} s")
        elif transfer.started:
            if silent >= (context.timeout if transfer.client.eof else context.idle_timeout):
                self.fault = "silent"
                self.close()
        elif transfer.waits_for_body:
            if silent >= context.client_timeout:
                self.refuse("bad-request", f"the request's body stalled {transfer.body_left} bytes before its end")
        elif silent >= context.timeout:
            attempts.count_failure("timeout", f"did not answer within {context.timeout:g} s")
            self.refuse("timeout", f"the worker of {attempts.name} did not answer within {context.timeout:g} s")
