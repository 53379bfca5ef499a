"""Sums over relays: they never fall when a relay dies, and never count twice."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.control.counters import Counters
from fastroute.router.protocol.latency import ANSWER, WAITED, LatencyCounts


def node(requests, failures=0, tx=0, rx=0, in_flight=0, ejected=0):
    return {"nodes": [["k", "a:1", requests, failures, tx, rx, in_flight, ejected]]}


def test_reports_of_two_relays_add_up() -> None:
    counters = Counters()
    counters.update(0, node(5, in_flight=2))
    counters.update(1, node(7, in_flight=1))
    counters.update(0, node(6, in_flight=0))
    assert (counters.node("k", "a:1").requests, counters.node("k", "a:1").in_flight) == (13, 1)


def test_a_relay_that_dies_takes_only_its_requests_in_flight_and_ejections() -> None:
    counters = Counters()
    counters.update(0, node(5, in_flight=2, ejected=1) | {"in_flight": 2, "requests": 5})
    counters.relay_gone(0)
    got = counters.node("k", "a:1")
    assert (got.requests, got.in_flight, got.ejected, counters.in_flight, counters.requests) == (5, 0, False, 0, 5)
    counters.update(0, node(1) | {"requests": 1})
    assert (counters.node("k", "a:1").requests, counters.requests) == (6, 6)


def test_a_node_made_anew_in_the_relay_goes_on_from_its_sum() -> None:
    counters = Counters()
    counters.update(0, node(5))
    counters.update(0, node(2))
    assert counters.node("k", "a:1").requests == 7


def test_a_node_is_forgotten_only_when_no_request_is_in_flight() -> None:
    counters = Counters()
    counters.update(0, node(5, in_flight=1))
    assert not counters.forget_node("k", "a:1")
    counters.update(0, node(5, in_flight=0))
    assert counters.forget_node("k", "a:1")
    assert counters.node("k", "a:1").requests == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["work", "die"]), st.integers(1, 9)), max_size=40))
def test_requests_sum_to_what_all_relays_ever_served(steps) -> None:
    counters, alive, served = Counters(), {}, 0  # type: ignore[var-annotated]
    for relay, what, amount in steps:
        if what == "die":
            alive.pop(relay, None)
            counters.relay_gone(relay)
        else:
            alive[relay] = alive.get(relay, 0) + amount
            served += amount
            counters.update(relay, {"requests": alive[relay], "errors": {"no-key": alive[relay]}})
    assert counters.requests == served
    assert counters.errors.get("no-key", 0) == served


def times(count: int, seconds: float) -> dict[str, object]:
    counts = LatencyCounts()
    for _ in range(count):
        counts.connected(0)
        counts.answered(seconds)
    return {"nodes": [["k", "a:1", count, 0, 0, 0, 0, 0, 0, [0, count, 0, 0, 0], counts.report(), 0]]}


def test_times_of_relays_add_up_and_a_relay_that_dies_takes_none_away() -> None:
    counters = Counters()
    counters.update(0, times(2, 0.3))
    counters.update(1, times(3, 0.3))
    counters.update(0, times(5, 0.3))
    counters.relay_gone(0)
    counters.update(0, times(1, 0.3))
    found = counters.answers("k")
    assert found is not None
    connect, answer = found.connect or [], found.answer or []
    assert (sum(connect[:-1]), answer[ANSWER.index(0.5)]) == (9, 9)
    assert round(answer[-1], 6) == 2.7


def test_times_of_a_key_made_anew_in_the_relay_go_on_from_their_sum() -> None:
    counters = Counters()
    counters.update(0, times(5, 0.3))
    counters.update(0, times(2, 0.002))
    found = counters.answers("k")
    assert found is not None
    assert sum((found.answer or [])[:-1]) == 7


def test_a_forgotten_key_takes_its_times_and_hits_along() -> None:
    counters = Counters()
    counters.update(0, times(5, 0.3) | {"keys": [["k", 5]]})
    counters.forget_node("k", "a:1")
    counters.forget_key("k")
    assert (counters.answers("k"), counters.hits("k"), counters.names()) == (None, 0, ([], []))
    counters.update(0, times(6, 0.3))
    found = counters.answers("k")
    assert found is not None
    assert sum((found.answer or [])[:-1]) == 1, "a late word of the relay: 5 of them were counted before"


def test_requests_since_the_last_announcement_begin_at_nothing_with_each() -> None:
    counters = Counters()
    counters.update(0, node(5))
    assert counters.node("k", "a:1").last_requests == 5
    counters.announced("k", "a:1")
    counters.update(0, node(7))
    assert (counters.node("k", "a:1").last_requests, counters.node("k", "a:1").requests) == (2, 7)


def test_an_ejection_is_news_once_per_relay_until_it_recovers() -> None:
    counters = Counters()
    assert [counters.eject(relay, "k", "a:1") for relay in (0, 0, 1)] == [True, False, True]
    counters.recover(0, "k", "a:1")
    assert counters.node("k", "a:1").ejected
    assert counters.eject(0, "k", "a:1")


def test_the_next_control_goes_on_and_counts_nothing_twice() -> None:
    counters = Counters()
    said = {"requests": 5, "in_flight": 2, "errors": {"no-key": 1}, "keys": [["k", 4]]}
    counters.update(0, node(5, in_flight=2) | said)
    counters.update(1, node(7, in_flight=1, ejected=1) | {"requests": 7, "in_flight": 1})
    after = Counters()
    # Relay 0 is there under another number, relay 1 has ended.
    after.restore(json.loads(json.dumps(counters.dump({0: 100, 1: 101}))), {100: 3})
    got = after.node("k", "a:1")
    assert (got.requests, got.in_flight, got.ejected, after.in_flight, after.requests) == (12, 2, False, 2, 12)
    after.update(3, node(6, in_flight=1) | said | {"requests": 6, "in_flight": 1, "keys": [["k", 5]]})
    assert (got.requests, got.in_flight, after.requests, after.in_flight) == (13, 1, 13, 1)
    assert (after.errors, after.hits("k")) == ({"no-key": 1}, 5)
    after.relay_gone(3)
    assert (got.requests, got.in_flight, after.in_flight) == (13, 0, 0)


def test_the_next_control_knows_which_relay_does_not_offer_a_node() -> None:
    counters = Counters()
    counters.update(0, {"nodes": [["foo.com", "10.0.0.1:80", 5, 1, 10, 20, 2, 1]]})
    after = Counters()
    after.restore(json.loads(json.dumps(counters.dump({0: 100}))), {100: 3})
    node = after.node("foo.com", "10.0.0.1:80")
    assert (node.in_flight, list(node.ejected_by)) == (2, [3])
    after.relay_gone(3)
    assert (node.in_flight, node.ejected) == (0, False)


def waits(key: str, waiting: int, waited: int, full: int = 0) -> dict[str, object]:
    return {"waits": [[key, waiting, [waited, *[0] * len(WAITED), waited * 0.05], full]]}


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["join", "leave", "die", "successor"]),
                          st.sampled_from(["a", "b"])), max_size=40))  # fmt: skip
def test_those_who_wait_are_those_of_the_relays_that_live_and_who_waited_is_never_forgotten(steps) -> None:
    counters = Counters()
    waiting, left = {}, {}  # type: ignore[var-annotated]  # by relay and key; of its present life
    total = dict.fromkeys("ab", 0)
    for relay, what, key in steps:
        if what == "die":
            for name in "ab":
                waiting.pop((relay, name), None), left.pop((relay, name), None)
            counters.relay_gone(relay)
        elif what == "successor":
            after = Counters()
            after.restore(json.loads(json.dumps(counters.dump({0: 10, 1: 11, 2: 12}))), {10: 0, 11: 1, 12: 2})
            counters = after
        else:
            at = (relay, key)
            if what == "join":
                waiting[at] = waiting.get(at, 0) + 1
            elif waiting.get(at):
                waiting[at] -= 1
                left[at] = left.get(at, 0) + 1
                total[key] += 1
            counters.update(relay, waits(key, waiting.get(at, 0), left.get(at, 0)))
    for key in "ab":
        assert counters.waiting(key) == sum(number for (_, name), number in waiting.items() if name == key)
        found = counters.waits(key)
        assert (found.waited[0] if found else 0) == total[key]
    counters.forget_key("a")
    assert counters.waiting("a") == 0
    assert counters.waits("a") is None
