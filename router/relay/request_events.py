"""What happens to a request when epoll reports something of its connections, or time passes.

What a part may not decide comes back as a value with a name (an outcome of states.py, a ``Refusal``), and is decided
here.
"""

from __future__ import annotations

from random import Random
from typing import Final

from fastroute.router.protocol.wire import HEADER_SIZE, find_vars, packet_size, vars_problem
from fastroute.router.relay.attempts import (
    answer_begun,
    connect_next,
    connected,
    count_failure,
    count_timeout,
    find_pool,
    no_answer,
    unreachable,
)
from fastroute.router.relay.connection import CHUNK, HANGUP, OUT, os_read
from fastroute.router.relay.download import flush_client, pull
from fastroute.router.relay.http.exchange import HttpExchange
from fastroute.router.relay.http.request_head import RequestHead
from fastroute.router.relay.http.request_vars import log_vars_of_head
from fastroute.router.relay.node import Node
from fastroute.router.relay.partial_packet import BadPacket, PartialPacket
from fastroute.router.relay.queueing import connect_or_wait, give_up, on_client_end, wait_or_answer
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.request import Request
from fastroute.router.relay.request_body import buffer_body, needs_length, read_body
from fastroute.router.relay.request_id import with_request_id
from fastroute.router.relay.states import (
    ANSWERED,
    BAD_ANSWER,
    BAD_BODY,
    BODY,
    BROKEN_OFF,
    CONNECTING,
    CONTINUE,
    HEAD,
    LINGERING,
    NO_ANSWER,
    OVER,
    RELAYING,
    WAITING,
)
from fastroute.router.relay.transfer import UNKNOWN_LENGTH, Transfer
from fastroute.router.relay.upload import flush_upstream, push
from fastroute.router.relay.vars import LOGGED_VARS, REQUEST_VARS, body_size, log_vars, requested_key, with_logged_id

#: Seconds that a client may take to see our answer and close.
LINGER_TIME: Final = 5.0


def on_client(request: Request, mask: int) -> None:
    """epoll reported ``mask`` for the client's connection."""
    transfer = request.transfer
    state = transfer.state
    # Half-closed by both looks the same (LINGERING, or a tunnel whose worker is done): then reading tells.
    if mask & HANGUP and (state in (WAITING, CONNECTING) or (state == RELAYING and not transfer.upstream_eof)):
        transfer.client_left()
        request.leave_queue()
        request.close()
    elif state >= RELAYING:
        begun = transfer.begun
        _on_outcome(request, _move_from_client(transfer, mask), begun)
    elif mask & ~OUT:
        if state == HEAD:
            read_head(request)
        elif state == BODY:
            read_body(request)
        elif state == WAITING:
            on_client_end(request)
        else:
            # An HTTP client, from whom nothing is wanted now.
            transfer.arm()


def on_upstream(request: Request, mask: int) -> None:
    """epoll reported ``mask`` for the upstream connection."""
    transfer = request.transfer
    if transfer.state == CONNECTING:
        _on_connecting(request)
        return
    upstream, outcome, begun = transfer.upstream, CONTINUE, transfer.begun
    assert upstream is not None
    if mask & OUT and upstream.pending:
        outcome = flush_upstream(transfer, upstream)
    if outcome == CONTINUE and mask & ~OUT and not transfer.client.pending and not upstream.eof:
        outcome = pull(transfer, upstream, mask)
    _on_outcome(request, outcome, begun)


def _move_from_client(transfer: Transfer, mask: int) -> int:
    """epoll reported ``mask`` for the client's connection (state RELAYING or LINGERING).  Returns the outcome."""
    client, upstream = transfer.client, transfer.upstream
    if mask & OUT and client.pending:
        outcome = flush_client(transfer)
        if outcome != CONTINUE:
            return outcome
    if not mask & ~OUT or client.eof:
        return CONTINUE
    if transfer.state == LINGERING:
        return transfer.discard()
    if upstream is not None and not upstream.pending:
        return push(transfer, upstream)
    return CONTINUE


