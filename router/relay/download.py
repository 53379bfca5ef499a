"""The worker's answer on its way to the client.

What a function met and may not decide is its outcome (states.py); request_events.py decides.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.access_line import status_of
from fastroute.router.relay.connection import CHUNK, ERR, RDHUP, os_read
from fastroute.router.relay.cookies import with_line
from fastroute.router.relay.http.answer import INTERIM_DIGIT, BadAnswer, WorkerAnswer
from fastroute.router.relay.http.codec import Codec, beginning_codec
from fastroute.router.relay.http.events import unbuffered
from fastroute.router.relay.http.exchange import HttpExchange
from fastroute.router.relay.http.uwsgi_answer import INTERIM_KNOWN
from fastroute.router.relay.idle_connections import answer_ended_by_close, connection_closed_early, connection_held
from fastroute.router.relay.rawsocket import no_delay
from fastroute.router.relay.states import ANSWERED, BAD_ANSWER, BROKEN_OFF, CONTINUE, LINGERING, NO_ANSWER, OVER
from fastroute.router.relay.transfer import CHUNKS_PER_TURN, Transfer
from fastroute.router.relay.upstream import UpstreamConnection

_H: Final = ord("H")
#: How nearly every answer begins, so that its status need not be looked for.
OK_BEGINS: Final = b"HTTP/1.1 2"


def pull(transfer: Transfer, upstream: UpstreamConnection, mask: int) -> int:
    """Read from the worker and pass it on: all it has, what the client takes, or until it is others' turn."""
    context, client, node = transfer.context, transfer.client, upstream.node
    for _ in range(CHUNKS_PER_TURN):
        try:
            data = out = os_read(upstream.fd, CHUNK)
        except BlockingIOError:
            break
        except OSError as error:
            return _upstream_ended(transfer, upstream, error)
        if not data:
            return _upstream_ended(transfer, upstream, None)
        transfer.last_activity = context.now
        size = len(data)
        node.tx += size
        if not transfer.begun and not _begin(transfer, upstream, data):
            return NO_ANSWER
        codec = upstream.codec
        if codec is not None:
            try:
                out = _note_answer(transfer, upstream, codec, codec.answer.feed(data), mask)
            except BadAnswer as bad:
                transfer.reason = str(bad)
                return BAD_ANSWER
        elif not transfer.started:
            out = _start(transfer, upstream, data)
        transfer.tx += len(out)
        try:
            if out:
                client.write(out)
        except OSError:
            return OVER
        if codec is not None and codec.answer.complete:
            return ANSWERED
        if client.pending:
            transfer.arm()
            break
        if size < CHUNK:
            # The end of file was reported before this read, which took all there was.
            if mask & (RDHUP | ERR) == RDHUP:
                return _upstream_ended(transfer, upstream, None)
            break
    if transfer.started:
        client.uncork()
    return CONTINUE


def _framed(transfer: Transfer, exchange: HttpExchange, answer: WorkerAnswer, out: bytes) -> bytes:
    """``out`` as an HTTP client gets it."""
    framing = exchange.framing
    if not framing.begun and (
        transfer.body_left > 0 or transfer.context.draining or (exchange.upgrade and exchange.ahead)
    ):
        # An answer before the end of the body; the end of this router; bytes that were meant for a tunnel.
        framing.keep = False
    return framing.frame(answer, out)


def _begin(transfer: Transfer, upstream: UpstreamConnection, data: bytes) -> bool:
    """Note that the answer begins with ``data``.  Returns False when that is our own request."""
    if data[0] != _H and data[4:68] == upstream.request[4:68]:
        # On loopback, a connect to a dead worker's port may meet itself (a simultaneous open).
        transfer.reason = "sent the request back: nobody listens there"
        return False
    transfer.begun = True
    if upstream.codec is None and (len(data) < INTERIM_KNOWN or data[INTERIM_KNOWN - 1] == INTERIM_DIGIT):
        # An interim answer is not passed through as it is.
        upstream.codec = beginning_codec(upstream.request)
    return True


