"""Requests whose body is read whole before a worker is asked: all of them with ``fastrouter-post-buffering``, and those
that come in chunks for a worker that has to be told a length."""

from __future__ import annotations

from fastroute.router.protocol.wire import HEADER_SIZE, WireError, decode_vars, encode_packet, encode_vars
from fastroute.router.relay.body_buffer import CLIENT_GONE, CUT_SHORT, WHOLE, NoRoom
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.queueing import connect_or_wait
from fastroute.router.relay.request import Request
from fastroute.router.relay.states import BODY


def needs_length(request: Request) -> bool:
    """True when a worker has to be told the length of a body that comes in chunks: any that speaks uwsgi."""
    exchange, pool = request.transfer.exchange, request.pool
    if exchange is None or not exchange.chunked or pool is None:
        return False
    return not pool.nodes or any(node.protocol == "uwsgi" for node in pool.nodes.values())


def buffer_body(request: Request) -> None:
    """Read the whole body before a worker is asked."""
    # Most relays never need it.
    from fastroute.router.compat.post_buffering import BufferedBody
    from fastroute.router.relay.spooled_chunks import SpooledChunks

    transfer = request.transfer
    exchange = transfer.exchange
    transfer.state = BODY
    # The client is registered from here on.
    transfer.watched = True
    packet, end = request.packet, request.end
    beginning = packet[end:]
    request.set_packet(packet[:end], end)
    if exchange is not None and exchange.expects and not transfer.ask_for_body(exchange):
        request.close()
        return
    try:
        if exchange is not None and exchange.chunked:
            transfer.buffered = SpooledChunks(beginning)
        else:
            transfer.buffered = BufferedBody(request.context.post_buffering, beginning, transfer.body_left)
    except (NoRoom, BadChunks) as error:
        _refuse_body(request, error)
        return
    read_body(request)


def read_body(request: Request) -> None:
    """Read what has come of the body; once it is whole, a worker is asked."""
    from fastroute.router.relay.spooled_chunks import BodyTooLong, SpooledChunks

    transfer, buffered = request.transfer, request.transfer.buffered
    assert buffered is not None
    try:
        outcome = buffered.read(transfer.client.fd)
    except BodyTooLong:
        request.refuse("too-large", "the body is too long to be kept until its end, which this worker needs")
        return
    except (NoRoom, BadChunks) as error:
        _refuse_body(request, error)
        return
    if isinstance(buffered, SpooledChunks):
        transfer.last_activity = request.context.now
        transfer.body_left = buffered.left
        if outcome == WHOLE and not _with_length(request, buffered.size, buffered.ahead):
            return
    elif buffered.left < transfer.body_left:
        transfer.last_activity = request.context.now
        transfer.body_left = buffered.left
    if outcome == WHOLE:
        connect_or_wait(request)
    elif outcome == CUT_SHORT:
        transfer.client.eof = True
        text = f"the connection ended {transfer.body_left} bytes before the end of the body"
        request.refuse("bad-request", text)
    elif outcome == CLIENT_GONE:
        request.close()
    else:
        transfer.arm()


def _with_length(request: Request, size: int, ahead: bytes) -> bool:
    """The body that came in chunks is whole: its ``size`` goes into the vars.  Returns False when there is no room."""
    exchange = request.transfer.exchange
    assert exchange is not None
    exchange.chunked, exchange.length, exchange.ahead = False, size, ahead
    left_out = (b"CONTENT_LENGTH", b"HTTP_TRANSFER_ENCODING")
    pairs = [pair for pair in decode_vars(request.packet, HEADER_SIZE, request.end) if pair[0] not in left_out]
    try:
        packet = encode_packet(0, 0, encode_vars([*pairs, (b"CONTENT_LENGTH", b"%d" % size)]))
    except WireError as error:
        request.refuse("too-large", str(error))
        return False
    request.set_packet(packet, len(packet))
    return True


def _refuse_body(request: Request, error: Exception) -> None:
    if isinstance(error, BadChunks):
        request.refuse("bad-request", f"the request's body: {error}")
    else:
        request.context.warn("post-buffering", "a body can't be buffered: %s", error)
        request.refuse("no-node", "this router has no room for the body")
