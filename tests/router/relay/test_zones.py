"""A router in a zone asks its zone's nodes first, and others when these are full, ejected or missing."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.protocol.node_options import ALGORITHMS, NodeOptions
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool

NEAR, FAR, SPARE = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"


def a_pool(zone: str = "here", algorithm: str = "wrr", near_max: int = 0, far_max: int = 0) -> Pool:
    pool = Pool("foo.com", algorithm, random.Random(1), zone=zone)
    pool.put(FAR, NodeOptions(zone="there", max=far_max))
    pool.put(NEAR, NodeOptions(zone="here", max=near_max))
    pool.put(SPARE, NodeOptions(zone="here", backup=1))
    return pool


def take(pool: Pool, count: int = 1) -> list[Node | None]:
    """So many requests, which stay."""
    taken = []
    for _ in range(count):
        node = pool.levels.choose(0.0)
        if node is not None:
            node.in_flight += 1
            pool.changed(node)
        taken.append(node)
    return taken


def addresses(nodes: list[Node | None]) -> list[str | None]:
    return [node.address if node else None for node in nodes]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_own_zone_comes_first_and_without_a_zone_all_are_alike(algorithm: str) -> None:
    pool = a_pool(algorithm=algorithm)
    assert {pool.levels.choose(0.0, b"192.0.2.%d" % number).address for number in range(50)} == {NEAR}  # type: ignore[union-attr]
    other = a_pool("", algorithm)
    found = Counter(other.levels.choose(0.0, b"192.0.2.%d" % number).address for number in range(50))  # type: ignore[union-attr]
    assert set(found) <= {NEAR, FAR}
    assert len(found) == 2 or algorithm in ("lrc", "wlrc")


def test_a_zone_that_is_full_spills_over_and_only_then_requests_wait() -> None:
    pool = a_pool(near_max=2, far_max=1)
    # Not the backup: the level is up, though it is full.
    assert addresses(take(pool, 4)) == [NEAR, NEAR, FAR, None]
    assert pool.levels.full_without(())
    near = pool.nodes[NEAR]
    pool.finish(near)
    assert addresses(take(pool)) == [NEAR]


def test_a_full_zone_without_others_lets_wait() -> None:
    pool = a_pool(near_max=1)
    pool.gone(FAR)
    assert addresses(take(pool, 2)) == [NEAR, None]
    assert pool.levels.full_without(())


def test_nodes_that_are_ejected_or_gone_leave_it_to_the_others() -> None:
    pool = a_pool()
    pool.failed(pool.nodes[NEAR], 0.0)
    assert addresses(take(pool)) == [FAR]
    pool.gone(NEAR)
    assert addresses(take(pool)) == [FAR]
    pool.failed(pool.nodes[FAR], 0.0)
    assert addresses(take(pool)) == [SPARE]


def test_one_that_failed_in_the_zone_is_followed_by_one_elsewhere() -> None:
    pool = a_pool()
    near = pool.nodes[NEAR]
    other = pool.levels.choose_good([near])
    assert other is not None
    assert other.address == FAR


def test_a_zone_that_changes_moves_the_node() -> None:
    pool = a_pool()
    pool.put(FAR, NodeOptions(zone="here"))
    pool.put(NEAR, NodeOptions(zone="there"))
    assert addresses(take(pool)) == [FAR]


@given(st.lists(st.tuples(st.sampled_from(["here", "there", ""]), st.integers(0, 2), st.integers(0, 2)), max_size=6))
def test_whoever_is_chosen_is_of_the_lowest_level_that_is_up_and_a_near_one_if_any_has_room(
    rows: list[tuple[str, int, int]],
) -> None:
    pool = Pool("foo.com", "wrr", random.Random(1), zone="here")
    for number, (zone, backup, most) in enumerate(rows):
        pool.put(f"10.0.0.{number}:80", NodeOptions(zone=zone, backup=backup, max=most))
    for _ in range(8):
        (chosen,) = take(pool)
        if chosen is None:
            lowest = min((node.options.backup for node in pool.nodes.values()), default=0)
            assert all(node.at_limit for node in pool.nodes.values() if node.options.backup == lowest)
            break
        lowest = min(node.options.backup for node in pool.nodes.values())
        assert chosen.options.backup == lowest
        if chosen.options.zone != "here":
            rivals = [node for node in pool.nodes.values() if node.options.backup == lowest]
            assert all(node.at_limit for node in rivals if node.options.zone == "here")
