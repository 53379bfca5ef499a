"""Which nodes each request tries, watched from outside while a script runs: a retry is no trial, and nobody is tried
twice while anything better is left.  What it knows of a request it notes itself; of the pools it believes the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastroute.router.relay.pool import EJECTED, READY, Node, Pool
from fastroute.router.relay.session import Session


class Tries:
    """Of every request that failed somewhere: the addresses.  ``broken``: what must not have happened."""

    def __init__(self) -> None:
        self.failed: dict[Session, list[str]] = {}
        self.broken: list[str] = []

    def on_connect(self, session: Session, node: Node) -> None:
        """``session`` is about to try ``node``."""
        tried = self.failed.get(session)
        if tried is None:
            return
        good, due = self.left(session, tried)
        if good and node not in good:
            self.broken.append(f"{node} is tried after {tried}, and {good} are good")
        elif node.address in tried and due:
            self.broken.append(f"{node} is tried again after {tried}, and {due} are due")
        if len(tried) > session.relay.max_retries + 1:
            self.broken.append(f"{node} is tried after {tried}: too many")

    def on_refuse(self, session: Session, text: str) -> None:
        """``session`` gets a 502: nobody is left, or it has had its tries."""
        tried = self.failed.get(session)
        if tried is None or session.attempts > session.relay.max_retries:
            return
        if "could be reached" in text or "no other is left to try" in text:
            good, due = self.left(session, tried)
            if good or due:
                self.broken.append(f"502 after {tried}, and {good} are good, {due} due")

    def left(self, session: Session, tried: list[str]) -> tuple[list[Node], list[Node]]:
        """What it has not tried: nodes known to be good, and ejected ones whose time is over."""
        relay = session.relay
        pools: list[Pool] = []
        pool = relay.replica.find(session.asked, session.packet, session.end)
        while pool is not None:
            pools.append(pool)
            pool = relay.reserve.find(session.asked, pool, relay.now)
        nodes = [node for pool in pools for node in pool.nodes.values() if node.address not in tried]
        due = [node for node in nodes if node.state == EJECTED and node.until <= relay.now]
        return [node for node in nodes if node.state == READY], due


@contextmanager
def watched_tries() -> Iterator[None]:
    """What the requests of all relays in this process try is as it must be."""
    tries = Tries()
    kept = {name: getattr(Session, name) for name in ("connect", "connect_failed", "on_no_answer", "refuse")}

    def connect(session: Session, node: Node) -> bool:
        tries.on_connect(session, node)
        return bool(kept["connect"](session, node))

    def connect_failed(session: Session, node: Node, reason: str | None) -> bool:
        tries.failed.setdefault(session, []).append(node.address)
        return bool(kept["connect_failed"](session, node, reason))

    def on_no_answer(session: Session, reason: str) -> None:
        tried = tries.failed.setdefault(session, [])
        if session.exchange is None or not session.exchange.reused:
            # Who only closed a connection that it had kept may get it by a new one.
            tried.append(session.node.address)
        kept["on_no_answer"](session, reason)

    def refuse(session: Session, kind: str, text: str) -> None:
        tries.on_refuse(session, text)
        kept["refuse"](session, kind, text)

    replaced: dict[str, Any] = {
        "connect": connect, "connect_failed": connect_failed, "on_no_answer": on_no_answer, "refuse": refuse,
    }  # fmt: skip
    for name, method in replaced.items():
        setattr(Session, name, method)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Session, name, method)
    assert not tries.broken, tries.broken