def watch(request: Request) -> None:
    """The request takes its time: from now on notice when the client leaves, or sends more than was expected."""
    transfer = request.transfer
    transfer.watched = True
    if transfer.state in (CONNECTING, RELAYING):
        transfer.arm()


def read_head(request: Request) -> None:
    """Read the packet; go on as soon as it is whole."""
    context, transfer = request.context, request.transfer
    try:
        data = os_read(transfer.client.fd, CHUNK)
    except BlockingIOError:
        transfer.arm()
        return
    except OSError:
        request.close()
        return
    transfer.last_activity = context.now
    end = packet_size(data)
    if end is not None and end <= len(data) and end <= context.max_packet and request.partial is None:
        on_packet(request, data, end)
        return
    _read_piece(request, data)


def _read_piece(request: Request, data: bytes) -> None:
    """The slow way: the packet comes in pieces, or is refused before it is whole."""
    transfer = request.transfer
    if not data:
        transfer.client.eof = True
        if request.partial is None:
            request.close()
            return
    if request.partial is None:
        request.partial = PartialPacket(request.context.max_packet)
    try:
        packet, end = request.partial.feed(data)
    except BadPacket as error:
        _refuse_partial(request, error.kind, str(error))
        return
    if packet:
        request.partial = None
        on_packet(request, packet, end)
    else:
        transfer.arm()


def _refuse_partial(request: Request, kind: str, text: str) -> None:
    """Refuse before the packet is whole."""
    request.context.total += 1
    request.transfer.body_left = UNKNOWN_LENGTH
    request.refuse(kind, text)


def on_packet(request: Request, packet: bytes, end: int) -> None:
    """``packet`` has all vars, in ``packet[4:end]``, and perhaps the beginning of the body."""
    context, transfer = request.context, request.transfer
    context.total += 1
    values = find_vars(packet, end, LOGGED_VARS if context.logged else REQUEST_VARS)
    if values is None:
        transfer.body_left = UNKNOWN_LENGTH
        request.refuse("bad-request", f"not uwsgi: {vars_problem(packet, HEADER_SIZE, end)}")
        return
    request.known_packet, request.known_end = packet, end
    if context.logged:
        request.log_vars = log_vars(values)
    request.key = requested_key(values)
    if not request.key:
        transfer.body_left = UNKNOWN_LENGTH
        request.refuse("bad-request", "no host: no UWSGI_FASTROUTER_KEY, HTTP_HOST or SERVER_NAME in the vars")
        return
    content_length = values.get(b"CONTENT_LENGTH")
    if content_length or len(packet) > end:
        transfer.body_left = body_size(content_length or b"") - (len(packet) - end)
        transfer.has_body = len(packet) > end or transfer.body_left > 0
    if context.request_id is not None:
        _give_id(request, context.request_id)
    _route(request)


def on_head(request: Request, exchange: HttpExchange, head: RequestHead) -> None:
    """The request of an HTTP client, of which its ``head`` and perhaps the beginning of the body are there."""
    context, transfer = request.context, request.transfer
    context.total += 1
    request.key = head.host
    if context.logged:
        request.log_vars = log_vars_of_head(head, exchange.peer)
    beginning = len(exchange.beginning)
    if head.chunked or head.length:
        transfer.body_left = UNKNOWN_LENGTH if head.chunked else head.length - beginning
        transfer.has_body = beginning > 0 or head.length > 0
    if context.request_id is not None:
        _give_id(request, context.request_id)
    _route(request)


def _give_id(request: Request, chance: Random) -> None:
    """Give the request an id, unless it has one."""
    packet, end, made = with_request_id(request.packet, request.end, chance)
    if made:
        request.set_packet(packet, end)
        request.log_vars = with_logged_id(request.log_vars, made)


def _route(request: Request) -> None:
    """It is known what the request asks for: find its pool, and a node there."""
    context, transfer = request.context, request.transfer
    refusal = find_pool(request)
    if refusal is not None:
        request.answer(refusal)
    elif transfer.body_left > 0 and (context.post_buffering or needs_length(request)):
        buffer_body(request)
    else:
        refusal = connect_next(request)
        if refusal is not None:
            wait_or_answer(request, refusal)


