"""What was answered: sums by key that never fall and never count twice, whatever comes and goes; rates; percentiles."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.control.answer_counts import SLOT, SLOTS, AnswerCounts, percentiles, recent
from fastroute.router.control.counters import Counters
from fastroute.router.protocol.latency import ANSWER, LatencyCounts


class Node:
    """One node as a relay has it, from its joining to its last report."""

    def __init__(self) -> None:
        self.requests, self.statuses, self.times, self.in_flight = 0, [0] * 5, LatencyCounts(), 0

    def answer(self, status: int, seconds: float) -> None:
        self.requests += 1
        self.statuses[status - 1] += 1
        self.times.connected(0.0)
        self.times.answered(seconds)

    def row(self, key: str, address: str, left: bool = False) -> dict[str, object]:
        numbers = [self.requests, 0, 0, 0, self.in_flight, 0, 0, [*self.statuses], self.times.report(), int(left)]
        return {"nodes": [[key, address, *numbers]]}


STEPS = st.tuples(
    st.sampled_from(["answer", "answer", "answer", "leave", "die", "forget", "successor"]), st.integers(0, 1),
    st.sampled_from(["a:1", "b:1"]), st.integers(1, 5), st.booleans(),
)  # fmt: skip


@given(st.lists(STEPS, max_size=60))
def test_a_key_has_all_answers_of_nodes_that_come_and_go_in_relays_that_come_and_go(steps) -> None:
    counters = Counters()
    nodes: dict[tuple[int, str], Node] = {}
    sums, total = [0] * 5, 0
    for what, relay, address, status, reported in steps:
        node = nodes.get((relay, address))
        if what == "answer":
            if node is None:
                node = nodes[relay, address] = Node()
            node.answer(status, 0.02)
            sums[status - 1] += 1
            total += 1
            if reported:
                counters.update(relay, node.row("k", address))
        elif what == "leave" and node is not None:
            # As control and relay do it: control forgets, the relay tells the last numbers.
            counters.forget_node("k", address)
            counters.update(relay, nodes.pop((relay, address)).row("k", address, left=True))
            counters.forget_node("k", address)
        elif what == "forget":
            counters.forget_node("k", address)
        elif what == "die":
            for (of, at), other in [*nodes.items()]:
                if of == relay:
                    counters.update(relay, other.row("k", at))
                    del nodes[of, at]
            counters.relay_gone(relay)
        elif what == "successor":
            after = Counters()
            after.restore(json.loads(json.dumps(counters.dump({0: 10, 1: 11}))), {10: 0, 11: 1})
            counters = after
    for (relay, address), node in nodes.items():
        counters.update(relay, node.row("k", address))
    found = counters.answers("k")
    assert (found.statuses if found else [0] * 5) == sums
    assert (sum(found.answer[:-1]) if found and found.answer else 0) == total


def test_own_answers_of_a_key_are_added_to_those_of_its_nodes() -> None:
    counters, node = Counters(), Node()
    node.answer(2, 0.01)
    counters.update(0, node.row("k", "a:1") | {"keys": [["k", 3, [0, 0, 0, 0, 2]]]})
    counters.update(0, {"keys": [["k", 4, [0, 0, 0, 0, 3]]]})
    found, of_node = counters.answers("k"), counters.node("k", "a:1").answers
    assert found is not None
    assert of_node is not None
    assert (found.statuses, of_node.statuses) == ([0, 1, 0, 0, 3], [0, 1, 0, 0, 0])


def test_a_rate_is_that_of_ten_seconds_and_falls_to_nothing_after_them() -> None:
    counts, now = AnswerCounts(), 1000.0
    for _ in range(200):
        now += 0.1
        counts.count(now, 5, [])
        if now >= 1000 + SLOT * SLOTS:
            assert recent(counts, now, 0.0).rate == pytest.approx(50, rel=0.03)
    assert recent(counts, now + 5, 0.0).rate == pytest.approx(25, rel=0.25)
    assert recent(counts, now + SLOT * SLOTS, 0.0) == (0.0, 0.0, None, None)


def test_a_process_that_has_just_begun_divides_by_the_time_since_then() -> None:
    counts = AnswerCounts()
    counts.count(1000.0, 10, [])
    counts.count(1004.0, 10, [])
    assert recent(counts, 1004.0, 1000.0).rate == pytest.approx(5)
    assert recent(counts, 1004.0, 1003.9).rate == 20, "but not by next to nothing"


def test_what_a_relay_counted_before_this_process_was_there_is_in_the_sums_and_not_in_the_rate() -> None:
    counters, node = Counters(1000.0), Node()
    for _ in range(500):
        node.answer(2, 0.01)
    counters.update(0, node.row("k", "a:1") | {"keys": [["k", 500, [0] * 5]]}, 1001.0)
    assert recent(counters.answers("k"), 1001.0, 1000.0) == (0.0, 0.0, None, None)
    node.answer(5, 0.3)
    counters.update(0, node.row("k", "a:1") | {"keys": [["k", 501, [0] * 5]]}, 1002.0)
    found = counters.answers("k")
    assert found is not None
    assert found.statuses == [0, 500, 0, 0, 1]
    assert recent(found, 1002.0, 1000.0)[:2] == (0.5, 0.5)
    assert 0.25 < (recent(counters.node("k", "a:1").answers, 1002.0, 1000.0).p50 or 0) <= 0.5


def test_a_relay_that_has_just_begun_is_in_the_rate_from_its_first_report_on() -> None:
    counters, node = Counters(1000.0), Node()
    counters.relay_gone(0)
    node.answer(2, 0.01)
    counters.update(0, node.row("k", "a:1"), 1001.0)
    assert recent(counters.node("k", "a:1").answers, 1001.0, 1000.0).rate == 1


@given(st.lists(st.sampled_from(ANSWER), min_size=1, max_size=40), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_in_the_bucket_of_the_answer_that_has_this_rank(seconds, share) -> None:
    counts = LatencyCounts()
    for each in seconds:
        counts.answered(each)
    rank = -(-len(seconds) * share // 1)
    exact = sorted(seconds)[int(rank) - 1]
    at = ANSWER.index(exact)
    (got,) = percentiles([int(count) for count in counts.answer[:-1]], [share])
    assert got is not None
    assert (ANSWER[at - 1] if at else 0) < got <= exact


def test_beyond_all_bounds_a_percentile_is_the_highest_one_and_of_nothing_there_is_none() -> None:
    counts = LatencyCounts()
    assert percentiles([int(count) for count in counts.answer[:-1]], [0.5]) == [None]
    counts.answered(1000)
    assert percentiles([int(count) for count in counts.answer[:-1]], [0.5]) == [ANSWER[-1]]
