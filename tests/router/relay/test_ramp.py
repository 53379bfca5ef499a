"""The share of a node that joined, or is back, grows over its ramp; the clock is a number."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import offered

from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.ramp import STEPS, pace_at

RAMP = 30.0
WEIGHTED = ["wrr", "lrc", "wlrc", "random2"]


def join(pool: Pool, name: str, now: float, weight: int = 1, ramp: float = RAMP, draining: bool = False) -> Node:
    return pool.put(f"10.0.0.{name}:80", NodeOptions(weight=weight, ramp=ramp), draining, now=now)


def shares(pool: Pool, now: float, requests: int = 1000, busy: int = 0) -> dict[str, float]:
    """Of the next requests, how many each node gets; ``busy`` are in flight at a time."""
    pool.step_ramps(now)
    counts: Counter[str] = Counter()
    running: list[Node] = []
    for _ in range(requests):
        node = pool.levels.choose(now)
        assert node is not None
        counts[node.address[7:-3]] += 1
        node.in_flight += 1
        if pool.counts:
            pool.changed(node)
        running.append(node)
        while len(running) > busy:
            pool.finish(running.pop(0))
    for node in running:
        pool.finish(node)
    return {name: count / requests for name, count in counts.items()}


def pool_of(algorithm: str) -> Pool:
    return Pool("foo.com", algorithm, random.Random(4))


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.001, 600))
def test_the_pace_grows_and_ends(one: float, other: float, ramp: float) -> None:
    assert 1 <= pace_at(min(one, other), ramp) <= pace_at(max(one, other), ramp) <= STEPS
    assert pace_at(ramp, ramp) == STEPS


@pytest.mark.parametrize("busy", [0, 20])
@pytest.mark.parametrize("algorithm", WEIGHTED)
def test_a_newcomer_gets_more_and_more_until_it_has_its_share(algorithm: str, busy: int) -> None:
    pool = pool_of(algorithm)
    for name in "123":
        join(pool, name, 0.0)
    shares(pool, 100.0)
    join(pool, "4", 100.0)
    seen = [shares(pool, 100.0 + age, busy=busy).get("4", 0.0) for age in (0.0, 7.5, 15.0, 22.5, 30.0)]
    assert seen == sorted(seen)
    assert seen[0] < 0.06
    if algorithm != "random2":
        # Of four, one that has half of its share has a seventh of all.
        assert seen[1:] == [pytest.approx(part / (3 + part), abs=0.05) for part in (0.25, 0.5, 0.75, 1.0)]
    assert seen[4] == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("algorithm", WEIGHTED)
def test_a_newcomer_gets_no_burst_before_the_first_step(algorithm: str) -> None:
    """The loop steps once a second or so; a request may come at once."""
    pool = pool_of(algorithm)
    for name in "123":
        join(pool, name, 0.0)
    shares(pool, 100.0)
    newcomer = join(pool, "4", 100.0)
    assert sum(pool.levels.choose(100.0) is newcomer for _ in range(100)) <= 6


@pytest.mark.parametrize("algorithm", WEIGHTED)
def test_the_first_nodes_of_a_key_and_all_that_come_at_once_share_equally(algorithm: str) -> None:
    pool = pool_of(algorithm)
    join(pool, "1", 0.0)
    assert shares(pool, 0.0) == {"1": 1.0}
    join(pool, "2", 0.0)
    for now in (0.0, 10.0, 40.0):
        assert shares(pool, now).get("1") == pytest.approx(0.5, abs=0.03)
    join(pool, "3", 50.0)
    join(pool, "4", 50.0)
    for now in (50.0, 60.0, 79.0):
        found = shares(pool, now, 4000)
        assert found["3"] == pytest.approx(found["4"], abs=0.03)
        assert found["3"] < found["1"]
    pool.gone("10.0.0.1:80")
    pool.gone("10.0.0.2:80")
    join(pool, "5", 80.0)
    pool.gone("10.0.0.3:80")
    pool.gone("10.0.0.4:80")
    assert shares(pool, 80.0) == {"5": 1.0}


@pytest.mark.parametrize("algorithm", ["wrr", "wlrc"])
def test_weights_count_besides(algorithm: str) -> None:
    pool = pool_of(algorithm)
    join(pool, "1", 0.0, weight=3)
    shares(pool, 100.0)
    join(pool, "2", 100.0, weight=1)
    assert shares(pool, 115.0)["2"] == pytest.approx(0.5 / 3.5, abs=0.02)
    assert shares(pool, 130.0)["2"] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("algorithm", WEIGHTED)
def test_a_node_that_is_back_begins_anew(algorithm: str) -> None:
    pool = pool_of(algorithm)
    first, second = join(pool, "1", 0.0), join(pool, "2", 0.0)
    assert shares(pool, 50.0)["1"] == pytest.approx(0.5, abs=0.04)
    pool.failed(first, 50.0)
    trial = pool.levels.choose(60.0)
    assert trial is first
    pool.recovered(first, 60.0)
    assert shares(pool, 60.0).get("1", 0.0) < 0.04
    assert shares(pool, 95.0)["1"] == pytest.approx(0.5, abs=0.04)
    join(pool, "2", 100.0, draining=True)
    assert shares(pool, 101.0) == {"1": 1.0}
    assert join(pool, "2", 110.0) is second
    assert shares(pool, 110.0).get("2", 0.0) < 0.04
    assert offered(pool) == 2


def test_a_node_without_a_ramp_has_its_share_at_once() -> None:
    pool = pool_of("wrr")
    join(pool, "1", 0.0)
    shares(pool, 100.0)
    join(pool, "2", 100.0, ramp=0.0)
    assert shares(pool, 100.0) == {"1": 0.5, "2": 0.5}


def test_slow_traffic_starves_nobody_on_the_way() -> None:
    """A step comes more often than a request: the turn of a node is never put off."""
    pool = pool_of("wrr")
    join(pool, "1", 0.0)
    shares(pool, 100.0)
    join(pool, "2", 100.0)
    counts: Counter[str] = Counter()
    for step in range(120):
        counts.update(shares(pool, 100.0 + step / 4, requests=1 if step % 2 else 0) if step % 2 else {})
    assert 10 <= counts["2"] <= 25


def test_iphash_moves_no_clients_by_steps() -> None:
    pool = pool_of("iphash")
    join(pool, "1", 0.0)
    join(pool, "2", 100.0)
    clients = [f"10.0.{number}.1".encode() for number in range(200)]
    before = [pool.levels.choose(100.0, client) for client in clients]
    pool.step_ramps(120.0)
    assert [pool.levels.choose(120.0, client) for client in clients] == before
    assert len(set(before)) == 2


@pytest.mark.parametrize("algorithm", ["iphash", "wrr", "lrc"])
def test_a_pool_may_change_its_algorithm_on_the_way(algorithm: str) -> None:
    pool = pool_of("wrr")
    join(pool, "1", 0.0)
    join(pool, "2", 10.0)
    pool.set_algorithm(algorithm)
    pool.step_ramps(20.0)
    pool.set_algorithm("wrr")
    pool.step_ramps(60.0)
    assert shares(pool, 60.0)["1"] == pytest.approx(0.5, abs=0.02)
