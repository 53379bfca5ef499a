"""Which nodes each request tries, watched from outside while a script runs: a retry is no trial, and nobody is tried
twice while anything better is left.  What it knows of a request it notes itself; of the pools it believes the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastroute.router.relay.attempts import Attempts
from fastroute.router.relay.level import EJECTED, READY
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replies import Refusal


class Tries:
    """Of every request that failed somewhere: the addresses.  ``broken``: what must not have happened."""

    def __init__(self) -> None:
        self.failed: dict[Attempts, list[str]] = {}
        self.broken: list[str] = []

    def on_connect(self, attempts: Attempts, node: Node) -> None:
        """The request of ``attempts`` is about to try ``node``."""
        tried = self.failed.get(attempts)
        if tried is None:
            return
        good, due = self.left(attempts, tried)
        if good and node not in good:
            self.broken.append(f"{node} is tried after {tried}, and {good} are good")
        elif node.address in tried and due:
            self.broken.append(f"{node} is tried again after {tried}, and {due} are due")
        if len(tried) > attempts.context.max_retries + 1:
            self.broken.append(f"{node} is tried after {tried}: too many")

    def on_refusal(self, attempts: Attempts, text: str) -> None:
        """The request gets a 502: nobody is left, or it has had its tries."""
        tried = self.failed.get(attempts)
        if tried is None or attempts.failed > attempts.context.max_retries:
            return
        if "could be reached" in text or "no other is left to try" in text:
            good, due = self.left(attempts, tried)
            if good or due:
                self.broken.append(f"502 after {tried}, and {good} are good, {due} due")

    def left(self, attempts: Attempts, tried: list[str]) -> tuple[list[Node], list[Node]]:
        """What it has not tried: nodes known to be good, and ejected ones whose time is over."""
        context = attempts.context
        pools: list[Pool] = []
        pool = context.replica.find(attempts.key, attempts.packet, attempts.end)
        while pool is not None:
            pools.append(pool)
            pool = context.fallback.find(attempts.key, pool, context.now)
        nodes = [node for pool in pools for node in pool.nodes.values() if node.address not in tried]
        due = [node for node in nodes if node.state == EJECTED and node.until <= context.now]
        return [node for node in nodes if node.state == READY], due


@contextmanager
def watched_tries() -> Iterator[None]:
    """What the requests of all relays in this process try is as it must be."""
    tries = Tries()
    real = {name: getattr(Attempts, name) for name in ("_connect", "unreachable", "no_answer", "connect_next")}

    def connect(attempts: Attempts, node: Node) -> None:
        tries.on_connect(attempts, node)
        real["_connect"](attempts, node)

    def unreachable(attempts: Attempts, node: Node, reason: str) -> None:
        tries.failed.setdefault(attempts, []).append(node.address)
        real["unreachable"](attempts, node, reason)

    def no_answer(attempts: Attempts, reason: str) -> Any:
        tried = tries.failed.setdefault(attempts, [])
        upstream = attempts.transfer.upstream
        assert upstream is not None
        if not upstream.reused:
            # Who only closed a connection that it had kept may get it by a new one.
            tried.append(upstream.node.address)
        return real["no_answer"](attempts, reason)

    def connect_next(attempts: Attempts) -> Any:
        refusal = real["connect_next"](attempts)
        if isinstance(refusal, Refusal):
            tries.on_refusal(attempts, refusal.text)
        return refusal

    replaced: dict[str, Any] = {
        "_connect": connect, "unreachable": unreachable, "no_answer": no_answer, "connect_next": connect_next,
    }  # fmt: skip
    for name, method in replaced.items():
        setattr(Attempts, name, method)
    try:
        yield
    finally:
        for name, method in real.items():
            setattr(Attempts, name, method)
    assert not tries.broken, tries.broken
