"""Pauses and maintenance in the table: who holds a key, until when, and that nothing of it outlives its end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.entries import make_entry

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.relays import snapshot_ops, state_op, take_part
from fastroute.router.control.state import load
from fastroute.router.control.table.table import Table
from fastroute.router.control.table_dump import dump
from fastroute.router.protocol.key_state import (
    MAINTENANCE,
    MAX_MESSAGE,
    MAX_NETWORKS,
    PAUSED,
    STATE_OWNER,
    AnnouncedState,
    StateProblem,
    read_state_change,
)
from fastroute.router.protocol.subscription import Announcement, Entry

PAUSE = AnnouncedState(PAUSED, seconds=30, stamp=1)
CLOSED = AnnouncedState(MAINTENANCE, "back at 9", ("10.0.0.0/8",), stamp=2)


def hold(table: Table, state: AnnouncedState | None, now: float, *, source: str = "operator", key: str = "foo.com",
         instance: int = -1, seq: int = -1) -> None:  # fmt: skip
    entry = Entry(key, owner=STATE_OWNER, state=state or PAUSE, gone=state is None)
    table.apply(Announcement(entries=(entry,), source=source, instance=instance, seq=seq), "127.0.0.1", now)


def shown(table: Table, key: str = "foo.com") -> str:
    held = table.states.of(key)
    return held.state.name if held else "serving"


def kinds(table: Table) -> list[str]:
    found: list[str] = [note.kind for note in table.notes]
    table.notes.clear()
    return found


def test_a_paused_key_is_known_without_a_node_and_the_pause_ends_by_time() -> None:
    table = Table()
    hold(table, PAUSE, 100)
    assert (shown(table), kinds(table)) == ("paused", ["pool-new", "key-paused"])
    table.states.dirty.clear()
    table.expire(129.9)
    assert shown(table) == "paused"
    table.expire(130)
    assert (shown(table), kinds(table)) == ("serving", ["key-resumed", "pool-forgotten"])
    assert list(table.states.dirty) == ["foo.com"]
    assert not list(table.records())


def test_a_key_that_had_nodes_keeps_its_grace_after_the_pause() -> None:
    table = Table(key_grace=60)
    table.apply(Announcement(entries=(make_entry("foo.com", "10.0.0.1:80", wait=7.0),)), "127.0.0.1", 0)
    hold(table, replace(PAUSE, seconds=600), 1)
    table.apply(Announcement(entries=(Entry("foo.com", "10.0.0.1:80", gone=True),)), "127.0.0.1", 2)
    table.expire(400)
    assert table.pools["foo.com"].options.wait == 7, "as its last worker said"
    restarted = Table(key_grace=60)
    load(dump(table, "0" * 16, 400), restarted, 400, 0)
    table = restarted
    assert table.pools["foo.com"].options.wait == 7
    hold(table, None, 500)
    assert shown(table) == "serving"
    table.expire(559)
    assert "foo.com" in table.pools, "who is to serve it may only be starting"
    table.expire(561)
    assert "foo.com" not in table.pools


def test_a_key_that_was_only_held_is_forgotten_with_its_state_so_that_a_wildcard_serves_it_again() -> None:
    table = Table()
    hold(table, CLOSED, 0)
    hold(table, None, 1)
    assert "foo.com" not in table.pools
    hold(table, CLOSED, 2)
    table.apply(Announcement(entries=(Entry("foo.com", "10.0.0.1:80"),)), "127.0.0.1", 3)
    hold(table, None, 4)
    assert list(table.pools["foo.com"].members) == ["10.0.0.1:80"]


def test_the_same_pause_again_does_not_last_longer_and_another_one_does() -> None:
    table = Table()
    for now in (0, 10, 20):
        hold(table, PAUSE, now, source="ctl", instance=1, seq=now + 1)
    table.expire(30)
    assert shown(table) == "serving"
    hold(table, PAUSE, 31, source="ctl", instance=2, seq=1)
    assert shown(table) == "serving", "a controller that has not heard of the end yet does not begin anew"
    hold(table, replace(PAUSE, stamp=9), 32, source="ctl", instance=2, seq=2)
    assert shown(table) == "paused"


def test_the_operator_of_the_router_wins_and_what_a_controller_asks_for_stands_behind() -> None:
    table = Table()
    hold(table, PAUSE, 0, source="ctl", instance=1, seq=1)
    hold(table, CLOSED, 1)
    assert shown(table) == "maintenance"
    hold(table, None, 2)
    assert shown(table) == "paused"
    told = [kind for kind in kinds(table) if kind.startswith("key-")]
    assert told == ["key-paused", "key-maintenance", "key-paused"]
    hold(table, None, 3, source="ctl", instance=1, seq=2)
    assert shown(table) == "serving"


def test_a_controller_that_forgets_a_state_in_its_full_announcement_ends_it() -> None:
    table = Table()
    hold(table, CLOSED, 0, source="ctl", instance=1, seq=1)
    mark = Announcement(op="mark", source="ctl", instance=2, seq=2, since=1)
    assert table.apply(mark, "127.0.0.1", 1) == "applied"
    assert shown(table) == "serving"


def test_relays_are_told_what_is_left_and_of_a_snapshot_only_what_is_held() -> None:
    table = Table()
    hold(table, PAUSE, 100)
    hold(table, CLOSED, 100, key="bar.com")
    table.apply(Announcement(entries=(Entry("baz.com", "10.0.0.1:80"),)), "127.0.0.1", 100)
    ops = list(snapshot_ops(table, ConfiguredNodes(fallback=(), to=()), True, lambda: 110.0))
    assert [op for op in ops if op[0] == "state"] == [
        ["state", "foo.com", {"state": "paused", "seconds": 20.0}],
        ["state", "bar.com", {"state": "maintenance", "message": "back at 9", "allow": ["10.0.0.0/8"]}],
    ]
    assert state_op("foo.com", None, 0) == ["state", "foo.com", {"state": "serving"}]


def test_the_largest_state_is_one_op() -> None:
    networks = tuple(f"2001:db8:1111:2222:3333:4444:5555:{number:x}/128" for number in range(MAX_NETWORKS))
    state = AnnouncedState(MAINTENANCE, "\U0001f6a7" * MAX_MESSAGE, networks, 1.5, 10**18)
    table = Table()
    hold(table, state, 0, key="ÿ" * 255)
    ops = iter([state_op("ÿ" * 255, table.states.of("ÿ" * 255), 0)] * 30)
    while part := take_part(ops):
        assert sum(map(len, part)) + len(part) < 60_000


class Lives(RuleBasedStateMachine):
    """Operators and controllers hold and release keys, time goes by, the router is restarted: a model says what is
    held, and a router that was restarted at any moment says the same."""

    keys = st.sampled_from(["foo.com", "*.bar.com", "baz.com/api"])
    sources = st.sampled_from(["operator", "ctl-a", "site"])

    def __init__(self) -> None:
        super().__init__()
        self.table, self.now, self.seq = Table(key_grace=5, stale_max=1e9), 0.0, 0
        #: (key, source) -> name, end
        self.model: dict[tuple[str, str], tuple[str, float | None]] = {}

    @rule(key=keys, source=sources, seconds=st.sampled_from([0, 1, 7, 30]))
    def held(self, key: str, source: str, seconds: int) -> None:
        self.seq += 1
        state = AnnouncedState(PAUSED if seconds else MAINTENANCE, seconds=seconds, stamp=self.seq)
        instance, seq = (-1, -1) if source == "operator" else (1, self.seq)
        hold(self.table, state, self.now, source=source, key=key, instance=instance, seq=seq)
        self.model[key, source] = state.name, self.now + seconds if seconds else None

    @rule(key=keys, source=sources)
    def released(self, key: str, source: str) -> None:
        self.seq += 1
        instance, seq = (-1, -1) if source == "operator" else (1, self.seq)
        hold(self.table, None, self.now, source=source, key=key, instance=instance, seq=seq)
        self.model.pop((key, source), None)

    @rule(seconds=st.sampled_from([0.5, 1, 5, 40]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.table.expire(self.now)
        self.model = {at: row for at, row in self.model.items() if row[1] is None or row[1] > self.now}

    @rule(shift=st.sampled_from([-500.0, 0.0, 1e6]), age=st.sampled_from([0.0, 2.0]))
    def restarted(self, shift: float, age: float) -> None:
        data = dump(self.table, "0" * 16, self.now)
        self.now += age
        table = Table(key_grace=5, stale_max=1e9)
        load(data, table, self.now + shift, age)
        for at, (name, until) in list(self.model.items()):
            self.model[at] = name, None if until is None else until + shift
        self.now += shift
        self.table = table
        self.time_goes_by(0)

    @invariant()
    def agrees(self) -> None:
        for key in ("foo.com", "*.bar.com", "baz.com/api"):
            rows = {source: row for (held, source), row in self.model.items() if held == key}
            want = rows.get("operator") or rows.get("site") or rows.get("ctl-a")
            assert shown(self.table, key) == (want[0] if want else "serving")
            held = self.table.states.of(key)
            if want and held:
                assert held.until == (want[1] if want[1] is None else pytest.approx(want[1], abs=1e-3))
            assert not want or key in self.table.pools
        for source in self.table.sources.values():
            assert source.digest == sum(claim.entry.digest() for claim in source.claims.values()) % 2**64


TestLives = Lives.TestCase


@pytest.mark.parametrize(
    ("verb", "body", "want"),
    [
        ("pause", {"key": "foo.com"}, AnnouncedState(PAUSED, seconds=30, stamp=5)),
        ("pause", {"key": "foo.com", "seconds": 600}, AnnouncedState(PAUSED, seconds=600, stamp=5)),
        ("resume", {"key": " foo.com "}, None),
        ("maintenance", {"key": "foo.com"}, AnnouncedState(MAINTENANCE, stamp=5)),
        (
            "maintenance",
            {"key": "foo.com", "message": "x", "allow": ["10.1.2.3/8", "::1", "10.0.0.0/8"], "seconds": 1.5},
            AnnouncedState(MAINTENANCE, "x", ("10.0.0.0/8", "::1/128"), 1.5, 5),
        ),
    ],
)
def test_what_people_ask_for(verb: str, body: dict[str, object], want: AnnouncedState | None) -> None:
    change = read_state_change(verb, json.dumps(body).encode(), 5)
    assert (change.key, change.state) == ("foo.com", want)


@pytest.mark.parametrize(
    ("verb", "body", "why"),
    [
        ("pause", [], r'like {"key": "...", "seconds": S} expected'),
        ("pause", {"key": ""}, "expected"),
        ("pause", {"key": "foo.com", "second": 3}, "'second' is not known here"),
        ("pause", {"key": "foo.com", "seconds": 601}, "above 0 expected, at most 600"),
        ("pause", {"key": "foo.com", "seconds": 0}, "above 0"),
        ("pause", {"key": "foo.com", "seconds": True}, "above 0"),
        ("pause", {"key": "foo.com", "seconds": 10**400}, "above 0"),
        ("pause", {"key": "foo.com", "seconds": float("nan")}, "above 0"),
        ("resume", {"key": "foo.com", "seconds": 3}, '{"key": "..."} expected'),
        ("maintenance", {"key": "foo.com", "allow": "10.0.0.0/8"}, "networks expected"),
        ("maintenance", {"key": "foo.com", "allow": ["10.0.0.0/8"] * 17}, "at most 16 networks"),
        ("maintenance", {"key": "foo.com", "allow": ["10.0.0.0/99"]}, "10.0.0.0/99"),
        ("maintenance", {"key": "foo.com", "allow": ["fe80::1%eth0"]}, "networks expected"),
        ("maintenance", {"key": "foo.com", "message": "x" * 301}, "at most 300"),
        ("maintenance", {"key": "foo.com", "message": "a\nb"}, "one line"),
        ("maintenance", {"key": "foo.com", "message": 7}, "one line"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected(verb: str, body: object, why: str) -> None:
    with pytest.raises(StateProblem) as refused:
        read_state_change(verb, json.dumps(body).encode(), 5)
    assert why in str(refused.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    with pytest.raises(StateProblem):
        read_state_change("maintenance", body, 5)
