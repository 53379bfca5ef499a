"""The lease machine in virtual time: what a router is told of a node, and when."""

from __future__ import annotations

import pytest

from fastroute.router.protocol.subscription import Ack, Entry
from fastroute.router.sidecar.lease import HEARTBEAT, MAX_TRIES, REPORT_DELAY, Lease

KEYS = (Entry("foo.com"), Entry("bar.com"))


def lease(*entries: Entry) -> Lease:
    return Lease(entries or KEYS, lambda low, high: high)


def ack(result: str = "applied", in_flight: int = 0, reason: str = "") -> Ack:
    return Ack(1, "b" * 16, result, in_flight=in_flight, reason=reason)  # type: ignore[arg-type]


def run(one: Lease, start: float, end: float) -> list[tuple[float, str, bool]]:
    """All that is said from ``start`` up to ``end`` if nobody answers: time, key, whether it leaves."""
    said, now = [], start
    while now < end:
        said += [(round(now, 3), entry.key, entry.gone) for _, entry in one.packets(now)]
        now = one.due
    return said


def answer(one: Lease, now: float, **rest: object) -> None:
    for index, _ in one.packets(now):
        one.on_ack(index, now, ack(**rest), now)  # type: ignore[arg-type]


def test_says_every_key_and_keeps_the_lease_well_inside_the_tolerance() -> None:
    one = lease()
    one.join("10.0.0.1:80", 100.0)
    assert [(entry.key, entry.address, entry.gone) for _, entry in one.packets(100.0)] == [
        ("foo.com", "10.0.0.1:80", False), ("bar.com", "10.0.0.1:80", False),
    ]  # fmt: skip
    for index in (0, 1):
        assert not one.acked
        one.on_ack(index, 100.0, ack(), 100.01)
    assert one.acked
    assert one.due == pytest.approx(100.01 + HEARTBEAT[1])
    # Two datagrams in a row may be lost before the original's 17 s are over.
    assert 2 * HEARTBEAT[1] < 17


def test_a_router_that_never_acks_is_an_original_and_told_every_heartbeat() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    times = [time for time, _, _ in run(one, 0.0, 30.0)]
    assert times[:7] == pytest.approx([0, 0.02, 0.06, 0.14, 0.30, 0.62, 1.26], abs=0.001)
    assert one.original
    assert times[7:] == pytest.approx([9.26, 17.26, 25.26], abs=0.001)
    assert len(times) >= MAX_TRIES


def test_a_router_that_acked_and_went_silent_is_asked_once_a_second() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    times = [time for time, _, _ in run(one, one.due, 20.0)]
    assert times[0] == HEARTBEAT[1]
    assert times[-1] - times[-2] == pytest.approx(1.0)
    assert not one.original


def test_a_new_boot_is_told_everything_at_once() -> None:
    one = lease()
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    one.announce_again(3.0)
    assert [entry.key for _, entry in one.packets(3.0)] == ["foo.com", "bar.com"]
    assert not one.acked


def test_again_is_answered_with_the_same_at_once() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0, result="again")
    assert not one.acked
    assert len(one.packets(0.0)) == 1


def test_leaving_waits_until_the_router_says_that_nothing_is_in_flight() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    one.leave(1.0)
    answer(one, 1.0, in_flight=2)
    assert one.withdrawn(1.0)
    assert not one.drained(1.0, grace=0)
    assert one.in_flight == 2
    answer(one, one.due, in_flight=1)
    assert not one.drained(one.due, grace=0)
    now = one.due
    answer(one, now, in_flight=0)
    assert one.drained(now, grace=0)
    assert one.due == float("inf")


def test_none_in_flight_is_not_believed_before_relays_had_time_to_report() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    one.leave(1.0)
    answer(one, 1.0, in_flight=0)
    assert not one.drained(1.0, grace=0)
    assert one.due == pytest.approx(1.0 + REPORT_DELAY)
    answer(one, one.due, in_flight=0)
    assert one.drained(2.0, grace=0)


def test_an_ack_of_the_heartbeat_is_no_ack_of_the_withdrawal() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    now = one.due
    ((index, _),) = one.packets(now)
    one.leave(now + 0.01)
    one.on_ack(index, now, ack(), now + 0.02)
    assert not one.withdrawn(now + 0.02)


def test_an_original_is_told_three_times_and_given_the_grace() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    run(one, 0.0, 2.0)
    one.leave(10.0)
    assert run(one, 10.0, 30.0) == [(10.0, "foo.com", True), (10.1, "foo.com", True), (10.5, "foo.com", True)]
    assert not one.withdrawn(10.4)
    assert one.withdrawn(10.6)
    assert not one.drained(14.9, grace=5)
    assert one.drained(15.0, grace=5)


def test_a_router_that_dies_while_we_leave_holds_nobody_up() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    one.leave(10.0)
    run(one, 10.0, 13.0)
    assert one.withdrawn(13.0)
    assert one.drained(13.0, grace=3)


def test_another_address_withdraws_the_old_one() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    one.join("10.0.0.2:80", 5.0)
    said = [(index, entry.address, entry.gone) for index, entry in one.packets(5.0)]
    assert said == [(-1, "10.0.0.1:80", True), (0, "10.0.0.2:80", False)]


def test_back_again_while_leaving() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0)
    one.leave(1.0)
    answer(one, 1.0, in_flight=3)
    one.join("10.0.0.1:80", 1.1)
    assert [entry.gone for _, entry in one.packets(1.1)] == [False]


def test_a_refusal_is_a_problem_and_asked_again_only_at_the_heartbeat() -> None:
    one = lease(KEYS[0])
    one.join("10.0.0.1:80", 0.0)
    answer(one, 0.0, result="refused", reason="you may not")
    assert (one.problem, one.acked) == ("you may not", False)
    assert one.due == pytest.approx(HEARTBEAT[1])
    answer(one, one.due)
    assert (one.problem, one.acked) == ("", True)


def test_what_was_never_announced_needs_no_withdrawal() -> None:
    one = lease()
    one.leave(1.0)
    assert one.withdrawn(1.0)
    assert one.drained(1.0, grace=5)
    assert one.packets(1.0) == []
