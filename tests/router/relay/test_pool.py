"""Pools: joining, leaving, draining, ejection and its end."""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.entries import offered, put

from fastroute.router.protocol.node_options import ALGORITHMS
from fastroute.router.relay.level import DRAINING, EJECTED, GONE, MAX_DARK_EJECTION, READY, TRIAL
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"


def pool_of(*addresses: str, algorithm: str = "wrr") -> Pool:
    pool = Pool("foo.com", algorithm, random.Random(1))
    for address in addresses:
        pool.put(address)
    return pool


def addresses(pool: Pool, count: int, now: float = 0.0) -> list[str | None]:
    picks = (pool.levels.choose(now) for _ in range(count))
    return [None if pick is None else pick.address for pick in picks]


def test_announcing_a_node_again_changes_nothing() -> None:
    pool = pool_of(A, B)
    node = pool.nodes[A]
    assert pool.put(A) is node
    assert Counter(addresses(pool, 4)) == {A: 2, B: 2}


def test_a_new_weight_counts_at_once() -> None:
    pool = pool_of(A, B)
    put(pool, A, weight=3)
    assert Counter(addresses(pool, 8)) == {A: 6, B: 2}


def test_modifiers_of_a_known_node_change_too() -> None:
    pool = pool_of(A)
    put(pool, A, modifier1=5, modifier2=1)
    assert (pool.nodes[A].modifier1, pool.nodes[A].modifier2) == (5, 1)


def test_a_node_that_is_held_is_offered_to_nobody_while_another_is_there() -> None:
    pool = pool_of(A, B)
    pool.hold(pool.nodes[B])
    assert set(addresses(pool, 4)) == {A}
    pool.free(pool.nodes[B])
    assert Counter(addresses(pool, 4)) == {A: 2, B: 2}
    pool.hold(pool.nodes[B])
    pool.gone(A)
    assert set(addresses(pool, 4)) == {B}


def test_a_request_that_failed_elsewhere_gets_a_held_node_if_there_is_no_other() -> None:
    pool = pool_of(A, B)
    pool.hold(pool.nodes[B])
    assert pool.levels.choose_good([pool.nodes[A]]) is pool.nodes[B]


@pytest.mark.parametrize("what", ["gone", "failed", "drained"])
def test_what_was_held_is_not_held_any_more_when_it_comes_back(what: str) -> None:
    pool = pool_of(A, B)
    node = pool.nodes[B]
    pool.hold(node)
    if what == "gone":
        pool.gone(B)
    elif what == "failed":
        pool.failed(node, 0.0)
        pool.recovered(node)
    else:
        pool.put(B, draining=True)
    pool.put(B)
    assert not pool.nodes[B].held
    assert Counter(addresses(pool, 4)) == {A: 2, B: 2}


@pytest.mark.parametrize("how", [{"draining": True}, {"weight": 0}])
def test_a_drained_node_gets_no_new_requests_until_undrained(how: dict[str, Any]) -> None:
    pool = pool_of(A, B)
    put(pool, A, **how)
    assert pool.nodes[A].state == DRAINING
    assert set(addresses(pool, 4)) == {B}
    pool.put(A)
    assert set(addresses(pool, 4)) == {A, B}


def test_a_backup_serves_only_while_every_lower_level_is_down() -> None:
    pool = pool_of(A)
    put(pool, B, backup=1)
    put(pool, C, backup=2)
    assert set(addresses(pool, 4)) == {A}
    pool.gone(A)
    assert set(addresses(pool, 4)) == {B}
    put(pool, B, backup=1, draining=True)
    assert set(addresses(pool, 4)) == {C}
    pool.put(A)
    assert set(addresses(pool, 4)) == {A}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_node_that_becomes_a_backup_is_offered_as_one_only(algorithm: str) -> None:
    pool = pool_of(A, B, algorithm=algorithm)
    put(pool, A, backup=1)
    assert set(addresses(pool, 6)) == {B}


def test_an_ejected_backup_is_not_tried_while_the_lower_level_serves() -> None:
    pool = pool_of(A)
    backup = put(pool, B, backup=1)
    pool.failed(backup, 0.0)
    assert set(addresses(pool, 4, now=100.0)) == {A}


