"""A relay that only finishes what it has gives back its shares of nodes' ``max``, and says what it still uses."""

from __future__ import annotations

import random
from typing import Any

from fastroute.router.relay.held_shares import HeldShares
from fastroute.router.relay.node import Node
from fastroute.router.relay.replica import Replica
from fastroute.router.relay.report_queue import ReportQueue
from fastroute.router.relay.waiting import Waiter

A, B = "10.0.0.1:80", "10.0.0.2:80"
SOMEBODY: Any = object()


class LeavingRelay:
    """What a relay has of pools and reports, after it was told to leave."""

    def __init__(self, *addresses: str, wait: float = 30) -> None:
        self.replica, self.reports, self.held = Replica(random.Random(1)), ReportQueue(), HeldShares()
        self.tell(["reset"], ["pool", "foo.com", {"wait": wait}], *(self.node(address) for address in addresses))
        self.tell(["done"])
        self.pool = self.replica.pools[b"foo.com"]
        self.replica.leaving = True

    def node(self, address: str, limit: int = 4, **more: int) -> list[Any]:
        return ["node", "foo.com", address, {"max": limit, **more}]

    def tell(self, *ops: list[Any]) -> None:
        assert self.replica.apply(ops) == []

    def run(self, address: str, change: int) -> Node:
        node = self.pool.nodes[address]
        node.in_flight += change
        self.pool.changed(node)
        self.reports.nodes[node] = None
        return node

    def lower(self, more: bool = False) -> dict[str, int]:
        rows = self.held.lower(self.replica, self.reports, more)
        self.reports.nodes.clear()
        self.held.completed()
        return {address: held for _, address, held in rows}

    def limits(self) -> dict[str, int]:
        return {address: node.limit for address, node in self.pool.nodes.items()}


def test_shares_fall_with_the_requests_and_one_stays() -> None:
    relay = LeavingRelay(A, B)
    relay.run(A, 3)
    assert relay.lower() == {A: 3}
    assert relay.limits() == {A: 3, B: 1}
    relay.run(A, -2)
    assert relay.lower() == {A: 1}
    assert relay.lower() == {}
    relay.run(A, -1)
    assert relay.lower() == {A: 0}
    assert relay.limits() == {A: 1, B: 1}
    relay.run(B, 1)
    assert relay.lower() == {B: 1}, "one that was accepted late"


def test_requests_that_wait_keep_a_share() -> None:
    relay = LeavingRelay(A)
    relay.run(A, 4)
    waiter = Waiter(SOMEBODY)
    relay.pool.make_queue(relay.replica.queues).join(waiter, 0.0, 15.0, False)
    relay.run(A, -1)
    assert relay.lower() == {A: 4}
    relay.pool.leave(waiter, 1.0)
    relay.run(A, 0)
    assert relay.lower() == {A: 3}


def test_what_was_given_back_does_not_come_again() -> None:
    relay = LeavingRelay(A)
    relay.lower()
    relay.tell(relay.node(A, taken=-1), relay.node(B, taken=-1))
    assert relay.limits() == {A: 1, B: 1}


def test_tunnels_use_nothing() -> None:
    relay = LeavingRelay(A)
    relay.run(A, 2).tunnels = 2
    assert relay.lower() == {}


def test_nothing_is_given_back_where_more_may_come_that_could_not_wait() -> None:
    relay = LeavingRelay(A, wait=0)
    relay.run(A, 1)
    assert relay.lower(more=True) == {A: 4}
    assert relay.lower() == {A: 1}


def test_a_new_control_is_told_all_again() -> None:
    relay = LeavingRelay(A, B)
    relay.run(A, 2)
    relay.lower()
    assert not relay.held.completed()
    relay.held.forget()
    assert relay.lower() == {A: 2}
    relay.held.forget()
    assert relay.held.completed()


def test_a_relay_that_is_not_told_to_leave_yet_keeps_what_it_had() -> None:
    relay = LeavingRelay(A)
    relay.replica.leaving = False
    relay.tell(relay.node(A, taken=3))
    assert relay.limits() == {A: 1}
    relay.tell(relay.node(A, taken=-1))
    assert relay.limits() == {A: 1}
    relay.tell(relay.node(A))
    assert relay.limits() == {A: 4}
