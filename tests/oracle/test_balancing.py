"""Weights and algorithms: the same choices as the original, or those that docs/differences.md says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import gcd

import pytest
from oracle.differences import differs
from oracle.subjects import Held, Named, Pair, Subject, both

Workers = tuple[Named, Named, Named]


@pytest.fixture(scope="module")
def lrc() -> Iterator[Pair]:
    with both(["--algorithm", "lrc"], ["--subscription-algo", "lrc"]) as pair:
        yield pair


@pytest.fixture(scope="module")
def wlrc() -> Iterator[Pair]:
    with both(["--algorithm", "wlrc"], ["--subscription-algo", "wlrc"]) as pair:
        yield pair


def join(subject: Subject, key: str, workers: Workers, weights: tuple[int, ...]) -> None:
    for worker, weight in zip(workers, weights, strict=False):
        subject.subscribe(key, worker.address, weight=weight)


def shares(weights: tuple[int, ...], cycles: int) -> Counter[str]:
    return Counter({name: weight * cycles for name, weight in zip("abc", weights, strict=False)})


DIVIDING = [(1, 1), (1, 1, 1), (0, 0), (0, 2), (1, 3), (3, 1), (2, 4), (5, 5, 5), (1, 2, 4), (4, 2, 2), (10, 20, 30)]


@pytest.mark.parametrize("weights", DIVIDING, ids=str)
def test_weights_that_divide_are_kept_over_a_full_cycle(plain: Pair, abc: Workers, weights: tuple[int, ...]) -> None:
    key = "divide{}.example".format("-".join(map(str, weights)))
    real = tuple(weight or 1 for weight in weights)
    unit = gcd(*real)
    reduced = tuple(weight // unit for weight in real)
    for subject in plain:
        join(subject, key, abc, weights)
        assert subject.spread(key, 2 * sum(reduced)) == shares(reduced, 2), subject.name


@pytest.mark.parametrize("weights", [(5, 2), (2, 3), (2, 3, 4), (10, 4, 4), (3, 5, 7), (7, 11, 13)], ids=str)
@differs("weights")
def test_weights_that_do_not_divide_are_exact_here(plain: Pair, abc: Workers, weights: tuple[int, ...]) -> None:
    key = "odd{}.example".format("-".join(map(str, weights)))
    divided = tuple(weight // min(weights) for weight in weights)
    for subject in plain:
        join(subject, key, abc, weights)
    unit = gcd(*weights)
    assert plain.ours.spread(key, sum(weights) // unit) == shares(tuple(weight // unit for weight in weights), 1)
    assert plain.original.spread(key, 3 * sum(divided)) == shares(divided, 3)


@differs("order of nodes")
def test_the_first_request_goes_to_the_first_node_here_and_to_the_last_there(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        join(subject, "order.example", abc, (1, 1, 1))
    assert "".join(plain.ours.ask("order.example").node for _ in range(6)) == "abcabc"
    assert "".join(plain.original.ask("order.example").node for _ in range(6)) == "cabcab"


@differs("weights")
def test_a_heavy_node_gets_its_requests_spread_here_and_in_a_burst_there(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        join(subject, "burst.example", abc, (4, 2))
    ours, original = ("".join(subject.ask("burst.example").node for _ in range(6)) for subject in plain)
    assert ours == "abaaba"
    assert original == "baabaa", "weights are divided first: 2, 1"


def test_lrc_shares_equally_when_idle_whatever_the_weights(lrc: Pair, abc: Workers) -> None:
    for subject in lrc:
        join(subject, "idle.example", abc, (1, 5, 9))
        assert subject.spread("idle.example", 12) == shares((4, 4, 4), 1), subject.name


def test_lrc_takes_the_node_with_fewest_requests_in_flight(lrc: Pair, abc: Workers) -> None:
    for subject in lrc:
        join(subject, "busy.example", abc, (1, 1, 1))
        with Held(subject, abc) as held:
            assert held.more("busy.example", 9) == shares((3, 3, 3), 1), subject.name
            abc[1].go.set()
            held.settle()
            abc[1].go.clear()
            assert held.more("busy.example", 3) == {"b": 3}, subject.name


@pytest.mark.parametrize("weights", [(1, 2, 4), (1, 1, 1), (3, 1, 2)], ids=str)
def test_wlrc_follows_weights_exactly_under_load(wlrc: Pair, abc: Workers, weights: tuple[int, ...]) -> None:
    key = "load{}{}{}.example".format(*weights)
    for subject in wlrc:
        join(subject, key, abc, weights)
        with Held(subject, abc) as held:
            assert held.more(key, 2 * sum(weights)) == shares(weights, 2), subject.name


@differs("wlrc while idle")
def test_wlrc_while_idle_follows_weights_here_and_rotates_there(wlrc: Pair, abc: Workers) -> None:
    for subject in wlrc:
        join(subject, "idle.example", abc, (1, 2, 3))
    assert wlrc.ours.spread("idle.example", 12) == shares((1, 2, 3), 2)
    assert wlrc.original.spread("idle.example", 12) == shares((4, 4, 4), 1)


def test_a_node_that_joins_later_takes_its_share(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        join(subject, "later.example", abc, (1, 1))
        assert subject.spread("later.example", 4) == {"a": 2, "b": 2}, subject.name
        subject.subscribe("later.example", abc[2].address)
        seen = subject.spread("later.example", 30)
        # The original's turn at hand ends first.
        assert all(8 <= seen[name] <= 12 for name in "abc"), (subject.name, seen)


def test_a_refresh_changes_the_weight(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        join(subject, "refresh.example", abc, (1, 1))
        subject.spread("refresh.example", 4)
        subject.announce("refresh.example", abc[0].address, weight=3)
        subject.settle()
        subject.spread("refresh.example", 4)
        assert subject.spread("refresh.example", 8) == {"a": 6, "b": 2}, subject.name


@differs("algorithms")
def test_a_subscription_may_name_the_algorithm_of_its_key_here(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        for worker in abc:
            subject.subscribe("algo.example", worker.address, algo="iphash")
    assert len(plain.ours.spread("algo.example", 9)) == 1, "one client, one node"
    assert plain.original.spread("algo.example", 9) == shares((3, 3, 3), 1)