def _note_answer(transfer: Transfer, upstream: UpstreamConnection, codec: Codec, out: bytes, mask: int) -> bytes:
    """Note what ``codec`` understood, of which the client gets ``out``.  Returns that, as the client gets it."""
    answer = codec.answer
    if answer.started and not transfer.started:
        transfer.answered_early = transfer.request_left(upstream)
        out = _start(transfer, upstream, with_line(out, codec.cookie) if codec.cookie else out)
        transfer.status = answer.status or transfer.status
        if answer.tunnel:
            _open_tunnel(transfer, upstream)
    if answer.passes:
        upstream.codec = None
    if answer.complete and mask & RDHUP:
        answer.keep = False
        connection_closed_early(upstream.node, transfer.context.now)
    elif answer.complete and answer.keep and transfer.exchange is not None:
        connection_held(upstream.node, transfer.context.now)
    if transfer.exchange is not None and not transfer.tunnel:
        out = _framed(transfer, transfer.exchange, answer, out)
    return out


def _start(transfer: Transfer, upstream: UpstreamConnection, data: bytes) -> bytes:
    """The client gets ``data``, the first bytes of its answer.  Returns them, as it gets them."""
    transfer.started = True
    # It is not sent again any more.
    upstream.request = b""
    if data.startswith(OK_BEGINS):
        upstream.node.statuses[1] += 1
    elif upstream.node.count_status(status_of(data)):
        transfer.context.erring[upstream.node] = None
    if transfer.context.logged:
        transfer.status = status_of(data)
    return unbuffered(data)


def _open_tunnel(transfer: Transfer, upstream: UpstreamConnection) -> None:
    """Both sides upgraded: from now on all bytes pass as they are."""
    transfer.tunnel = True
    upstream.codec = None
    # It counts no more for what its node may have at once.
    upstream.node.tunnels += 1
    if upstream.node.pool.counts:
        upstream.node.pool.changed(upstream.node)
    exchange = transfer.exchange
    if exchange is not None:
        exchange.framing.keep = False
        # Sent before the tunnel was there, but meant for it.
        upstream.pending, upstream.pending_at = upstream.pending[upstream.pending_at :] + exchange.ahead, 0
        exchange.ahead = b""
    if upstream.node.internet:
        no_delay(upstream.fd)
    transfer.arm()


def _upstream_ended(transfer: Transfer, upstream: UpstreamConnection, error: OSError | None) -> int:
    """The worker closed the connection, or reset it (``error``)."""
    codec = upstream.codec
    if error is None and codec is None and transfer.begun and not transfer.tunnel:
        # The common end: of an answer that passes through.
        return ANSWERED
    how = "closed the connection" if error is None else f"broke off ({error.strerror})"
    if not transfer.begun:
        transfer.reason = f"{how} without an answer"
        return NO_ANSWER
    # A worker that closes without having read all of a body resets the connection, after a whole answer as well.
    problem = how if error is not None and not transfer.has_body else ""
    if codec is not None:
        problem = codec.answer.end() or problem
    if problem:
        transfer.reason = problem
        return BROKEN_OFF if transfer.started else BAD_ANSWER
    if codec is not None:
        answer_ended_by_close(upstream.node, transfer.context.now)
        if transfer.exchange is not None and not _end_framing(transfer, transfer.exchange):
            return OVER
    if not transfer.tunnel:
        return ANSWERED
    upstream.eof = True
    transfer.client.shut()
    if transfer.client.eof:
        return OVER
    transfer.arm()
    return CONTINUE


def _end_framing(transfer: Transfer, exchange: HttpExchange) -> bool:
    """The answer ended with its worker's connection: tell the client.  Returns False when that is gone."""
    end = exchange.framing.end()
    transfer.tx += len(end)
    try:
        if end:
            transfer.client.write(end)
    except OSError:
        return False
    return True


def flush_client(transfer: Transfer) -> int:
    """Write what is pending to the client, which takes bytes again."""
    client = transfer.client
    try:
        sent = client.flush()
    except OSError:
        return OVER
    if sent:
        transfer.last_activity = transfer.context.now
    if client.pending:
        return CONTINUE
    if transfer.state == LINGERING:
        return transfer.end_client()
    transfer.arm()
    return CONTINUE
