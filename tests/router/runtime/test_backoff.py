"""Delays between attempts that fail."""

from __future__ import annotations

from fastroute.router.runtime.backoff import Backoff, doubled


def test_delays_double_up_to_the_last_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert [backoff.next() for _ in range(2)] == [0.1, 0.2]


def test_a_lower_maximum_holds_for_one_delay_and_those_after_it_grow_from_there() -> None:
    backoff = Backoff(1.0, 16.0)
    assert [backoff.next(), backoff.next(), backoff.next(1.0), backoff.next(), backoff.next(99.0)] == [1, 2, 1, 2, 4]


def test_the_delay_after_a_number_of_failures_is_that_of_a_series() -> None:
    backoff = Backoff(0.25, 30.0)
    assert [backoff.next() for _ in range(9)] == [doubled(0.25, 30.0, failures) for failures in range(9)]
    assert doubled(0.25, 30.0, 10**9) == 30.0
