"""The schedule as a pure function: back-off, limits, renewal, restarts, clocks; with a model of a CA's limits."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastroute.certs.decide import schedule
from fastroute.certs.decide.outcomes import CaFailed, Failed, Issued, Limited, Outcome, RenewalInfo, apply
from fastroute.certs.decide.records import CaRecord, HostRecord, read_state, write_state
from fastroute.certs.decide.schedule import DEFAULT_HOLD, MAX_BACKOFF, MIN_BACKOFF, Certificate, plan

NOW = 1_800_000_000.0
DAY = 86_400.0
CA = "https://ca.test/directory"


def draw(low: float, high: float) -> float:
    return low


def cert(start: float = NOW, life: float = 90 * DAY, **more: object) -> Certificate:
    known = {"issuer": "CA", "serial": "1", "self_signed": False, **more}
    return Certificate(start, start + life, **known)  # type: ignore[arg-type]


def record(**fields: object) -> HostRecord:
    return HostRecord("foo.com", wanted_at=NOW, **fields)  # type: ignore[arg-type]


def test_failures_back_off_from_a_minute_to_a_day() -> None:
    state, delays = record(), []
    for _ in range(14):
        state = schedule.failed(state, "no", NOW, draw)
        delays.append(state.next_attempt - NOW)
    assert delays[:4] == [60, 120, 240, 480]
    assert delays[-1] == MAX_BACKOFF
    assert max(delays) == MAX_BACKOFF
    assert schedule.failed(state, "no", NOW, lambda low, high: high).next_attempt - NOW == MAX_BACKOFF


def test_a_host_that_does_not_come_here_is_looked_for_every_hour() -> None:
    state = record()
    for _ in range(14):
        state = schedule.failed(state, "no", NOW, draw, asked=False)
    assert state.next_attempt == NOW + 3600


def test_retry_after_counts_where_it_is_longer() -> None:
    assert schedule.failed(record(), "no", NOW, draw, retry_after=500).next_attempt == NOW + 500
    assert schedule.ca_failed(CaRecord(), "no", NOW, draw, retry_after=500).held_until == NOW + 500
    assert schedule.limited(CaRecord(), "no", NOW, retry_after=500).held_until == NOW + 500
    assert schedule.limited(CaRecord(), "no", NOW).held_until == NOW + DEFAULT_HOLD
    assert schedule.limited(CaRecord(), "no", NOW, retry_after=1e9).held_until == NOW + 8 * DAY


def test_a_success_of_somebody_else_does_not_end_a_limit() -> None:
    held = schedule.limited(CaRecord(directory=CA), "no", NOW, retry_after=500)
    assert schedule.ca_answered(held, NOW + 1).held_until == NOW + 500
    assert schedule.ca_answered(held, NOW + 501) == CaRecord(directory=CA)


def test_sixteen_that_fail_together_are_one_failure_of_the_ca() -> None:
    ca = CaRecord(directory=CA)
    for _ in range(16):
        ca = schedule.ca_failed(ca, "away", NOW, draw)
    assert (ca.failures, ca.held_until) == (1, NOW + MIN_BACKOFF)


def test_after_a_failure_of_the_ca_one_goes_first_and_not_always_the_same() -> None:
    hosts = [HostRecord(f"h{number}", attempted_at=NOW - number) for number in range(5)]
    ca = CaRecord(directory=CA, failures=1, held_until=NOW)
    assert [due.host for due in plan(hosts, {}, ca, set(), 16, NOW).due] == ["h4"]
    assert plan(hosts, {}, ca, {"h4"}, 15, NOW).due == []
    assert plan(hosts, {}, ca, set(), 16, NOW - 1).next_time == NOW


def test_who_has_no_certificate_goes_first() -> None:
    old = cert(NOW - 80 * DAY)
    hosts = [HostRecord("a", directory=CA, serial="1", renewal_info_at=NOW + DAY), HostRecord("b", attempted_at=NOW)]
    due = plan(hosts, {"a": old, "b": cert(self_signed=True)}, CaRecord(directory=CA), set(), 1, NOW).due
    assert [(one.host, one.action) for one in due] == [("b", "order")]


def test_a_third_of_the_life_or_the_word_of_the_ca() -> None:
    state, certificate = record(directory=CA, serial="1"), cert()
    by_life = schedule.renewal_time(state, certificate)
    assert NOW + 55 * DAY < by_life <= NOW + 60 * DAY
    early = dataclasses.replace(state, renew_at=NOW + 50 * DAY)
    assert schedule.renewal_time(early, certificate) == NOW + 50 * DAY
    late = dataclasses.replace(state, renew_at=NOW + 89.9 * DAY)
    assert schedule.renewal_time(late, certificate) == NOW + 81 * DAY
    # What it said of another certificate means nothing.
    assert schedule.renewal_time(dataclasses.replace(early, serial="0"), certificate) == by_life


def test_a_ca_that_always_wants_renewals_now_gets_two_in_a_row() -> None:
    state, ca, certificate, times = record(directory=CA), CaRecord(directory=CA), cert(), []
    now = NOW
    for number in range(5):
        info = RenewalInfo("foo.com", now - 1, now + 6 * 3600)
        state = apply(info, dataclasses.replace(state, serial=certificate.serial), ca, certificate, now, draw).record
        now = max(schedule.order_time(state, certificate, CA), now) + 1
        times.append(now)
        fresh = cert(now, serial=str(number + 2))
        state = apply(Issued("foo.com", fresh), schedule.begun(state, now), ca, certificate, now, draw).record
        certificate = fresh
    assert times[1] - times[0] < 10
    assert times[2] - times[1] > 14 * DAY
    # One that was kept for its time: the CA may ask for early ones again.
    assert times[4] - times[3] < 10


def test_a_certificate_of_another_ca_is_replaced_at_once_and_a_foreign_one_never() -> None:
    assert schedule.order_time(record(directory="https://staging/"), cert(), CA) == 0
    assert schedule.order_time(record(), cert(foreign=True), CA) == float("inf")


def test_an_attempt_that_was_cut_off_goes_on_once_and_then_counts_as_failed() -> None:
    asking = schedule.begun(record(order="https://ca.test/1"), NOW)
    first = schedule.recovered(asking, NOW + 5, draw)
    assert (first.next_attempt, first.failures, first.order) == (NOW + 5, 0, "https://ca.test/1")
    second = schedule.recovered(schedule.begun(first, NOW + 5), NOW + 9, draw)
    assert (second.next_attempt, second.failures) == (NOW + 9 + 60, 1)
    third = schedule.recovered(schedule.begun(second, NOW + 70), NOW + 75, draw)
    assert (third.next_attempt, third.failures) == (NOW + 75 + 120, 2)


def test_a_clock_that_was_set_back_keeps_the_waits_and_no_more() -> None:
    year = 365 * DAY
    ahead = schedule.failed(record(), "no", NOW + 10 * year, draw)
    assert schedule.rebased(ahead, NOW).next_attempt == NOW + 60
    ca = schedule.limited(CaRecord(), "no", NOW + 10 * year, retry_after=500)
    assert schedule.rebased_ca(ca, NOW).held_until == NOW + 500
    domain = schedule.limited(CaRecord(), "no", NOW + 10 * year, retry_after=500, domain="foo.com")
    assert schedule.held_until("a.foo.com", schedule.rebased_ca(domain, NOW)) == NOW + 500
    assert schedule.held_until("afoo.com", domain) == 0
    info = schedule.renewal_info(record(), cert(NOW + 10 * year), None, NOW + 10 * year, NOW + 10 * year)
    assert schedule.rebased(info, NOW).renewal_info_at <= NOW + DAY


def test_a_clock_that_jumps_ahead_removes_nothing_that_a_ca_signed_at_once() -> None:
    state, certificate = record(), cert()
    assert not schedule.removable(state, certificate, NOW + 6 * DAY)
    assert not schedule.removable(state, certificate, NOW + 96 * DAY)
    assert schedule.removable(state, certificate, NOW + 98 * DAY)
    assert schedule.removable(state, cert(self_signed=True), NOW + 2 * DAY)
    assert not schedule.removable(state, cert(foreign=True), NOW + 900 * DAY)


times = st.floats(NOW - 1e6, NOW + 1e6)
records = st.builds(
    HostRecord, st.from_regex(r"[a-z]{1,8}\.com", fullmatch=True), times, times, times, st.integers(0, 80),
    st.booleans(), st.integers(0, 5), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20),
    st.text(max_size=5), times, times, st.integers(0, 3),
)  # fmt: skip
cas = st.builds(
    CaRecord, st.just(CA), st.integers(0, 9), times, times, st.text(max_size=9),
    st.dictionaries(st.just("foo.com"), st.tuples(times, times)),
)  # fmt: skip


@given(st.lists(records, unique_by=lambda one: one.host), cas)
def test_what_is_written_is_read(hosts: list[HostRecord], ca: CaRecord) -> None:
    assert read_state(json.loads(json.dumps(write_state(hosts, ca)))) == ({one.host: one for one in hosts}, ca)


names = st.sampled_from(["hosts", "ca", "host", "order", "domains", "failures", "asking"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_whatever_stands_in_the_file_is_read_as_something(value: object) -> None:
    hosts, ca = read_state(value)
    assert plan(hosts.values(), {}, ca, set(), 3, NOW).next_time > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_a_ca_with_limits_is_never_asked_too_early_whatever_happens_to_us(seed: int, number: int) -> None:
    """A model: hosts, a CA that fails, limits and signs by chance, and our own ends and clock jumps in between."""
    dice = random.Random(seed)
    now, ca = NOW, CaRecord(directory=CA)
    hosts = {f"h{index}.test": HostRecord(f"h{index}.test", wanted_at=NOW) for index in range(number)}
    certificates: dict[str, Certificate] = {}
    not_before = 0.0
    attempts: dict[str, list[float]] = {}
    for _ in range(150):
        decision = plan(hosts.values(), certificates, ca, set(), dice.randrange(1, 17), now)
        outcomes: list[Outcome] = []
        for due in decision.due:
            if due.action == "info":
                outcomes.append(RenewalInfo(due.host, dice.choice([None, now, now + 9 * DAY]), now + 3600))
                continue
            assert now >= not_before, "asked before the CA's Retry-After"
            attempts.setdefault(due.host, []).append(now)
            hosts[due.host] = schedule.begun(hosts[due.host], now)
            what = dice.randrange(6)
            if what == 0:
                outcomes.append(Failed(due.host, "no"))
            elif what == 1:
                outcomes.append(CaFailed(due.host, "away", dice.choice([0.0, 900.0])))
            elif what == 2:
                outcomes.append(Limited(due.host, "too much", dice.choice([0.0, 50.0, 5000.0])))
            elif what < 5:
                fresh = cert(now, dice.choice([6, 90]) * DAY, serial=str(dice.random()))
                outcomes.append(Issued(due.host, fresh))
        for outcome in outcomes:
            applied = apply(outcome, hosts[outcome.host], ca, certificates.get(outcome.host), now, dice.uniform)
            hosts[outcome.host], ca = applied.record, applied.ca
            if isinstance(outcome, Issued):
                certificates[outcome.host] = outcome.certificate
            if isinstance(outcome, Limited):
                not_before = max(not_before, now + (outcome.retry_after or 0.0))
            if isinstance(outcome, CaFailed):
                not_before = max(not_before, now + outcome.retry_after)
        if dice.random() < 0.3:
            hosts, ca = read_state(write_state(hosts.values(), ca))
            hosts = {host: schedule.recovered(one, now, dice.uniform) for host, one in hosts.items()}
        else:
            hosts = {host: dataclasses.replace(one, asking=False) for host, one in hosts.items()}
        again = plan(hosts.values(), certificates, ca, set(), 16, now)
        if not again.due:
            assert again.next_time > now
            now = min(again.next_time, now + DAY)
    for host, state in hosts.items():
        # It never gives up.
        assert schedule.order_time(state, certificates.get(host), CA) < now + 100 * DAY


@pytest.mark.parametrize("reason", ["x" * 9999, "a\nb\tc"])
def test_a_reason_is_one_line(reason: str) -> None:
    text = schedule.failed(record(), reason, NOW, draw).reason
    assert "\n" not in text
    assert len(text) <= 400
