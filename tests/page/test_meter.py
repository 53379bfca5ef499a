"""From counters to what happens per second: never negative, whatever restarts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.fleet import key, node, router_status

from fastroute.page.answers import Status, read_status
from fastroute.page.meter import NOTHING, Meter


def status(requests: int, errors: int = 0, **fields: Any) -> Status:
    statuses = {"2xx": requests - errors, "5xx": errors}
    one = node("a:1", requests=requests, statuses=statuses, **fields)
    return read_status(router_status(key("foo.com", one, requests=requests, statuses=statuses)))


def test_what_is_between_two_readings_is_counted_per_second() -> None:
    meter = Meter(0.0)
    meter.read(status(100), 10.0)
    assert meter.now == {}, "one reading tells nothing"
    meter.read(status(120, errors=5, failures=3, timeouts=1), 12.0)
    now = meter.now["foo.com", ""]
    assert (now.requests, now.statuses) == (10.0, (0.0, 7.5, 0.0, 0.0, 2.5))
    assert meter.now["foo.com", "a:1"].failures == 2.0
    meter.read(status(120, errors=5, failures=3, timeouts=1), 13.0)
    assert meter.now["foo.com", ""] == NOTHING


def test_a_router_that_restarted_begins_at_nothing() -> None:
    meter = Meter(0.0)
    meter.read(status(1000, errors=500), 0.0)
    meter.read(status(4), 2.0)
    assert meter.now["foo.com", ""].requests == 2.0
    meter.forget()
    meter.read(status(9), 3.0)
    assert meter.now == {}


STEPS = st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 10_000)), min_size=2, max_size=40)


@given(STEPS, st.sampled_from([0.0, 10.0]))
def test_rates_are_never_negative_and_span_no_more_than_the_window_asks(
    steps: list[tuple[float, int]], window: float
) -> None:
    meter, at, readings = Meter(window), 0.0, list[tuple[float, int]]()
    for step, requests in steps:
        at += step
        readings.append((at, requests))
        meter.read(status(requests), at)
        for now in meter.now.values():
            assert now.requests >= 0
            assert all(value >= 0 for value in now.statuses)
    # It is the difference to one of the readings before, or to nothing after a restart.
    rate, (last, total) = meter.now["foo.com", ""].requests, readings[-1]
    possible = {(total - before if total >= before else total) / (last - then) for then, before in readings[:-1]}
    assert any(abs(rate - one) < 1e-6 * max(1, one) for one in possible)


def test_a_window_smooths_what_one_second_does() -> None:
    meter, requests = Meter(10.0), 0
    for second in range(40):
        requests += 30 if second % 3 == 0 else 0
        meter.read(status(requests), float(second))
    assert 6 <= meter.now["foo.com", ""].requests <= 15


def test_own_answers_of_the_router_are_counted_by_kind() -> None:
    meter = Meter(0.0)
    meter.read(read_status(router_status(errors={"no-key": 4, "timeout": 1})), 0.0)
    meter.read(read_status(router_status(errors={"no-key": 10, "timeout": 1})), 2.0)
    assert meter.errors == {"no-key": 3.0}
