"""Which node a request is sent to next, and how it is refused where no node may take it.

attempts.py makes the attempt there.
"""

from __future__ import annotations

from fastroute.router.compat.passed_routers import passed_routers
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.request import Request
from fastroute.router.relay.retries import Retries
from fastroute.router.relay.session_choice import AWAIT_OWN, TAKE_ANY, TAKE_OWN, choose_session


def choose_node(request: Request, pool: Pool) -> Node | None:
    """The node that the request is sent to next; None: no node may take it now."""
    context, retries = request.context, request.retries
    if retries is not None and not retries.first_try:
        return _choose_other(request, retries) if _may_try_more(request, retries) else None
    if pool.asks_client:
        return _choose_for_client(request, pool)
    node = pool.levels.choose(context.now)
    return node if node is not None else _choose_further(request, pool, b"")


def _choose_for_client(request: Request, pool: Pool) -> Node | None:
    """:func:`choose_node` where it depends on the client: first the node with which it stays."""
    context, rewriting = request.context, pool.rewriting
    if rewriting is not None and rewriting.cookie is not None:
        choice, node = choose_session(request, pool, rewriting.cookie)
        if choice == AWAIT_OWN or request.retries is not None:
            retries_of(request).wanted = node if choice == AWAIT_OWN else None
        if choice != TAKE_ANY:
            return node if choice == TAKE_OWN else None
    client = request.client_address if pool.algorithm == "iphash" else b""
    node = pool.levels.choose(context.now, client)
    return node if node is not None else _choose_further(request, pool, client)


def _choose_further(request: Request, pool: Pool, client: bytes) -> Node | None:
    """A node for a request on its first try, to which ``pool`` offers none."""
    context, waiting, node = request.context, pool.waiting, None
    if waiting is not None and waiting.passes(request.client_address):
        pool.begin_turn()
        node = pool.levels.choose(context.now, client)
        pool.end_turn()
    if node is not None or pool.keeps_requests(()):
        return node
    while node is None and (other := context.fallback.find(request.key, pool, context.now)) is not None:
        pool = other
        if request.retries is None:
            pool.hits += 1
            context.reports.pools[pool] = None
        request.pool = pool
        node = pool.levels.choose(context.now, client)
    return node


def _choose_other(request: Request, retries: Retries) -> Node | None:
    """The next node for a request that has failed before.

    First those known to be good, of the key's own pool on all levels, then of those it falls back to; then the
    ejected ones, whose trial is nobody's first try now; and only then once more those that could not be connected
    to: what is good again, or due, since this request waited elsewhere.
    """
    pools = _pools(request)
    client = request.client_address
    for left_out in (retries.tried, [] if retries.excluded is None else [retries.excluded]):
        for pool in pools:
            node = pool.levels.choose_good(left_out, client)
            if node is not None and node.routers and node.behind(passed := passed_routers(request.packet, request.end)):
                node = pool.levels.choose_past(passed, left_out)
            if node is not None:
                return _counted_at(request, retries, pool, node, pool is pools[0])
            if pool.keeps_requests(left_out):
                return None
        for pool in pools:
            node = pool.levels.choose_trial(left_out, request.context.now)
            if node is not None:
                return _counted_at(request, retries, pool, node, pool is pools[0])
    return None


def _pools(request: Request) -> list[Pool]:
    """The pools that may serve this request now, in their order."""
    context = request.context
    pool = context.replica.find(request.key, request.packet, request.end)
    pools = [] if pool is None else [pool]
    while (pool := context.fallback.find(request.key, pool, context.now)) is not None:
        pools.append(pool)
    return pools


def _counted_at(request: Request, retries: Retries, pool: Pool, node: Node, first: bool) -> Node:
    """``node``, of ``pool``, where the request counts from now on; at the ``first`` pool it has been counted."""
    if pool is not request.pool:
        request.pool = pool
        if not first and all(other.pool is not pool for other in retries.tried):
            pool.hits += 1
        request.context.reports.pools[pool] = None
    return node


def _may_try_more(request: Request, retries: Retries) -> bool:
    return retries.first_try or retries.failed - retries.failed_before <= request.context.max_retries


def no_node_refusal(request: Request, pool: Pool) -> Refusal:
    """No node of ``pool``, nor one it falls back to, may take the request now: how to answer, unless it may wait."""
    retries = request.retries
    if retries is not None and not _may_try_more(request, retries):
        return _none_reached(request, retries)
    if pool.waiting is not None and not pool.waiting.state.lets_pass(request.client_address):
        return maintenance_refusal(request, pool)
    if retries is not None and retries.retried:
        text = f"the worker of {request.name} broke off without an answer, and no other is left to try"
        return Refusal("bad-gateway", text, may_wait=True, of_node=True)
    if retries is not None and retries.failed:
        return _none_reached(request, retries)
    text = f"no worker of {request.name} {'may take more requests now' if pool.levels.full_without(()) else 'is up'}"
    return Refusal("no-node", text, may_wait=True)


def _none_reached(request: Request, retries: Retries) -> Refusal:
    text = f"no worker of {request.name} could be reached ({retries.failed} tried)"
    return Refusal("bad-gateway", text, may_wait=True)


def maintenance_refusal(request: Request, pool: Pool) -> Refusal:
    """How to answer while ``pool`` is under maintenance."""
    message = "" if pool.waiting is None else pool.waiting.state.message
    return Refusal("maintenance", message or f"{request.name} is under maintenance")


def retries_of(request: Request) -> Retries:
    retries = request.retries
    if retries is None:
        retries = request.retries = Retries()
    return retries
