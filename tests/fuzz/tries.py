"""Which nodes each request tries, watched from outside while a script runs: a retry is no trial, and nobody is tried
twice while anything better is left.  What it knows of a request it notes itself; of the pools it believes the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastroute.router.relay import attempts, queueing, request_events
from fastroute.router.relay.level import EJECTED, READY
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.request import Request
from fastroute.router.relay.retries import Retries


class Tries:
    """Of every request that failed somewhere: the addresses.  ``broken``: what must not have happened."""

    def __init__(self) -> None:
        self.failed: dict[Request, list[str]] = {}
        self.broken: list[str] = []
        #: The node to which a request connects anew: that is no other try.
        self.again: Node | None = None

    def on_connect(self, request: Request, node: Node) -> None:
        """``request`` is about to try ``node``."""
        tried = self.failed.get(request)
        if tried is None or node is self.again:
            return
        good, due = self.left(request, tried)
        if good and node not in good:
            self.broken.append(f"{node} is tried after {tried}, and {good} are good")
        elif node.address in tried and due:
            self.broken.append(f"{node} is tried again after {tried}, and {due} are due")
        if len(tried) > request.context.max_retries + 1:
            self.broken.append(f"{node} is tried after {tried}: too many")

    def on_refusal(self, request: Request, text: str) -> None:
        """The request gets a 502: nobody is left, or it has had its tries."""
        tried = self.failed.get(request)
        if tried is None or (request.retries is not None and _used_up(request.retries, request.context.max_retries)):
            return
        if "could be reached" in text or "no other is left to try" in text:
            good, due = self.left(request, tried)
            if good or due:
                self.broken.append(f"502 after {tried}, and {good} are good, {due} due")

    def left(self, request: Request, tried: list[str]) -> tuple[list[Node], list[Node]]:
        """What it has not tried: nodes known to be good, and ejected ones whose time is over."""
        context = request.context
        pools: list[Pool] = []
        pool = context.replica.find(request.key, request.packet, request.end)
        while pool is not None:
            pools.append(pool)
            pool = context.fallback.find(request.key, pool, context.now)
        nodes = [node for pool in pools for node in pool.nodes.values() if node.address not in tried]
        due = [node for node in nodes if node.state == EJECTED and node.until <= context.now]
        return [node for node in nodes if node.state == READY], due


@contextmanager
def watched_tries() -> Iterator[None]:
    """What the requests of all relays in this process try is as it must be."""
    tries = Tries()
    real = {name: getattr(attempts, name) for name in ("_send_to", "unreachable", "no_answer", "connect_next")}

    def send_to(request: Request, node: Node) -> None:
        tries.on_connect(request, node)
        real["_send_to"](request, node)

    def unreachable(request: Request, node: Node, reason: str) -> None:
        tries.failed.setdefault(request, []).append(node.address)
        real["unreachable"](request, node, reason)

    def no_answer(request: Request, reason: str) -> Any:
        tried = tries.failed.setdefault(request, [])
        upstream = request.transfer.upstream
        assert upstream is not None
        if not upstream.reused:
            # Who only closed a connection that it had kept may get it by a new one.
            tried.append(upstream.node.address)
        return real["no_answer"](request, reason)

    def connect_next(request: Request, again: Node | None = None) -> Any:
        tries.again = again
        refusal = real["connect_next"](request, again)
        tries.again = None
        if isinstance(refusal, Refusal) and not refusal.may_wait:
            tries.on_refusal(request, refusal.text)
        return refusal

    begin_again = queueing._begin_again

    def begins_again(retries: Retries) -> None:
        # It waited: all that could not be reached may be asked again, but nobody who broke off.
        begin_again(retries)
        for request, tried in [*tries.failed.items()]:
            if request.retries is retries:
                tried[:] = [node.address for node in retries.tried]
                if retries.first_try:
                    del tries.failed[request]

    join = queueing.join

    def joins(request: Request, refusal: Refusal) -> Refusal | None:
        left = join(request, refusal)
        if left is refusal:
            tries.on_refusal(request, refusal.text)
        return left

    queueing._begin_again = begins_again
    _replace({"join": joins})
    _replace({"_send_to": send_to, "unreachable": unreachable, "no_answer": no_answer, "connect_next": connect_next})
    try:
        yield
    finally:
        _replace(real)
        queueing._begin_again = begin_again
        _replace({"join": join})
    assert not tries.broken, tries.broken


def _used_up(retries: Retries, max_retries: int) -> bool:
    return retries.failed - retries.failed_before > max_retries


def _replace(functions: dict[str, Any]) -> None:
    """Where they are, and where they are imported."""
    for name, function in functions.items():
        for module in (attempts, request_events, queueing):
            if hasattr(module, name):
                setattr(module, name, function)
