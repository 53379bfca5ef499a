"""Nodes that may have so many requests at once: they leave the picker and come back, and nobody gets more."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.entries import offered, put

from fastroute.router.protocol.node_options import ALGORITHMS
from fastroute.router.relay.level import FULL, NO_SLOTS, READY, TRIAL
from fastroute.router.relay.limits import COLD_LIMIT, share_of
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.waiting import QueueSchedule, Waiter

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
SOMEBODY: Any = object()


def pool_of(algorithm: str = "wrr", **limits: int) -> Pool:
    pool = Pool("foo.com", algorithm, random.Random(1))
    for name, limit in limits.items():
        put(pool, {"a": A, "b": B, "c": C}[name], max=limit)
    return pool


def begin(pool: Pool, now: float = 0.0, client: bytes = b"192.0.2.1") -> Node | None:
    node = pool.levels.choose(now, client)
    if node is not None:
        node.in_flight += 1
        if pool.counts:
            pool.changed(node)
    return node


def waits(pool: Pool, schedule: QueueSchedule[Pool]) -> Waiter:
    waiter = Waiter(SOMEBODY)
    pool.make_queue(schedule).join(waiter, 0.0, 15.0, False)
    schedule.waiting += 0
    return waiter


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_node_gets_as_many_as_it_may_have_and_the_next_one_when_one_ends(algorithm: str) -> None:
    pool = pool_of(algorithm, a=2, b=3)
    nodes = [begin(pool) for _ in range(6)]
    assert nodes.pop() is None
    assert Counter(nodes) == {pool.nodes[A]: 2, pool.nodes[B]: 3}
    assert pool.levels.full_without([])
    pool.finish(pool.nodes[A])
    assert not pool.levels.full_without([])
    assert begin(pool) is pool.nodes[A]
    assert begin(pool) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_failed_at_one_waits_for_the_other_that_is_full(algorithm: str) -> None:
    pool = pool_of(algorithm, a=1, b=1)
    put(pool, C, backup=1)
    first, second = begin(pool), begin(pool)
    assert first is not None
    assert second is not None
    assert pool.levels.choose_good([first]) is None, "a backup is for a level that is down, not for a full one"
    assert pool.levels.full_without([first])
    pool.finish(second)
    assert pool.levels.choose_good([first]) is second
    assert not pool.levels.full_without([first])


def test_a_full_level_keeps_its_requests_and_a_dead_one_does_not() -> None:
    pool = pool_of(a=1)
    put(pool, B, backup=1, max=1)
    node = begin(pool)
    assert node is pool.nodes[A]
    assert begin(pool) is None
    pool.failed(node, 0.0)
    assert begin(pool) is pool.nodes[B]
    assert begin(pool) is None
    assert pool.levels.next_trial() == node.until


def test_a_higher_limit_counts_at_once_and_a_lower_one_as_requests_end() -> None:
    pool = pool_of(a=1)
    node = begin(pool)
    put(pool, A, max=3)
    assert begin(pool) is begin(pool) is node
    assert begin(pool) is None
    put(pool, A, max=1)
    for _ in range(2):
        pool.finish(pool.nodes[A])
        assert begin(pool) is None
    put(pool, A)
    assert [begin(pool) for _ in range(50)] == [node] * 50
    assert not pool.counts


def test_a_tunnel_does_not_count() -> None:
    pool = pool_of(a=1)
    node = begin(pool)
    assert node is not None
    node.tunnels += 1
    pool.changed(node)
    assert begin(pool) is node
    assert begin(pool) is None
    node.tunnels -= 1
    pool.finish(node)
    assert begin(pool) is None, "the other one still runs"


@pytest.mark.parametrize("state", ["drained", "ejected", "gone"])
def test_a_full_node_that_leaves_the_service_is_counted_where_it_comes_back(state: str) -> None:
    pool = pool_of(a=2)
    node = begin(pool)
    assert begin(pool) is node is not None
    assert node.state == FULL
    if state == "drained":
        put(pool, A, max=2, draining=True)
        pool.finish(node)
        put(pool, A, max=2)
    elif state == "ejected":
        pool.failed(node, 0.0)
        pool.finish(node)
        assert pool.levels.choose(2.0) is node
        pool.recovered(node)
    else:
        pool.gone(A)
        pool.finish(node)
        put(pool, A, max=2)
    assert node.in_flight == 1
    assert begin(pool, 2.0) is node
    assert begin(pool, 2.0) is None


@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=5), limited=st.integers(0, 4))
def test_a_node_that_is_often_full_gets_its_share_by_weight_and_not_more(weights: list[int], limited: int) -> None:
    pool = Pool("foo.com", "wrr", random.Random(1))
    for number, weight in enumerate(weights):
        put(pool, f"10.0.0.{number}:80", weight=weight, max=1 if number == limited % len(weights) else 0)
    got: Counter[Node] = Counter()
    for _ in range(30 * sum(weights)):
        node = begin(pool)
        assert node is not None
        got[node] += 1
        pool.finish(node)
    for node in pool.nodes.values():
        # One more or less where the time ends in the middle of a turn.
        assert abs(got[node] - 30 * node.weight) <= 1


def test_a_node_that_was_full_for_long_gets_no_burst() -> None:
    pool = pool_of(a=1, b=0)
    held = begin(pool)
    if held is not pool.nodes[A]:
        held = begin(pool)
    for _ in range(100):
        assert begin(pool) is pool.nodes[B]
    pool.finish(pool.nodes[A])
    put(pool, A)
    assert Counter(pool.levels.choose(0.0) for _ in range(20))[pool.nodes[A]] <= 11


def test_a_node_that_joins_while_requests_wait_gets_few_until_its_first_answer() -> None:
    pool, schedule = pool_of(), QueueSchedule[Pool]()
    waiter = waits(pool, schedule)
    node = put(pool, A)
    assert schedule.woken == {pool: None}
    pool.begin_turn()
    assert [begin(pool) for _ in range(COLD_LIMIT + 1)] == [node] * COLD_LIMIT + [None]
    node.tx += 100
    pool.finish(node)
    assert [begin(pool) for _ in range(50)] == [node] * 50
    assert not pool.limits.cold
    assert waiter.entry


def test_a_first_answer_that_does_not_end_is_one() -> None:
    pool, schedule = pool_of(), QueueSchedule[Pool]()
    waits(pool, schedule)
    node = put(pool, A)
    pool.begin_turn()
    assert [begin(pool) for _ in range(COLD_LIMIT + 1)][-1] is None
    schedule.woken.clear()
    node.tx += 1
    pool.warm_up()
    assert begin(pool) is node
    assert schedule.woken == {pool: None}


def test_a_node_with_a_limit_of_its_own_is_not_cold_and_without_anybody_who_waits_none_is() -> None:
    pool, schedule = pool_of(a=0), QueueSchedule[Pool]()
    assert [begin(pool) for _ in range(50)] == [pool.nodes[A]] * 50
    pool.gone(A)
    waits(pool, schedule)
    put(pool, B, max=40)
    pool.begin_turn()
    assert sum(begin(pool) is not None for _ in range(50)) == 40


def test_a_node_that_is_back_after_it_failed_is_cold_again() -> None:
    pool, schedule = pool_of(a=0), QueueSchedule[Pool]()
    node = pool.nodes[A]
    node.tx = 1000
    pool.failed(node, 0.0)
    waits(pool, schedule)
    pool.begin_turn()
    assert pool.levels.choose(1.0) is node
    assert node.state == TRIAL
    pool.recovered(node)
    assert [begin(pool) for _ in range(COLD_LIMIT + 1)][-1] is None


def test_the_shares_of_relays_are_never_more_than_the_limit_unless_that_is_less_than_one_each() -> None:
    for processes in range(1, 9):
        for limit in range(1, 30):
            shares = [share_of(limit, index, processes) for index in range(processes)]
            assert min(shares) >= 1
            assert sum(shares) == max(limit, processes)
            assert max(shares) - min(shares) <= 1
    assert share_of(0, 1, 4) == 0


def test_the_shares_of_what_leaving_relays_do_not_use_are_that_much() -> None:
    for processes in range(1, 6):
        for limit in range(1, 15):
            for taken in range(1, limit + 3):
                shares = [share_of(limit, index, processes, taken) for index in range(processes)]
                assert 0 not in shares, "that would be no limit at all"
                assert sum(share for share in shares if share != NO_SLOTS) == max(0, limit - taken)
    assert share_of(0, 1, 4, 3) == 0


def test_a_node_without_slots_is_full_and_is_offered_once_it_has_some() -> None:
    pool, schedule = pool_of(a=NO_SLOTS), QueueSchedule[Pool]()
    assert begin(pool) is None
    assert pool.levels.full_without(())
    waits(pool, schedule)
    pool.begin_turn()
    assert begin(pool) is None
    pool.set_share(pool.nodes[A], 1)
    assert begin(pool) is pool.nodes[A]
    assert begin(pool) is None


class LimitedLife(RuleBasedStateMachine):
    """Whatever happens: nobody has more than it may have, and whoever may have more is offered."""

    ADDRESSES = st.sampled_from([A, B, C])

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pool = Pool("foo.com", "wrr", random.Random(5))
        self.running: list[Node] = []

    @rule(address=ADDRESSES, weight=st.integers(0, 3), backup=st.integers(0, 1), limit=st.integers(0, 3))
    def put(self, address: str, weight: int, backup: int, limit: int) -> None:
        put(self.pool, address, weight=weight, backup=backup, max=limit)

    @rule(address=ADDRESSES)
    def gone(self, address: str) -> None:
        self.pool.gone(address)

    @rule(name=st.sampled_from(ALGORITHMS))
    def algorithm(self, name: str) -> None:
        self.pool.set_algorithm(name)

    @rule(seconds=st.floats(0.01, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(client=st.integers(0, 5))
    def request(self, client: int) -> None:
        live = [node for node in self.pool.nodes.values() if node.state in (READY, FULL)]
        node = begin(self.pool, self.now, b"192.0.2.%d" % client)
        if node is None:
            assert not any(other.state == READY and other.backup == min(one.backup for one in live) for other in live)
            return
        if node.state != TRIAL:
            assert not 0 < node.limit < node.in_flight
            assert node.backup == min(other.backup for other in live)
        self.running.append(node)

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 50), verdict=st.sampled_from(["accepts", "fails", "undecided"]))
    def ends(self, index: int, verdict: str) -> None:
        node = self.running.pop(index % len(self.running))
        if verdict == "fails":
            self.pool.failed(node, self.now)
        elif node.state == TRIAL:
            (self.pool.recovered if verdict == "accepts" else lambda one: self.pool.undecided(one, self.now))(node)
        self.pool.finish(node)

    @invariant()
    def states_are_as_the_numbers_say(self) -> None:
        running = Counter(self.running)
        for node in [*self.pool.nodes.values(), *self.pool.leaving.values()]:
            assert node.in_flight == running[node]
            assert node.state not in (READY, FULL) or (node.state == FULL) == node.at_limit
        nodes = self.pool.nodes.values()
        assert offered(self.pool) == sum(node.state == READY for node in nodes)
        assert sum(level.full for level in self.pool.levels._levels) == sum(node.state == FULL for node in nodes)
        assert self.pool.limits.limited == sum(node.limit > 0 for node in nodes)


LimitedLife.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestLimitedLife = LimitedLife.TestCase
