"""The bytes of one request between its two connections: the part that knows nothing of keys, retries and own answers.

Memory is bounded by what is here: one chunk pending on each connection; while it waits, its source is not read.  What a
method met and may not decide is its outcome (states.py); request_events.py decides.

===========  ==================================  =============================  =======================================
state        client's side                       upstream side                  leaves by
===========  ==================================  =============================  =======================================
HEAD         read until the packet is whole      none yet                       whole -> CONNECTING, RELAYING, WAITING
                                                                                or BODY; bad -> LINGERING
BODY         read until the body is whole        none yet                       whole -> CONNECTING, RELAYING or
             (only with post-buffering)                                         WAITING; bad -> LINGERING
WAITING      not read; that it ends its side or  none                           its turn and a node -> CONNECTING or
             leaves is noticed                                                  RELAYING; time over -> LINGERING; client
                                                                                left -> CLOSED
CONNECTING   not read                            connecting, the request is     first byte written -> RELAYING; failed
                                                 pending                        -> CONNECTING elsewhere, WAITING or
                                                                                LINGERING
RELAYING     read when a body is expected, when  read unless bytes are pending  answer over -> LINGERING or CLOSED;
             it upgraded, or once 100 ms passed  for the client                 no answer -> CONNECTING elsewhere,
                                                                                WAITING or LINGERING
LINGERING    pending bytes are written, then     closed                         all written, and end of file from the
             end of file; what it sends is                                      client or silence -> CLOSED
             thrown away
CLOSED       closed                              closed                         never
===========  ==================================  =============================  =======================================

Half-close is passed on: end of file from the client shuts the upstream side for writing once nothing is pending there,
and in a tunnel (101) the other way round as well.  A client that is gone (reset, or a unix socket closed) ends
everything.  LINGERING exists because closing a TCP socket with unread bytes resets it and may destroy the answer on its
way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from fastroute.router.relay.access_line import status_of
from fastroute.router.relay.connection import CHUNK, ERR, OUT, RDHUP, READ, UNREGISTERED, Connection
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.cookies import with_line
from fastroute.router.relay.http.answer import INTERIM_DIGIT, BadAnswer, WorkerAnswer
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.http.codec import Codec, beginning_codec
from fastroute.router.relay.http.events import unbuffered
from fastroute.router.relay.http.exchange import CONTINUE_100, HttpExchange
from fastroute.router.relay.http.uwsgi_answer import INTERIM_KNOWN
from fastroute.router.relay.idle_connections import answer_ended_by_close, connection_closed_early, connection_held
from fastroute.router.relay.rawsocket import no_delay, shut_for_writing
from fastroute.router.relay.states import (
    ANSWERED,
    BAD_ANSWER,
    BAD_BODY,
    BROKEN_OFF,
    CONNECTING,
    CONTINUE,
    HEAD,
    LINGERING,
    NO_ANSWER,
    OVER,
    RELAYING,
)
from fastroute.router.relay.upstream import UpstreamConnection

if TYPE_CHECKING:
    from fastroute.router.compat.post_buffering import BufferedBody
    from fastroute.router.relay.spooled_chunks import SpooledChunks

#: Chunks moved for one request before others get their turn.
CHUNKS_PER_TURN: Final = 4
#: ``body_left`` where nobody knows how much is still to come.
UNKNOWN_LENGTH: Final = 1

_H: Final = ord("H")
#: How nearly every answer begins, so that its status need not be looked for.
OK_BEGINS: Final = b"HTTP/1.1 2"


class Transfer:
    """The client's connection, the upstream one where there is one, and how far the bytes between them are."""

    __slots__ = ("answered_early", "begun", "body_left", "buffered", "client", "context", "exchange", "has_body",
                 "last_activity", "reason", "rx", "started", "state", "status", "tunnel", "tx", "upload_broken",
                 "upstream", "watched")  # fmt: skip

    def __init__(self, context: RelayContext, client: Connection) -> None:
        self.context = context
        self.client = client
        #: What is known of a request that came through an HTTP front.
        self.exchange: HttpExchange | None = None
        self.upstream: UpstreamConnection | None = None
        self.state = HEAD
        #: The request takes its time, so its client is registered with epoll: that it leaves is noticed.
        self.watched = False
        #: Monotonic time at which the last byte moved.
        self.last_activity = context.now
        #: Bytes of the request's body that the client has not sent yet, or ``UNKNOWN_LENGTH``.
        self.body_left = 0
        #: More than the head went upstream, or will.
        self.has_body = False
        #: A body that is read before a worker is asked (compat/post_buffering.py, spooled_chunks.py).
        self.buffered: BufferedBody | SpooledChunks | None = None
        #: The worker reads no more of the request.
        self.upload_broken = False
        #: The worker sent a byte.
        self.begun = False
        #: The client gets the worker's answer.
        self.started = False
        #: The answer began before all of the request had gone to the worker.
        self.answered_early = False
        #: Both sides upgraded to another protocol (101).
        self.tunnel = False
        #: Three digits, where an access log wants them.
        self.status = b""
        #: Bytes that the client got, and that the worker got.
        self.tx = self.rx = 0
        #: What belongs to the last outcome, for people.
        self.reason = ""

    @property
    def upstream_eof(self) -> bool:
        """True when the worker has ended its side of a tunnel."""
        return self.upstream is not None and self.upstream.eof

    @property
    def waits_for_body(self) -> bool:
        """True when it is the client's turn to send more of the request."""
        upstream = self.upstream
        return self.body_left > 0 and not self.client.eof and (upstream is None or not upstream.pending)

    @property
    def keeps_client(self) -> bool:
        """True when an HTTP client may send its next request: all of this one was read, and the answer says so."""
        exchange = self.exchange
        return exchange is not None and exchange.framing.keep and self.body_left <= 0 and not self.client.eof

    # Events.

    def on_upstream(self, mask: int) -> int:
        """epoll reported ``mask`` for the upstream connection (state RELAYING).  Returns the outcome."""
        upstream = self.upstream
        assert upstream is not None
        if mask & OUT and upstream.pending:
            outcome = self._flush_upstream(upstream)
            if outcome != CONTINUE:
                return outcome
        if mask & ~OUT and not self.client.pending and not upstream.eof:
            return self._pull(upstream, mask)
        return CONTINUE

    def on_client(self, mask: int) -> int:
        """epoll reported ``mask`` for the client's connection (state RELAYING or LINGERING).  Returns the outcome."""
        client, upstream = self.client, self.upstream
        if mask & OUT and client.pending:
            outcome = self._flush_client()
            if outcome != CONTINUE:
                return outcome
        if not mask & ~OUT or client.eof:
            return CONTINUE
        if self.state == LINGERING:
            return self._discard()
        if upstream is not None and not upstream.pending:
            return self._push(upstream)
        return CONTINUE

    def arm(self) -> None:
        """Tell epoll what is waited for, where that changed."""
        client, upstream, state = self.client, self.upstream, self.state
        epoll = self.context.epoll
        want = OUT if client.pending else 0
        if not client.eof and (upstream is None or not upstream.pending):
            if state == RELAYING:
                if self.body_left > 0 or self.watched or self.tunnel:
                    want |= READ
            elif state != CONNECTING:
                want |= READ
            if self.exchange is not None and want & READ and self._next_request_waits(self.exchange):
                want &= ~READ
        if not want and (self.upstream_eof if client.mask > 0 else client.mask < 0 and not self.watched):
            want = UNREGISTERED
        client.arm(epoll, want)
        if upstream is not None:
            want = OUT if upstream.pending or state == CONNECTING else 0
            if not client.pending and not upstream.eof and state != CONNECTING:
                want |= READ
            # A worker that nobody waits for is not registered: epoll would tell of its end for ever.
            upstream.arm(epoll, want or UNREGISTERED)

    def _next_request_waits(self, exchange: HttpExchange) -> bool:
        """True when what an HTTP client sends now belongs to its next request: it is not read ahead without bound."""
        if self.tunnel or self.body_left > 0:
            return False
        return exchange.ahead != b"" or (self.state == LINGERING and exchange.framing.keep)

    # Worker to client.

    def _pull(self, upstream: UpstreamConnection, mask: int) -> int:
        """Read from the worker and pass it on: all it has, what the client takes, or until it is others' turn."""
        context, client, node = self.context, self.client, upstream.node
        for _ in range(CHUNKS_PER_TURN):
            try:
                data = out = os.read(upstream.fd, CHUNK)
            except BlockingIOError:
                break
            except OSError as error:
                return self._upstream_ended(upstream, error)
            if not data:
                return self._upstream_ended(upstream, None)
            self.last_activity = context.now
            size = len(data)
            node.tx += size
            if not self.begun and not self._begin(upstream, data):
                return NO_ANSWER
            codec = upstream.codec
            if codec is not None:
                try:
                    out = self._note_answer(upstream, codec, codec.answer.feed(data), mask)
                except BadAnswer as bad:
                    self.reason = str(bad)
                    return BAD_ANSWER
            elif not self.started:
                out = self._start(upstream, data)
            self.tx += len(out)
            try:
                if out:
                    client.write(out)
            except OSError:
                return OVER
            if codec is not None and codec.answer.complete:
                return ANSWERED
            if client.pending:
                self.arm()
                break
            if size < CHUNK:
                # The end of file was reported before this read, which took all there was.
                if mask & (RDHUP | ERR) == RDHUP:
                    return self._upstream_ended(upstream, None)
                break
        if self.started:
            client.uncork()
        return CONTINUE

    def _framed(self, exchange: HttpExchange, answer: WorkerAnswer, out: bytes) -> bytes:
        """``out`` as an HTTP client gets it."""
        framing = exchange.framing
        if not framing.begun and (self.body_left > 0 or self.context.draining or (exchange.upgrade and exchange.ahead)):
            # An answer before the end of the body; the end of this router; bytes that were meant for a tunnel.
            framing.keep = False
        return framing.frame(answer, out)

    def _begin(self, upstream: UpstreamConnection, data: bytes) -> bool:
        """Note that the answer begins with ``data``.  Returns False when that is our own request."""
        if data[0] != _H and data[4:68] == upstream.request[4:68]:
            # On loopback, a connect to a dead worker's port may meet itself (a simultaneous open).
            self.reason = "sent the request back: nobody listens there"
            return False
        self.begun = True
        if upstream.codec is None and (len(data) < INTERIM_KNOWN or data[INTERIM_KNOWN - 1] == INTERIM_DIGIT):
            # An interim answer is not passed through as it is.
            upstream.codec = beginning_codec(upstream.request)
        return True

    def _note_answer(self, upstream: UpstreamConnection, codec: Codec, out: bytes, mask: int) -> bytes:
        """Note what ``codec`` understood, of which the client gets ``out``.  Returns that, as the client gets it."""
        answer = codec.answer
        if answer.started and not self.started:
            self.answered_early = self._request_left(upstream)
            out = self._start(upstream, with_line(out, codec.cookie) if codec.cookie else out)
            self.status = answer.status or self.status
            if answer.tunnel:
                self._open_tunnel(upstream)
        if answer.passes:
            upstream.codec = None
        if answer.complete and mask & RDHUP:
            answer.keep = False
            connection_closed_early(upstream.node, self.context.now)
        elif answer.complete and answer.keep and self.exchange is not None:
            connection_held(upstream.node, self.context.now)
        if self.exchange is not None and not self.tunnel:
            out = self._framed(self.exchange, answer, out)
        return out

    def _start(self, upstream: UpstreamConnection, data: bytes) -> bytes:
        """The client gets ``data``, the first bytes of its answer.  Returns them, as it gets them."""
        self.started = True
        # Not needed any more.
        upstream.request = b""
        if data.startswith(OK_BEGINS):
            upstream.node.statuses[1] += 1
        else:
            upstream.node.count_status(status_of(data))
        if self.context.logged:
            self.status = status_of(data)
        return unbuffered(data)

    def _open_tunnel(self, upstream: UpstreamConnection) -> None:
        """Both sides upgraded: from now on all bytes pass as they are."""
        self.tunnel = True
        upstream.codec = None
        # It counts no more for what its node may have at once.
        upstream.node.tunnels += 1
        if upstream.node.pool.counts:
            upstream.node.pool.changed(upstream.node)
        exchange = self.exchange
        if exchange is not None:
            exchange.framing.keep = False
            # Sent before the tunnel was there, but meant for it.
            upstream.pending, upstream.pending_at = upstream.pending[upstream.pending_at :] + exchange.ahead, 0
            exchange.ahead = b""
        if upstream.node.internet:
            no_delay(upstream.fd)
        self.arm()

    def _upstream_ended(self, upstream: UpstreamConnection, error: OSError | None) -> int:
        """The worker closed the connection, or reset it (``error``)."""
        codec = upstream.codec
        if error is None and codec is None and self.begun and not self.tunnel:
            # The common end: of an answer that passes through.
            return ANSWERED
        how = "closed the connection" if error is None else f"broke off ({error.strerror})"
        if not self.begun:
            self.reason = f"{how} without an answer"
            return NO_ANSWER
        # A worker that closes without having read all of a body resets the connection, after a whole answer as well.
        problem = how if error is not None and not self.has_body else ""
        if codec is not None:
            problem = codec.answer.end() or problem
        if problem:
            self.reason = problem
            return BROKEN_OFF if self.started else BAD_ANSWER
        if codec is not None:
            answer_ended_by_close(upstream.node, self.context.now)
            if self.exchange is not None and not self._end_framing(self.exchange):
                return OVER
        if not self.tunnel:
            return ANSWERED
        upstream.eof = True
        self.client.shut()
        if self.client.eof:
            return OVER
        self.arm()
        return CONTINUE

    def _end_framing(self, exchange: HttpExchange) -> bool:
        """The answer ended with its worker's connection: tell the client.  Returns False when that is gone."""
        end = exchange.framing.end()
        self.tx += len(end)
        try:
            if end:
                self.client.write(end)
        except OSError:
            return False
        return True

    def ask_for_body(self, exchange: HttpExchange) -> bool:
        """Tell a client that waits for it to send its body.  Returns False when it is gone."""
        exchange.expects = False
        try:
            self.client.write(CONTINUE_100)
        except OSError:
            return False
        return True

    def _flush_client(self) -> int:
        client = self.client
        try:
            sent = client.flush()
        except OSError:
            return OVER
        if sent:
            self.last_activity = self.context.now
        if client.pending:
            return CONTINUE
        if self.state == LINGERING:
            return self.end_client()
        self.arm()
        return CONTINUE

    # Client to worker.

    def _push(self, upstream: UpstreamConnection) -> int:
        """Read from the client, and pass on what is the request's body (in a tunnel, all); the rest is nobody's."""
        context, codec = self.context, upstream.codec
        body = codec.body if codec is not None else None
        for _ in range(CHUNKS_PER_TURN):
            try:
                data = out = os.read(self.client.fd, CHUNK)
            except BlockingIOError:
                return CONTINUE
            except OSError:
                return OVER
            if not data:
                return self._client_ended(upstream)
            exchange = self.exchange
            if exchange is not None and self.body_left <= 0 and not self.tunnel:
                exchange.ahead += data
                self.arm()
                return CONTINUE
            if self.body_left > 0 or body is None:
                self.last_activity = context.now
            self.body_left -= len(data)
            if body is not None:
                try:
                    out = body.feed(data)
                except BadChunks as error:
                    self.reason = str(error)
                    return BAD_BODY
                self.body_left = body.left
                if exchange is not None and body.excess:
                    exchange.ahead = data[-body.excess :]
            if out and not self.upload_broken:
                self.has_body = True
                outcome = self._send_up(upstream, out)
                if outcome != CONTINUE or upstream.pending or self.upload_broken:
                    return outcome
            if len(data) < CHUNK:
                return CONTINUE
        return CONTINUE

    def _send_up(self, upstream: UpstreamConnection, data: bytes) -> int:
        try:
            sent = upstream.write(data)
        except OSError:
            return self._upload_broke(upstream)
        self.rx += sent
        upstream.node.rx += sent
        if upstream.pending:
            self.arm()
        return CONTINUE

    def _flush_upstream(self, upstream: UpstreamConnection) -> int:
        try:
            sent = upstream.flush()
        except OSError:
            return self._upload_broke(upstream)
        if sent:
            self.rx += sent
            upstream.node.rx += sent
            self.last_activity = self.context.now
        if not upstream.pending:
            self.continue_upload(upstream)
            self.arm()
        return CONTINUE

    def continue_upload(self, upstream: UpstreamConnection) -> None:
        """Nothing is pending upstream: what comes next is a piece of a buffered body, or the client's end of file."""
        if self.buffered is not None:
            upstream.pending, upstream.pending_at = self.buffered.next_piece(), 0
            if upstream.pending:
                return
            self.drop_buffered()
        if self.client.eof:
            self._shut_upstream(upstream)

    def drop_buffered(self) -> None:
        """A body that was read whole is not needed any more."""
        if self.buffered is not None:
            self.buffered.close()
            self.buffered = None

    def _upload_broke(self, upstream: UpstreamConnection) -> int:
        """The worker reads no more.  It may have answered before: what it said still counts."""
        upstream.pending = b""
        self.drop_buffered()
        self.upload_broken = True
        outcome = CONTINUE
        if not self.client.pending and not upstream.eof:
            outcome = self._pull(upstream, 0)
        if outcome == CONTINUE:
            self.arm()
        return outcome

    def _client_ended(self, upstream: UpstreamConnection) -> int:
        self.client.eof = True
        if upstream.codec is not None and upstream.codec.body is not None:
            if upstream.codec.body.left:
                return OVER
        else:
            self.client_left()
            if not self.upload_broken:
                self._shut_upstream(upstream)
            if upstream.eof:
                return OVER
        self.arm()
        return CONTINUE

    def client_left(self) -> None:
        """Note that the client left.  A uwsgi worker that has not closed by then may be one that keeps connections."""
        upstream = self.upstream
        if self.started and not self.tunnel and upstream is not None and upstream.codec is None:
            connection_held(upstream.node, self.context.now)

    def _shut_upstream(self, upstream: UpstreamConnection) -> None:
        """Pass the client's end of file on, but not to HTTP workers: many take that for a client that is gone."""
        if upstream.codec is None or upstream.codec.body is None:
            shut_for_writing(upstream.fd)

    # The end.

    @property
    def reusable(self) -> bool:
        """True when the upstream connection may serve another request: both messages on it are whole and in order."""
        upstream = self.upstream
        codec = upstream.codec if upstream is not None else None
        if upstream is None or codec is None or not codec.answer.complete or not codec.answer.keep:
            return False
        # A worker that answers before it has read all may take what it has not read for the next request.
        if self.answered_early or self._request_left(upstream):
            return False
        return codec.body is not None or not self.client.eof

    def _request_left(self, upstream: UpstreamConnection) -> bool:
        """True unless all of the request has gone to the worker, as it was announced."""
        return self.body_left != 0 or upstream.pending != b"" or self.upload_broken or self.buffered is not None

    def end_client(self) -> int:
        """Nothing more will be said to the client than what is pending.  Returns the outcome."""
        client = self.client
        self.state = LINGERING
        if not client.pending:
            if client.eof or self.body_left <= 0:
                return OVER
            client.shut()
        self.arm()
        return CONTINUE

    def throw_away_rest(self) -> None:
        """An HTTP client gets no other answer, but sends more: read it, as closing now would reset its connection."""
        self.body_left = UNKNOWN_LENGTH
        self.client.shut()
        self.arm()

    def _discard(self) -> int:
        """Not ``last_activity``: a client that sends for ever must not keep its connection for ever."""
        self.client.discard()
        if self.client.eof:
            if not self.client.pending:
                return OVER
            self.arm()
        return CONTINUE
