"""What becomes of a request that no node may take now: it waits in the queue of its key, gets its turn, or gives up.

Only requests for keys that somebody announced wait.  Those that only a fallback or a mapper serves are known to nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastroute.router.relay.attempts import connect_next, unreachable
from fastroute.router.relay.connect_probe import ACCEPTED, PENDING, REFUSED, ConnectProbe
from fastroute.router.relay.connection import RDHUP
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.level import DRAINING, FULL, GONE
from fastroute.router.relay.node_choice import maintenance_refusal
from fastroute.router.relay.peer import peer_is_gone
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.request import Request
from fastroute.router.relay.retries import Retries
from fastroute.router.relay.states import WAITING
from fastroute.router.relay.waiting import Waiter, WaitingQueue

#: Requests that get their turn, or their answer, in one turn of the loop, and those of one key among them.
TURNS: Final = 32
TURNS_OF_ONE_KEY: Final = 8
#: Seconds between looks at a queue, at least, if nothing wakes it; whose next request may not go to every node; whose
#: requests may also go to a fallback, which does not know of the queue.
LOOK_INTERVAL: Final = 0.05
CHOOSY_INTERVAL: Final = 0.1
FALLBACK_INTERVAL: Final = 0.25
#: Seconds after which it is tried whether a worker that broke off still accepts connections, or has ended.
BROKEN_OFF_PROBE: Final = 0.3


def connect_or_wait(request: Request) -> None:
    """Send the request to the next node.  Where none may take it, it waits, or is answered."""
    refusal = connect_next(request)
    if refusal is not None:
        wait_or_answer(request, refusal)


def wait_or_answer(request: Request, refusal: Refusal) -> None:
    """No node may take the request now: it waits, or gets ``refusal``."""
    why: Refusal | None = refusal
    if refusal.may_wait:
        why = join(request, refusal)
    if why is not None:
        request.answer(why)


def join(request: Request, refusal: Refusal) -> Refusal | None:
    """Let ``request`` wait instead of answering ``refusal``.  Returns how to answer if it may not wait."""
    context = request.context
    pool = context.replica.find(request.key, request.packet, request.end)
    if pool is None:
        return refusal
    retries = request.retries
    waiter = None if retries is None else retries.waiter
    wait = context.wait if pool.options.wait is None else pool.options.wait
    if waiter is None:
        if wait <= 0 and (pool.waiting is None or not pool.waiting.may_join(wait)):
            return refusal
        if _is_full(context, pool):
            return Refusal("queue-full", f"as many requests as may wait for a worker of {request.name} already")
        waiter = Waiter(request)
    waiter.request = request
    if retries is None:
        retries = request.retries = Retries()
    waiting = pool.make_queue(context.replica.queues)
    retries.waiter, retries.home = waiter, pool
    waiting.join(waiter, context.now, wait, retries.excluded is not None, retries.wanted)
    pool.claim(retries.wanted, 1)
    pool.end_turn()
    context.reports.pools[pool] = None
    if waiter in waiting.queue.next_in_turn():
        waiting.wake()
    else:
        _set_alarm(context, pool, waiting.queue)
    transfer = request.transfer
    transfer.state = WAITING
    # What it sends is not read; that it leaves is noticed.
    transfer.watched = True
    transfer.client.arm(context.epoll, RDHUP)
    return None


def _is_full(context: RelayContext, pool: Pool) -> bool:
    """True when one more may not wait; it is counted."""
    waiting = pool.make_queue(context.replica.queues)
    if len(waiting.queue) < context.wait_max and context.replica.queues.waiting < context.wait_max_all:
        return False
    waiting.queue.full += 1
    context.reports.pools[pool] = None
    return True


def on_client_end(request: Request) -> None:
    """The client of a request that waits sends no more: it waits for its answer, or is gone."""
    client = request.transfer.client
    if peer_is_gone(client.fd):
        request.leave_queue()
        request.close()
    else:
        client.arm(request.context.epoll, 0)


def take_turn(request: Request) -> bool:
    """Go to a node now, or end otherwise.  Returns False when ``request`` must go on waiting."""
    retries, context = request.retries, request.context
    if request.transfer.state != WAITING or retries is None or retries.home is None:
        request.leave_queue()
        return True
    _begin_again(retries)
    pool = retries.home
    if pool.forgotten:
        pool = context.replica.find(request.key, request.packet, request.end) or pool
    request.pool = pool
    waiting = pool.waiting
    if waiting is not None and not waiting.state.lets_pass(request.client_address):
        request.answer(maintenance_refusal(request, pool))
        return True
    refusal = connect_next(request)
    if refusal is None:
        request.leave_queue()
        return True
    if refusal.may_wait and not _nobody_to_wait_for(request, retries):
        return False
    request.answer(refusal)
    return True


def give_up(request: Request) -> None:
    """No node took ``request`` in time."""
    request.leave_queue()
    retries = request.retries
    waited = 0.0 if retries is None or retries.waiter is None else retries.waiter.waited
    tried = f" ({retries.failed} tried)" if retries is not None and retries.failed else ""
    request.refuse("no-node", f"no worker of {request.name} took the request within {waited:.1f} s{tried}")


def _end_waiting(pool: Pool, request: Request) -> None:
    """Its time is over: a request that only waited for one node may have any other now."""
    retries = request.retries
    if retries is not None and retries.wanted is not None and not retries.session_over:
        retries.session_over = True
        pool.begin_turn()
        try:
            refusal = connect_next(request)
        finally:
            pool.end_turn()
        if refusal is None:
            request.leave_queue()
            return
    give_up(request)


def _begin_again(retries: Retries) -> None:
    """What could not be reached before may be tried again, a worker that broke off may not."""
    excluded = retries.excluded
    if excluded is not None and (excluded.state == GONE or excluded.lives != retries.excluded_life):
        # It left, joined anew, or could not be reached meanwhile: who answers there next is another process.
        retries.excluded = excluded = None
    retries.tried = [] if excluded is None else [excluded]
    retries.failed_before = retries.failed


def _nobody_to_wait_for(request: Request, retries: Retries) -> bool:
    """True when the worker that broke off on this request is still there, and there is no other to wait for."""
    excluded, pool, waiter = retries.excluded, retries.home, retries.waiter
    if excluded is None or pool is None or waiter is None or excluded.state > FULL:
        return False
    if request.context.now - waiter.joined < BROKEN_OFF_PROBE:
        return False
    if any(node is not excluded and node.state != DRAINING for node in pool.nodes.values()):
        return False
    probe = retries.probe
    if probe is None:
        probe = retries.probe = ConnectProbe(excluded)
    result = probe.result()
    if result == REFUSED:
        unreachable(request, excluded, probe.reason)
    if result != PENDING:
        retries.probe = None
    return result == ACCEPTED


def _set_alarm(context: RelayContext, pool: Pool, queue: WaitingQueue) -> None:
    """When to look at the queue of ``pool`` if nothing happens before."""
    now = context.now
    at = queue.next_deadline()
    if pool.waiting is not None and not pool.waiting.paused:
        at = min(at, pool.levels.next_trial())
    if pool.limits.cold or context.exhausted:
        # Nobody tells when there are descriptors again.
        at = now
    if queue.has_choosy:
        at = min(at, now + CHOOSY_INTERVAL)
    if context.fallback.configured:
        at = min(at, now + FALLBACK_INTERVAL)
    context.replica.queues.wake_at(pool, max(at, now + LOOK_INTERVAL))


def serve_queues(context: RelayContext, on_fault: Callable[[Request, Exception], None]) -> bool:
    """Look at the queues that were woken, in turn.  Returns True when some are left for the next turn of the loop."""
    queues, left = context.replica.queues, TURNS
    queues.tick(context.now)
    while left > 0 and queues.woken:
        pool = next(iter(queues.woken))
        del queues.woken[pool]
        left -= 1 + _serve(context, pool, min(left, TURNS_OF_ONE_KEY), on_fault)
    return bool(queues.woken)


def _serve(context: RelayContext, pool: Pool, limit: int, on_fault: Callable[[Request, Exception], None]) -> int:
    """Returns how many requests of ``pool``, at most ``limit``, wait no longer."""
    if pool.waiting is None:
        return 0
    queue, done = pool.waiting.queue, 0
    if pool.limits.cold:
        pool.warm_up()
    while done < limit and _take_turns(pool, queue, on_fault):
        done += 1
    while done < limit and (waiter := queue.overdue(context.now)) is not None:
        request = waiter.request
        assert isinstance(request, Request)
        try:
            _end_waiting(pool, request)
        except Exception as fault:
            on_fault(request, fault)
        done += 1
    if done >= limit:
        pool.waiting.wake()
    elif len(queue):
        _set_alarm(context, pool, queue)
    return done


def _take_turns(pool: Pool, queue: WaitingQueue, on_fault: Callable[[Request, Exception], None]) -> bool:
    """Let the one that is next try to go.  Returns False when nobody can."""
    for waiter in queue.next_in_turn():
        request, wanted = waiter.request, waiter.wanted
        assert isinstance(request, Request)
        pool.begin_turn()
        lent = queue.wanted_before if wanted is None else []
        for node in lent:
            pool.lend(node)
        try:
            if take_turn(request):
                return True
            if _waits_for_another(request, pool, waiter):
                return True
            if wanted is not None:
                queue.not_now(wanted)
        except Exception as fault:
            on_fault(request, fault)
            return True
        finally:
            for node in lent:
                pool.claim(node, 0)
            pool.end_turn()
    return False


def _waits_for_another(request: Request, pool: Pool, waiter: Waiter) -> bool:
    """Let ``request`` wait for the node that it wants since its turn, if that is another one than before."""
    wanted = None if request.retries is None else request.retries.wanted
    if wanted is waiter.wanted or not waiter.entry:
        return False
    pool.want(waiter, wanted)
    return True