def _on_connecting(request: Request) -> None:
    """The first byte can be written, or the connect failed: writing tells."""
    upstream = request.transfer.upstream
    assert upstream is not None
    try:
        sent = upstream.flush()
    except OSError as error:
        connect_failed(request, error.strerror or str(error))
        return
    if sent:
        connected(request, upstream, sent)


def connect_failed(request: Request, reason: str) -> None:
    """The node can't be reached: the request goes to another one, or waits."""
    upstream = request.transfer.upstream
    if upstream is not None:
        unreachable(request, upstream.node, reason)
        request.release()
        connect_or_wait(request)


def connect_again(request: Request, node: Node) -> None:
    """Give up the connection to ``node`` that is not there yet, for another one to it."""
    request.release()
    refusal = connect_next(request, node)
    if refusal is not None:
        wait_or_answer(request, refusal)


def _on_outcome(request: Request, outcome: int, begun: bool) -> None:
    """Act on the ``outcome`` of the transfer; ``begun``: the answer had begun before this event."""
    transfer = request.transfer
    upstream = transfer.upstream
    if upstream is not None and transfer.begun and not begun:
        answer_begun(request, upstream)
    if outcome == CONTINUE:
        return
    if outcome == ANSWERED:
        request.release()
        if transfer.end_client() == OVER:
            if transfer.exchange is None:
                request.close()
            else:
                request.finish(transfer.exchange)
    elif outcome == NO_ANSWER:
        refusal = no_answer(request, transfer.reason)
        request.release()
        if refusal is None:
            connect_or_wait(request)
        else:
            request.answer(refusal)
    elif outcome == BROKEN_OFF:
        count_failure(request, "broken", f"broke off in its answer: {transfer.reason}")
        request.abort("broken-off")
    elif outcome == BAD_ANSWER:
        count_failure(request, "bad answer", f"gave no HTTP/1.1 answer: {transfer.reason}")
        text = f"the worker of {request.name} gave no HTTP/1.1 answer"
        request.abort("broken-off", Refusal("bad-gateway", text, of_node=True))
    elif outcome == BAD_BODY:
        request.abort("bad-request", Refusal("bad-request", f"the request's body: {transfer.reason}"))
    elif transfer.exchange is not None:
        request.finish(transfer.exchange)
    else:
        request.close()


def check(request: Request, now: float) -> None:
    """End what has been silent for too long."""
    context, transfer = request.context, request.transfer
    silent = now - transfer.last_activity
    state = transfer.state
    if state == HEAD:
        # All of it has this time: a byte now and then keeps no connection.
        if now - request.accepted >= context.client_timeout:
            if request.partial is None:
                request.close()
            else:
                _refuse_partial(request, "bad-request", f"the packet stalled after {request.partial.size} bytes")
    elif state == LINGERING:
        if silent >= LINGER_TIME:
            request.close()
    elif state == CONNECTING:
        waiter = None if request.retries is None else request.retries.waiter
        if waiter is not None and now >= waiter.deadline:
            give_up(request)
        elif silent >= context.connect_timeout:
            connect_failed(request, f"no connection within {context.connect_timeout:g} s")
    elif state == WAITING:
        # Its queue knows its time.
        if transfer.client.mask == 0:
            on_client_end(request)
    elif transfer.started:
        if silent >= (context.timeout if transfer.client.eof else context.idle_timeout):
            request.fault = "silent"
            request.close()
    elif transfer.waits_for_body:
        if silent >= context.client_timeout:
            request.refuse("bad-request", f"the request's body stalled {transfer.body_left} bytes before its end")
    elif silent >= context.timeout:
        text = f"did not answer within {context.timeout:g} s"
        count_timeout(request, text)
        request.answer(Refusal("timeout", f"the worker of {request.name} {text}", of_node=True))
