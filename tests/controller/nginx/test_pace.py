"""When a configuration is tried."""

from fastroute.controller.nginx.pace import Pace


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
    pace.changed(10.1, urgent=True)
    assert pace.due == 10.1
    pace.changed(10.2)
    assert pace.due is not None
    assert pace.due <= 10.2
    pace.begun()
    pace.changed(10.3)
    assert pace.due == 70.0


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
