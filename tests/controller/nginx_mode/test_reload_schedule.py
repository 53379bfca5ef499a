"""When a configuration is tried."""

import pytest

from fastroute.controller.nginx_mode.reload_schedule import BURST, Pace


def test_nothing_changed_nothing_due() -> None:
    assert Pace(1).due is None


def test_changes_are_collected_until_it_is_quiet_or_a_second_is_over() -> None:
    pace = Pace(1)
    pace.changed(10.0)
    assert pace.due == 10.1
    pace.changed(10.05)
    assert pace.due == 10.05 + 0.1
    for tenth in range(1, 20):
        pace.changed(10.0 + tenth * 0.09)
    assert pace.due == 11.0


def test_reloads_are_an_interval_apart() -> None:
    pace = Pace(1)
    pace.changed(10.0)
    pace.begun()
    assert pace.due is None
    pace.reloaded(10.2)
    pace.changed(10.3)
    assert pace.due == 11.2


def test_an_urgent_change_waits_for_nothing() -> None:
    pace = Pace(60)
    pace.reloaded(10.0)
    pace.changed(10.1, "urgent")
    assert pace.due == 10.1
    pace.changed(10.2)
    assert pace.due is not None
    assert pace.due <= 10.2
    pace.begun()
    pace.changed(10.3)
    assert pace.due == 70.0


def test_a_removal_waits_for_those_that_leave_with_it_and_for_nobody_else() -> None:
    pace = Pace(1)
    pace.reloaded(10.0)
    pace.changed(10.2)
    assert pace.due == 11.0
    pace.changed(10.3, "removal")
    assert pace.due == pytest.approx(10.31)
    pace.changed(10.305, "removal")
    assert pace.due == pytest.approx(10.315)
    for thousandth in range(30):
        pace.changed(10.3 + thousandth / 1000, "removal")
    assert pace.due == pytest.approx(10.33)
    pace.changed(10.34)
    assert pace.due == pytest.approx(10.33), "what comes after it does not hold it"
    pace.begun()
    assert pace.due is None


def test_removals_without_end_are_as_far_apart_as_the_interval_in_the_long_run() -> None:
    pace, now, reloads = Pace(1), 100.0, []
    while now < 200:
        pace.changed(now, "removal")
        while pace.due is not None and pace.due <= now:
            pace.begun()
            pace.reloaded(now)
            reloads.append(now)
        now += 0.005
    assert len(reloads) <= 100 + BURST
    assert reloads[BURST - 1] - reloads[0] < 0.2
    for start in range(100, 190):
        assert sum(1 for at in reloads if start <= at < start + 10) <= 10 + BURST


def test_early_removals_are_made_good_for_after_a_while() -> None:
    pace = Pace(1)
    for start in (10.0, 20.0):
        for number in range(BURST):
            pace.changed(start + number / 10, "removal")
            assert pace.due == pytest.approx(start + number / 10 + 0.01)
            pace.begun()
            pace.reloaded(start + number / 10 + 0.02)
        pace.changed(start + 0.5, "removal")
        # The last three tenths gave 0.3 of a reload back.
        assert pace.due == pytest.approx(start + 0.32 + 0.7)
        pace.begun()


def test_a_failure_is_tried_again_less_and_less_often() -> None:
    pace = Pace(1)
    pace.changed(0.0)
    waits = []
    for _ in range(8):
        pace.begun()
        pace.failed(100.0)
        waits.append(pace.due)
    assert waits == [101.0, 102.0, 104.0, 108.0, 116.0, 130.0, 130.0, 130.0]
    pace.changed(100.5)
    assert pace.due == 100.6
    pace.begun()
    pace.succeeded()
    pace.failed(200.0)
    assert pace.due == 201.0


def test_ten_changes_in_two_seconds_are_three_reloads() -> None:
    pace, now, reloads = Pace(1), 0.0, 0
    changes = [0.2 * number for number in range(10)]
    while now < 6:
        if changes and changes[0] <= now:
            pace.changed(changes.pop(0))
        if pace.due is not None and pace.due <= now:
            pace.begun()
            pace.reloaded(now)
            reloads += 1
        now += 0.01
    assert reloads <= 3
    assert pace.due is None


def test_the_rest_of_what_is_served_in_part_is_next() -> None:
    pace = Pace(1)
    pace.changed(0.0)
    pace.begun()
    pace.succeeded(7.0, unfinished=True)
    assert pace.due == 8.0
    pace.begun()
    pace.succeeded(9.0)
    assert pace.due is None
