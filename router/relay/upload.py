"""The request's body on its way to the worker; in a tunnel, all that the client sends.

What a function met and may not decide is its outcome (states.py); request_events.py decides.
"""

from __future__ import annotations

from fastroute.router.relay.connection import CHUNK, os_read
from fastroute.router.relay.download import pull
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.rawsocket import shut_for_writing
from fastroute.router.relay.states import BAD_BODY, CONTINUE, OVER
from fastroute.router.relay.transfer import CHUNKS_PER_TURN, Transfer
from fastroute.router.relay.upstream import UpstreamConnection


def push(transfer: Transfer, upstream: UpstreamConnection) -> int:
    """Read from the client, and pass on what is the request's body (in a tunnel, all); the rest is nobody's."""
    context, codec = transfer.context, upstream.codec
    body = codec.body if codec is not None else None
    for _ in range(CHUNKS_PER_TURN):
        try:
            data = out = os_read(transfer.client.fd, CHUNK)
        except BlockingIOError:
            return CONTINUE
        except OSError:
            return OVER
        if not data:
            return _client_ended(transfer, upstream)
        exchange = transfer.exchange
        if exchange is not None and transfer.body_left <= 0 and not transfer.tunnel:
            exchange.ahead += data
            transfer.arm()
            return CONTINUE
        if transfer.body_left > 0 or body is None:
            transfer.last_activity = context.now
        transfer.body_left -= len(data)
        if body is not None:
            try:
                out = body.feed(data)
            except BadChunks as error:
                transfer.reason = str(error)
                return BAD_BODY
            transfer.body_left = body.left
            if exchange is not None and body.excess:
                exchange.ahead = data[-body.excess :]
        if out and not transfer.upload_broken:
            transfer.has_body = True
            outcome = _send_up(transfer, upstream, out)
            if outcome != CONTINUE or upstream.pending or transfer.upload_broken:
                return outcome
        if len(data) < CHUNK:
            return CONTINUE
    return CONTINUE


def _send_up(transfer: Transfer, upstream: UpstreamConnection, data: bytes) -> int:
    try:
        sent = upstream.write(data)
    except OSError:
        return _upload_broke(transfer, upstream)
    transfer.rx += sent
    upstream.node.rx += sent
    if upstream.pending:
        transfer.arm()
    return CONTINUE


def flush_upstream(transfer: Transfer, upstream: UpstreamConnection) -> int:
    """Write what is pending to the worker, which takes bytes again."""
    try:
        sent = upstream.flush()
    except OSError:
        return _upload_broke(transfer, upstream)
    if sent:
        transfer.rx += sent
        upstream.node.rx += sent
        transfer.last_activity = transfer.context.now
    if not upstream.pending:
        continue_upload(transfer, upstream)
        transfer.arm()
    return CONTINUE


def continue_upload(transfer: Transfer, upstream: UpstreamConnection) -> None:
    """Nothing is pending upstream: what comes next is a piece of a buffered body, or the client's end of file."""
    if transfer.buffered is not None:
        upstream.pending, upstream.pending_at = transfer.buffered.next_piece(), 0
        if upstream.pending:
            return
        transfer.drop_buffered()
    if transfer.client.eof:
        _shut_upstream(transfer, upstream)


def _upload_broke(transfer: Transfer, upstream: UpstreamConnection) -> int:
    """The worker reads no more.  It may have answered before: what it said still counts."""
    upstream.pending = b""
    transfer.drop_buffered()
    transfer.upload_broken = True
    outcome = CONTINUE
    if not transfer.client.pending and not upstream.eof:
        outcome = pull(transfer, upstream, 0)
    if outcome == CONTINUE:
        transfer.arm()
    return outcome


def _client_ended(transfer: Transfer, upstream: UpstreamConnection) -> int:
    transfer.client.eof = True
    if upstream.codec is not None and upstream.codec.body is not None:
        if upstream.codec.body.left:
            return OVER
    else:
        transfer.client_left()
        if not transfer.upload_broken:
            _shut_upstream(transfer, upstream)
        if upstream.eof:
            return OVER
    transfer.arm()
    return CONTINUE


def _shut_upstream(transfer: Transfer, upstream: UpstreamConnection) -> None:
    """Pass the client's end of file on, but not to HTTP workers: many take that for a client that is gone."""
    if upstream.codec is None or upstream.codec.body is None:
        shut_for_writing(upstream.fd)