def test_a_node_that_leaves_with_requests_in_flight_is_the_same_when_it_returns() -> None:
    pool = pool_of(A)
    node = pool.nodes[A]
    node.in_flight, node.requests = 1, 7
    pool.gone(A)
    assert pool.levels.choose(0.0) is None
    assert pool.put(A) is node
    assert addresses(pool, 1) == [A]


def test_a_node_that_left_is_forgotten_with_its_last_request() -> None:
    pool = pool_of(A)
    node = pool.nodes[A]
    node.in_flight = 1
    pool.gone(A)
    pool.finish(node)
    assert not pool.leaving
    assert pool.put(A) is not node


def test_a_failed_node_waits_longer_each_time_and_is_tried_with_one_request() -> None:
    pool = pool_of(A, B)
    node, now, waits = pool.nodes[A], 0.0, []
    for _ in range(12):
        waits.append(pool.failed(node, now))
        assert set(addresses(pool, 6, now + waits[-1] - 0.01)) == {B}
        now += waits[-1]
        assert addresses(pool, 1, now) == [A]
        assert set(addresses(pool, 6, now)) == {B}, "one request at a time while on trial"
    assert 0.18 < waits[0] < 0.32
    assert waits[4] > 2.5
    assert all(wait <= 30 * 1.25 for wait in waits)


def test_a_node_on_trial_that_accepts_is_back_for_good() -> None:
    pool = pool_of(A, B)
    node = pool.nodes[A]
    pool.failed(node, 0.0)
    assert pool.levels.choose(1.0) is node
    pool.recovered(node)
    assert Counter(addresses(pool, 4, 1.0)) == {A: 2, B: 2}
    assert pool.failed(node, 1.0) < 0.32


def test_an_undecided_trial_is_repeated_by_the_next_request() -> None:
    pool = pool_of(A, B)
    node = pool.nodes[A]
    pool.failed(node, 0.0)
    assert pool.levels.choose(1.0) is node
    pool.undecided(node, 1.0)
    assert pool.levels.choose(1.0) is node


def test_a_node_that_announces_itself_is_tried_by_the_next_request() -> None:
    pool = pool_of(A, B)
    pool.failed(pool.nodes[A], 0.0)
    assert addresses(pool, 2, 0.01) == [B, B]
    pool.retry(A)
    assert addresses(pool, 2, 0.02) == [A, B]
    pool.retry("10.9.9.9:1")
    pool.retry(B)
    assert pool.nodes[B].state == READY


def test_failures_that_come_while_ejected_do_not_make_it_longer() -> None:
    pool = pool_of(A, B)
    node = pool.nodes[A]
    assert pool.failed(node, 0.0) > 0
    assert pool.failed(node, 0.1) == 0
    assert node.failures == 2
    assert pool.levels.choose(0.35) is node


def test_the_last_hope_is_never_ejected_for_longer_than_a_second() -> None:
    pool = pool_of(A)
    node, now = pool.nodes[A], 0.0
    for _ in range(20):
        wait = pool.failed(node, now)
        assert wait <= MAX_DARK_EJECTION
        now += wait
        assert pool.levels.choose(now) is node


def test_a_node_ejected_for_long_becomes_a_last_hope_when_the_others_fail() -> None:
    pool = pool_of(A, B)
    first, second, now = pool.nodes[A], pool.nodes[B], 0.0
    for _ in range(10):
        now += pool.failed(first, now)
        if first.until > now - 0.001:
            assert pool.levels.choose(now) is first
    pool.failed(first, now)
    pool.failed(second, now)
    assert {pool.levels.choose(now + MAX_DARK_EJECTION), pool.levels.choose(now + MAX_DARK_EJECTION)} == {first, second}


