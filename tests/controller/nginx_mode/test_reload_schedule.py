"""When a configuration is tried."""

import pytest

from fastroute.controller.nginx_mode.reload_schedule import REMOVAL_BURST, ReloadSchedule


def test_nothing_changed_nothing_due() -> None:
    assert ReloadSchedule(1).due is None


def test_changes_are_collected_until_it_is_quiet_or_a_second_is_over() -> None:
    schedule = ReloadSchedule(1)
    schedule.changed(10.0)
    assert schedule.due == 10.1
    schedule.changed(10.05)
    assert schedule.due == 10.05 + 0.1
    for tenth in range(1, 20):
        schedule.changed(10.0 + tenth * 0.09)
    assert schedule.due == 11.0


def test_reloads_are_an_interval_apart() -> None:
    schedule = ReloadSchedule(1)
    schedule.changed(10.0)
    schedule.begun()
    assert schedule.due is None
    schedule.reloaded(10.2)
    schedule.changed(10.3)
    assert schedule.due == 11.2


def test_an_urgent_change_waits_for_nothing() -> None:
    schedule = ReloadSchedule(60)
    schedule.reloaded(10.0)
    schedule.changed(10.1, "urgent")
    assert schedule.due == 10.1
    schedule.changed(10.2)
    assert schedule.due is not None
    assert schedule.due <= 10.2
    schedule.begun()
    schedule.changed(10.3)
    assert schedule.due == 70.0


def test_a_removal_waits_for_those_that_leave_with_it_and_for_nobody_else() -> None:
    schedule = ReloadSchedule(1)
    schedule.reloaded(10.0)
    schedule.changed(10.2)
    assert schedule.due == 11.0
    schedule.changed(10.3, "removal")
    assert schedule.due == pytest.approx(10.31)
    schedule.changed(10.305, "removal")
    assert schedule.due == pytest.approx(10.315)
    for thousandth in range(30):
        schedule.changed(10.3 + thousandth / 1000, "removal")
    assert schedule.due == pytest.approx(10.33)
    schedule.changed(10.34)
    assert schedule.due == pytest.approx(10.33), "what comes after it does not hold it"
    schedule.begun()
    assert schedule.due is None


def test_removals_without_end_are_as_far_apart_as_the_interval_in_the_long_run() -> None:
    schedule, now, reloads = ReloadSchedule(1), 100.0, []
    while now < 200:
        schedule.changed(now, "removal")
        while schedule.due is not None and schedule.due <= now:
            schedule.begun()
            schedule.reloaded(now)
            reloads.append(now)
        now += 0.005
    assert len(reloads) <= 100 + REMOVAL_BURST
    assert reloads[REMOVAL_BURST - 1] - reloads[0] < 0.2
    for start in range(100, 190):
        assert sum(1 for at in reloads if start <= at < start + 10) <= 10 + REMOVAL_BURST


def test_early_removals_are_made_good_for_after_a_while() -> None:
    schedule = ReloadSchedule(1)
    for start in (10.0, 20.0):
        for number in range(REMOVAL_BURST):
            schedule.changed(start + number / 10, "removal")
            assert schedule.due == pytest.approx(start + number / 10 + 0.01)
            schedule.begun()
            schedule.reloaded(start + number / 10 + 0.02)
        schedule.changed(start + 0.5, "removal")
        # The last three tenths gave 0.3 of a reload back.
        assert schedule.due == pytest.approx(start + 0.32 + 0.7)
        schedule.begun()


def test_a_failure_is_tried_again_less_and_less_often() -> None:
    schedule = ReloadSchedule(1)
    schedule.changed(0.0)
    waits = []
    for _ in range(8):
        schedule.begun()
        schedule.failed(100.0)
        waits.append(schedule.due)
    assert waits == [101.0, 102.0, 104.0, 108.0, 116.0, 130.0, 130.0, 130.0]
    schedule.changed(100.5)
    assert schedule.due == 100.6
    schedule.begun()
    schedule.succeeded()
    schedule.failed(200.0)
    assert schedule.due == 201.0


def test_ten_changes_in_two_seconds_are_three_reloads() -> None:
    schedule, now, reloads = ReloadSchedule(1), 0.0, 0
    changes = [0.2 * number for number in range(10)]
    while now < 6:
        if changes and changes[0] <= now:
            schedule.changed(changes.pop(0))
        if schedule.due is not None and schedule.due <= now:
            schedule.begun()
            schedule.reloaded(now)
            reloads += 1
        now += 0.01
    assert reloads <= 3
    assert schedule.due is None


def test_the_rest_of_what_is_served_in_part_is_next() -> None:
    schedule = ReloadSchedule(1)
    schedule.changed(0.0)
    schedule.begun()
    schedule.succeeded(7.0, unfinished=True)
    assert schedule.due == 8.0
    schedule.begun()
    schedule.succeeded(9.0)
    assert schedule.due is None
