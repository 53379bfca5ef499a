"""Where the bytes of one request between its two connections are: it knows nothing of keys, retries and own answers.

They are moved by download.py and upload.py.  Memory is bounded: one chunk is pending on each connection at most; while
it waits, its source is not read.

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

from typing import TYPE_CHECKING, Final

from fastroute.router.relay.connection import OUT, READ, UNREGISTERED, Connection
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.exchange import CONTINUE_100, HttpExchange
from fastroute.router.relay.idle_connections import connection_held
from fastroute.router.relay.states import CONNECTING, CONTINUE, HEAD, LINGERING, OVER, RELAYING
from fastroute.router.relay.upstream import UpstreamConnection

if TYPE_CHECKING:
    from fastroute.router.compat.post_buffering import BufferedBody
    from fastroute.router.relay.spooled_chunks import SpooledChunks

#: Chunks moved for one request before others get their turn.
CHUNKS_PER_TURN: Final = 4
#: ``body_left`` where nobody knows how much is still to come.
UNKNOWN_LENGTH: Final = 1


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

    def ask_for_body(self, exchange: HttpExchange) -> bool:
        """Tell a client that waits for it to send its body.  Returns False when it is gone."""
        exchange.expects = False
        try:
            self.client.write(CONTINUE_100)
        except OSError:
            return False
        return True

    def drop_buffered(self) -> None:
        """A body that was read whole is not needed any more."""
        if self.buffered is not None:
            self.buffered.close()
            self.buffered = None

    def client_left(self) -> None:
        """Note that the client left.  A uwsgi worker that has not closed by then may be one that keeps connections."""
        upstream = self.upstream
        if self.started and not self.tunnel and upstream is not None and upstream.codec is None:
            connection_held(upstream.node, self.context.now)

    # The end.

    @property
    def reusable(self) -> bool:
        """True when the upstream connection may serve another request: both messages on it are whole and in order."""
        upstream = self.upstream
        codec = upstream.codec if upstream is not None else None
        if upstream is None or codec is None or not codec.answer.complete or not codec.answer.keep:
            return False
        # A worker that answers before it has read all may take what it has not read for the next request.
        if self.answered_early or self.request_left(upstream):
            return False
        return codec.body is not None or not self.client.eof

    def request_left(self, upstream: UpstreamConnection) -> bool:
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

    def discard(self) -> int:
        """Not ``last_activity``: a client that sends for ever must not keep its connection for ever."""
        self.client.discard()
        if self.client.eof:
            if not self.client.pending:
                return OVER
            self.arm()
        return CONTINUE
