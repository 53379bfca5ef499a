"""The nodes that a request is sent to, one after the other, and what each of them came to.

* A connect that failed ejects the node, and another one is tried, up to ``max_retries`` others.
* A worker that closed without a byte: once more, elsewhere, if nothing can have changed.
* Anything else that a worker may have begun is never sent twice.

What follows of it for the client is decided in request_events.py.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.compat.passed_routers import passed_routers, with_router
from fastroute.router.protocol.latency import LatencyCounts
from fastroute.router.protocol.wire import HEADER_SIZE, WireError, with_modifiers
from fastroute.router.relay.connect_times import learn
from fastroute.router.relay.connection import READ, UNREGISTERED
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.codec import Codec, LengthNeeded, codec_for, codec_of_head, passing_codec
from fastroute.router.relay.http.exchange import HttpExchange
from fastroute.router.relay.http.head import BadRequest
from fastroute.router.relay.idle_connections import connection_closed_early, reuse_answered
from fastroute.router.relay.level import TRIAL
from fastroute.router.relay.node import NO_KEEPALIVE, Node
from fastroute.router.relay.node_choice import choose_node, no_node_refusal, retries_of
from fastroute.router.relay.rawsocket import no_delay
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.request import Request
from fastroute.router.relay.states import CONNECTING, RELAYING
from fastroute.router.relay.transfer import UNKNOWN_LENGTH, Transfer
from fastroute.router.relay.upload import continue_upload
from fastroute.router.relay.upstream import OutOfSockets, UpstreamConnection, connect, connect_by_idle
from fastroute.router.relay.vars import repeatable

#: Bytes of vars that uWSGI workers take unless they are told otherwise (their --buffer-size).
UWSGI_BUFFER: Final = 4096


#: How :func:`connect_next` says that the worker needs the length of a body that comes in chunks.
LENGTH_NEEDED: Final = Refusal("bad-request", "this worker needs a Content-Length")


def find_pool(request: Request) -> Refusal | None:
    """Find the pool of ``key``, or how to answer where there is none."""
    context, replica = request.context, request.context.replica
    pool = None if replica.depths else replica.pools.get(request.key)
    if pool is None:
        pool = replica.find(request.key, request.packet, request.end)
    if pool is None:
        pool = context.fallback.find(request.key, None, context.now)
        if pool is None:
            return Refusal("no-key", f"no worker has announced {request.name}")
    request.pool = pool
    pool.hits += 1
    context.reports.pools[pool] = None
    return None


def connect_next(request: Request, again: Node | None = None) -> Refusal | None:
    """Connect to one node after the other, to ``again`` first, until one takes the request or is being waited for.

    Then the transfer has its upstream side.  Returns how to answer where no node is left.
    """
    while True:
        pool = request.pool
        assert pool is not None
        node, again = again, None
        if node is None:
            node = choose_node(request, pool)
        if node is None:
            return no_node_refusal(request, pool)
        if node.routers:
            node = _past_routers(request, node)
            if node is None:
                text = f"every worker of {request.name} is behind a router that this request came from"
                return Refusal("bad-gateway", text)
        request.node = node
        try:
            _send_to(request, node)
            return None
        except LengthNeeded:
            node.pool.undecided(node, request.context.now)
            return LENGTH_NEEDED
        # A name of its own for each: mypyc gives a variable one type, and would refuse the others' errors.
        except BadRequest as bad:
            node.pool.undecided(node, request.context.now)
            request.transfer.body_left = UNKNOWN_LENGTH
            return Refusal("bad-request", str(bad))
        except OutOfSockets as shortage:
            node.pool.undecided(node, request.context.now)
            request.context.exhausted = str(shortage)
            # Others end soon, and give theirs back.
            return Refusal("no-node", "this router is out of descriptors", may_wait=True)
        except OSError as error:
            unreachable(request, node, error.strerror or str(error))


def connected(request: Request, upstream: UpstreamConnection, sent: int) -> None:
    """The node took the first ``sent`` bytes of the request: from here on nothing may be sent twice unasked."""
    context, transfer, node = request.context, request.transfer, upstream.node
    now = context.now
    if transfer.state == CONNECTING:
        learn(node, now - transfer.last_activity)
        if node.held:
            node.pool.free(node)
    node.requests += 1
    node.rx += sent
    transfer.rx = sent
    if context.timed:
        request.connect_time = now - transfer.last_activity
        times = node.times
        if times is None:
            times = node.times = LatencyCounts()
        times.connected(request.connect_time)
    context.reports.nodes[node] = None
    if node.state == TRIAL and not node.probation:
        node.pool.recovered(node, now)
        context.node_recovered(node)
    transfer.state = RELAYING
    transfer.last_activity = request.sent_at = now
    if not upstream.pending:
        if transfer.buffered is not None or transfer.client.eof:
            continue_upload(transfer, upstream)
        if transfer.body_left <= 0 and not transfer.watched and upstream.mask == UNREGISTERED:
            # The common request: nothing else to arm.
            upstream.register(context.epoll, READ)
            return
    if transfer.exchange is not None and _connected_for_http(context, transfer, transfer.exchange, upstream):
        return
    if node.internet:
        no_delay(upstream.fd)
    transfer.arm()


def _connected_for_http(context: RelayContext, transfer: Transfer, exchange: HttpExchange,
                        upstream: UpstreamConnection) -> bool:  # fmt: skip
    """The request of an HTTP client is on its way.  Returns True when nothing else is to be armed."""
    if exchange.expects and transfer.body_left > 0:
        # A client that is gone shows as soon as the body is read.
        transfer.ask_for_body(exchange)
        return False
    if transfer.body_left > 0 or upstream.pending or transfer.client.mask != READ:
        return False
    # The common one: its client is registered all the time.
    upstream.arm(context.epoll, READ)
    return True


def unreachable(request: Request, node: Node, reason: str) -> None:
    """Connecting to ``node`` failed: eject it."""
    context = request.context
    retries = retries_of(request)
    retries.failed += 1
    retries.tried.append(node)
    seconds = node.pool.failed(node, context.now)
    context.reports.nodes[node] = None
    if seconds:
        context.node_failed(node, reason, seconds)


def answer_begun(request: Request, upstream: UpstreamConnection) -> None:
    """The worker sent its first byte."""
    context = request.context
    node = upstream.node
    if upstream.reused and node.protocol == "uwsgi":
        reuse_answered(node)
    if node.times is not None:
        request.answer_time = context.now - request.sent_at
        node.times.answered(request.answer_time)
        context.reports.nodes[node] = None


def no_answer(request: Request, reason: str) -> Refusal | None:
    """The worker closed without a byte.  Returns how to answer, or None: the request is to be sent once more."""
    context, upstream = request.context, request.transfer.upstream
    assert upstream is not None
    node = upstream.node
    retries = retries_of(request)
    repeat = not retries.retried and not request.transfer.has_body and repeatable(request.packet, request.end)
    request.connect_time = -1.0
    if upstream.reused:
        # It closed a connection that it had kept, so probably did with the others.
        context.closing += context.idle.drop(node)
        connection_closed_early(node, context.now)
    # Else the worker may be up: the next try, which is not the first one, may go to it as well.
    if not (upstream.reused and repeat):
        count_failure(request, "no answer", reason + _hint(request, node))
        retries.tried.append(node)
        retries.excluded, retries.excluded_life = node, node.lives
    retries.retried = retries.retried or repeat
    return None if repeat else Refusal("bad-gateway", f"the worker of {request.name} {reason}", of_node=True)


def count_failure(request: Request, subject: str, text: str) -> None:
    """Count a failure of the node, and log it once in a while."""
    node = request.node
    if node is not None:
        node.failures += 1
        # Not the node itself: what is remembered of warnings would keep it, and its pool, long after they have left.
        request.context.warn((node.pool.name, node.address, subject), "%s => %s %s", request.name, node.address, text)


def count_timeout(request: Request, text: str) -> None:
    """The node did not answer in time."""
    count_failure(request, "timeout", text)
    if request.node is not None:
        request.node.timeouts += 1


def _hint(request: Request, node: Node) -> str:
    size = request.end - HEADER_SIZE
    if size <= UWSGI_BUFFER or node.protocol != "uwsgi":
        return ""
    return f" (vars of {size} bytes: a uWSGI worker takes {UWSGI_BUFFER} unless its buffer-size says more)"


def _past_routers(request: Request, node: Node) -> Node | None:
    """``node``, which is a router, or another one if the request came from there; our id goes into the request."""
    context = request.context
    passed = passed_routers(request.packet, request.end)
    if node.behind(passed):
        node.pool.undecided(node, context.now)
        retries = request.retries
        other = node.pool.choose_past(passed, () if retries is None else retries.tried)
        if other is None:
            return None
        node = other
    if node.routers:
        request.set_packet(*with_router(request.packet, request.end, passed, context.replica.router))
    return node


def _send_to(request: Request, node: Node) -> None:
    """Send the request to ``node``, by a connection that it kept or a new one."""
    context, transfer = request.context, request.transfer
    if node.passes and transfer.exchange is None:
        upstream = connect(context, node, with_modifiers(request.known_packet, node.modifier1, node.modifier2), None)
    else:
        upstream = _connect_read(request, node)
    transfer.upstream = upstream
    request.requests.by_upstream[upstream.fd] = request
    transfer.last_activity = context.now
    node.in_flight += 1
    if node.pool.counts:
        node.pool.changed(node)
    sent = upstream.sent
    if sent or upstream.reused:
        connected(request, upstream, sent)
    else:
        transfer.state = CONNECTING
        transfer.arm()
        if not node.requests:
            node.pool.hold(node)


def _connect_read(request: Request, node: Node) -> UpstreamConnection:
    """A connection for :func:`_send_to` to a node whose answers are read, not only passed through."""
    context, transfer, rewriting = request.context, request.transfer, node.pool.rewriting
    exchange = transfer.exchange
    if rewriting is None and exchange is not None and not request.known_packet and node.protocol == "http":
        assert exchange.head is not None
        return _connect_kept(request, node, codec_of_head(exchange.head, exchange))
    packet, end, cookie = request.packet, request.end, b""
    # A router behind this one does it itself.
    if rewriting is not None and not node.routers:
        if rewriting.mount is not None:
            try:
                packet, end = rewriting.mount.mounted(packet, end, node.protocol == "http")
            except WireError as error:
                raise BadRequest(str(error)) from None
        cookie = rewriting.cookie_line(node.session, packet, end)
    codec = None
    if node.keepalive != NO_KEEPALIVE or exchange is not None:
        codec = codec_for(node, packet, end, request.key, transfer.buffered is not None, exchange)
    if codec is None:
        codec = passing_codec(packet, cookie) if cookie else None
        return connect(context, node, with_modifiers(packet, node.modifier1, node.modifier2), codec)
    codec.set_cookie(cookie)
    return _connect_kept(request, node, codec)


def _connect_kept(request: Request, node: Node, codec: Codec) -> UpstreamConnection:
    """A connection to a node that may keep it."""
    context, transfer, retries = request.context, request.transfer, request.retries
    transfer.body_left = codec.body_left
    transfer.has_body = transfer.has_body or codec.has_body
    upstream = None if retries is not None and retries.retried else connect_by_idle(context, node, codec)
    return upstream if upstream is not None else connect(context, node, codec.request, codec)