def test_the_second_try_goes_to_another_node_and_there_is_none_in_a_pool_of_one() -> None:
    pool = pool_of(A, B)
    assert {pool.levels.choose_good([pool.nodes[A]]) for _ in range(4)} == {pool.nodes[B]}
    lonely = pool_of(A)
    assert lonely.levels.choose_good([lonely.nodes[A]]) is None
    assert lonely.levels.choose_trial([lonely.nodes[A]], 100.0) is None
    assert lonely.levels.choose(0.0) is lonely.nodes[A]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_failed_is_sent_to_what_is_known_to_be_good_and_a_trial_is_left_to_others(algorithm: str) -> None:
    pool = pool_of(A, B, C, algorithm=algorithm)
    due, failed, good = (pool.nodes[address] for address in (A, B, C))
    pool.failed(due, 0.0)
    pool.failed(failed, 0.9)
    assert {pool.levels.choose_good([failed], b"192.0.2.%d" % client) for client in range(9)} == {good}
    assert pool.levels.choose(0.9, b"192.0.2.1") is due


def test_a_backup_that_is_good_comes_before_the_trial_of_a_lower_level() -> None:
    pool = pool_of(A, B)
    put(pool, C, backup=1)
    due, failed, backup = (pool.nodes[address] for address in (A, B, C))
    pool.failed(due, 0.0)
    pool.failed(failed, 0.9)
    assert pool.levels.choose_good([failed]) is backup
    assert pool.levels.choose_good([failed, backup]) is None
    assert pool.levels.choose_trial([failed, backup], 0.9) is due


def test_on_a_retry_an_ejected_node_is_tried_by_the_rules_of_ejection_and_never_twice() -> None:
    pool = pool_of(A, B)
    one, two = pool.nodes[A], pool.nodes[B]
    until = pool.failed(one, 0.0)
    pool.failed(two, until)
    assert pool.levels.choose_trial([two], until - 0.01) is None
    assert pool.levels.choose_trial([one, two], until + 2 * MAX_DARK_EJECTION) is None
    assert pool.levels.choose_trial([two], until) is one
    assert pool.levels.choose_trial([two], until + 2 * MAX_DARK_EJECTION) is None, "it is on trial already"
    assert pool.levels.choose(until + 2 * MAX_DARK_EJECTION) is two, "what was left out keeps its place"


def test_an_address_that_was_tried_as_a_node_of_another_pool_was_tried() -> None:
    pool, other = pool_of(A, B), pool_of(A)
    assert {pool.levels.choose_good([other.nodes[A], pool.nodes[A]]) for _ in range(3)} == {pool.nodes[B]}


@pytest.mark.parametrize("algorithm", ["wrr", "lrc", "wlrc"])
def test_a_node_that_closes_without_an_answer_gets_its_share_and_not_more(algorithm: str) -> None:
    pool = pool_of(*(f"10.0.0.{number}:80" for number in range(10)), algorithm=algorithm)
    closes = pool.nodes["10.0.0.3:80"]
    first = []
    for _ in range(1000):
        first.append(pool.levels.choose(0.0))
        if first[-1] is closes:
            pool.levels.choose_good([closes])
    assert 90 <= first.count(closes) <= 112


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_retry_costs_no_more_among_10_000_nodes_of_which_most_are_ejected(algorithm: str) -> None:
    def steps(count: int) -> int:
        pool = pool_of(*(f"10.{number >> 8}.{number & 255}.1:80" for number in range(count)), algorithm=algorithm)
        nodes = [*pool.nodes.values()]
        for node in nodes[: count - 20]:
            pool.failed(node, 0.0)
        tried = [nodes[count - 1], nodes[0], nodes[1]]
        pool.failed(nodes[count - 2], 100.0)
        # Those that left a heap are thrown out of it by the next who looks.
        pool.levels.choose(0.0)
        profile, calls = sys.getprofile(), 0

        def called(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(called)
        try:
            assert pool.levels.choose_good(tried, b"192.0.2.1") is not None
            assert pool.levels.choose_trial(tried, 0.1) is None
        finally:
            sys.setprofile(profile)
        return calls

    assert steps(10_000) < 3 * steps(100)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_algorithm_can_change_under_load(algorithm: str) -> None:
    pool = pool_of(A, B, C)
    pool.failed(pool.nodes[C], 0.0)
    pool.set_algorithm(algorithm)
    assert pool.levels.choose(0.0, b"192.0.2.1") in (pool.nodes[A], pool.nodes[B])
    pool.gone(A)
    pool.gone(B)
    assert pool.levels.choose(0.1) is None
    assert pool.levels.choose(1.0) is pool.nodes.get(C)


@pytest.mark.parametrize("address", ["name:80", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:99999", "[::1:80", ""])
def test_what_cannot_be_connected_to_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no IP"):
        pool_of(address)


class PoolLife(RuleBasedStateMachine):
    """Whatever happens: only offered nodes are chosen, counts stay right, nothing is stuck for over a second.

    A request that failed goes to what is good and was not tried, while there is any; then to what may be tried.
    """

    ADDRESSES = st.sampled_from([A, B, C, "10.0.0.4:80"])

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pool = Pool("foo.com", "wrr", random.Random(5))
        #: Requests in flight: their node, and those that they tried before.  And those that have just failed.
        self.running: list[tuple[Node, list[Node]]] = []
        self.failed: list[list[Node]] = []

    @rule(address=ADDRESSES, weight=st.integers(0, 4), backup=st.integers(0, 2), draining=st.booleans())
    def put(self, address: str, weight: int, backup: int, draining: bool) -> None:
        put(self.pool, address, weight=weight, backup=backup, draining=draining)

    @rule(address=ADDRESSES)
    def gone(self, address: str) -> None:
        self.pool.gone(address)

    @rule(name=st.sampled_from(ALGORITHMS))
    def algorithm(self, name: str) -> None:
        self.pool.set_algorithm(name)

    @rule(seconds=st.floats(0.01, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def request(self) -> None:
        node = self.pool.levels.choose(self.now, b"192.0.2.1")
        if node is None:
            assert not offered(self.pool)
            return
        assert node.state in (READY, TRIAL)
        assert self.pool.nodes[node.address] is node
        self.begins(node, [])

    def begins(self, node: Node, tried: list[Node]) -> None:
        node.in_flight += 1
        self.pool.changed(node)
        self.running.append((node, tried))

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 50), verdict=st.sampled_from(["accepts", "fails", "closes", "undecided"]))
    def ends(self, index: int, verdict: str) -> None:
        node, tried = self.running.pop(index % len(self.running))
        if verdict == "fails":
            self.pool.failed(node, self.now)
        elif node.state == TRIAL:
            if verdict == "undecided":
                self.pool.undecided(node, self.now)
            else:
                self.pool.recovered(node)
        self.pool.finish(node)
        if verdict in ("fails", "closes"):
            self.failed.append([*tried, node])

    @precondition(lambda self: self.failed)
    @rule(index=st.integers(0, 50))
    def tries_again(self, index: int) -> None:
        tried = self.failed.pop(index % len(self.failed))
        before = {node.address for node in tried}
        left = [node for node in self.pool.nodes.values() if node.address not in before]
        good = [node for node in left if node.state == READY]
        node = self.pool.levels.choose_good(tried, b"192.0.2.1")
        assert (node is None) == (not good)
        if node is None:
            ejected = [one for one in left if one.state == EJECTED]
            node = self.pool.levels.choose_trial(tried, self.now)
            assert node is not None or not any(one.until <= self.now for one in ejected)
            if node is None:
                return
            assert node in ejected
            assert node.until <= self.now or node.failed_at + MAX_DARK_EJECTION <= self.now
            assert node.state == TRIAL
        else:
            assert node in good
            assert node.backup == min(one.backup for one in good)
        self.begins(node, tried)

    @invariant()
    def counts_are_right(self) -> None:
        running = Counter(node for node, _ in self.running)
        for node in [*self.pool.nodes.values(), *self.pool.leaving.values()]:
            assert node.in_flight == running[node]
        ready = [node for node in self.pool.nodes.values() if node.state == READY]
        assert offered(self.pool) == len(ready)
        assert all(node.state == GONE and node.in_flight for node in self.pool.leaving.values())

    @invariant()
    def nothing_that_may_serve_is_stuck(self) -> None:
        states = {node.state for node in self.pool.nodes.values()} - {DRAINING}
        if states and READY not in states and TRIAL not in states:
            probe = self.pool.levels.choose(self.now + MAX_DARK_EJECTION)
            assert probe is not None
            self.pool.undecided(probe, self.now)


PoolLife.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPoolLife = PoolLife.TestCase
