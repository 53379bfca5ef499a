"""What operators change at run time, whom it is bound to, and what a target names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.entries import make_entry

from fastroute.router.control.relays import node_op
from fastroute.router.control.state import StateStore, load
from fastroute.router.control.status import state_of
from fastroute.router.control.table.overrides import (
    Change,
    ChangeError,
    NodeName,
    apply,
    end_sessions,
    find,
    read_change,
)
from fastroute.router.control.table.table import Table
from fastroute.router.control.table_dump import dump
from fastroute.router.protocol.override_target import AmbiguousTarget
from fastroute.router.protocol.subscription import Announcement, Entry

ID = "4e1243bd22c66e76c2ba9eddc1f91394e57f9f83e57f9f834e1243bd22c66e76"
DRAIN, UNDRAIN = Change("drain"), Change("undrain")
NODE = ("foo.com", "10.0.0.1:80")


def say(table: Table, *entries: Entry, source: str = "docker", seq: int = 1, instance: int = 1) -> None:
    table.apply(Announcement(entries=entries, source=source, instance=instance, seq=seq), "127.0.0.1", 0.0)


def filled(**fields: object) -> Table:
    table = Table()
    say(table, make_entry(*NODE, owner=f"{ID}@1", **fields))  # type: ignore[arg-type]
    return table


def shown(table: Table, node: NodeName = NODE) -> tuple[str, int, int]:
    """State, weight, and what relays are told of draining."""
    member = table.member(*node)
    assert member is not None
    return state_of(member, False), member.weight, int(node_op(node[0], member)[3].get("draining", 0))


def named(table: Table, target: str) -> set[NodeName]:
    found: list[NodeName] = []
    for part in find(table, target):
        found = part or []
    return set(found)


def test_a_change_stands_over_announcements_until_undone() -> None:
    table = filled(weight=3)
    assert apply(table, NODE, DRAIN)
    assert shown(table) == ("draining", 3, 1)
    say(table, make_entry(*NODE, owner=f"{ID}@1", weight=5), seq=2)
    assert shown(table) == ("draining", 5, 1)
    assert apply(table, NODE, Change("weight", 7))
    assert shown(table) == ("draining", 7, 1)
    assert apply(table, NODE, UNDRAIN)
    assert shown(table) == ("ready", 7, 0)
    assert apply(table, NODE, Change("weight", 0))
    assert shown(table) == ("draining", 0, 1)
    assert apply(table, NODE, Change("weight"))
    assert shown(table) == ("ready", 5, 0)
    assert not apply(table, ("foo.com", "10.0.0.2:80"), DRAIN)


def test_an_undrain_ends_a_weight_of_0_too_as_at_the_controller() -> None:
    table = filled(weight=3)
    assert apply(table, NODE, Change("weight", 0))
    assert apply(table, NODE, DRAIN)
    assert apply(table, NODE, UNDRAIN)
    assert shown(table) == ("ready", 3, 0)


def test_a_weight_makes_a_node_of_weight_0_serve_and_a_drain_of_its_announcer_stands() -> None:
    table = filled(weight=0, drain=True)
    assert shown(table) == ("draining", 0, 1)
    apply(table, NODE, Change("weight", 2))
    assert shown(table) == ("ready", 2, 0)
    drained = filled(weight=4, drain=True)
    assert shown(drained) == ("draining", 4, 1)
    apply(drained, NODE, Change("weight", 2))
    assert shown(drained) == ("draining", 2, 1)


def test_it_ends_with_the_last_owner_of_that_time_and_is_no_business_of_the_next() -> None:
    table = filled()
    say(table, Entry(*NODE), source="", instance=-1, seq=-1)
    apply(table, NODE, DRAIN)
    say(table, Entry(*NODE, owner="another@2"), seq=2)
    say(table, Entry(*NODE, owner=f"{ID}@1", gone=True), seq=3)
    assert shown(table)[0] == "draining", "the worker itself is left of those who were there"
    say(table, Entry(*NODE, gone=True), source="", instance=-1, seq=-1)
    assert shown(table)[0] == "ready", "the container that got the address is not drained"


def test_a_new_instance_of_the_controller_says_the_same_owners_and_changes_nothing() -> None:
    table = filled()
    apply(table, NODE, DRAIN)
    say(table, Entry(*NODE, owner=f"{ID}@1"), instance=2, seq=1)
    table.apply(Announcement("mark", (), "docker", 2, 2, since=1, count=1), "127.0.0.1", 0.0)
    assert shown(table)[0] == "draining"


@pytest.fixture
def fds() -> Iterator[tuple[int, int]]:
    opened = os.memfd_create("a"), os.memfd_create("b")
    yield opened
    for fd in opened:
        os.close(fd)


def test_a_successor_knows_it_from_the_log_the_snapshot_and_the_file(fds: tuple[int, int], tmp_path: Path) -> None:
    table = filled()
    store = StateStore(fds, tmp_path)
    store.write(dump(table, "00ff", 0.0))
    apply(table, NODE, DRAIN)
    store.append_change([NODE], DRAIN)

    def successor() -> Table:
        again = Table()
        assert StateStore(fds, None).read(again, 1.0) is not None
        return again

    assert shown(successor())[0] == "draining"
    apply(table, NODE, Change("weight", 9))
    store.write(dump(table, "00ff", 0.0))
    assert shown(successor()) == ("draining", 9, 1)
    say(table, Entry(*NODE, owner=f"{ID}@1", gone=True), seq=2)
    store.write(dump(table, "00ff", 0.0))
    assert successor().node_count == 0
    store.wait_written()
    assert json.loads((tmp_path / "pools.json").read_bytes())["overrides"] == []


class TestTargets:
    def setup_method(self) -> None:
        self.table = filled()
        say(self.table, Entry("foo.com", "10.0.0.2:80", owner="4e12ffff@1"), Entry("bar.com", "10.0.0.1:80"), seq=2)
        say(self.table, Entry("named.com", "web:80"), Entry("cafe", "/run/a@b.sock"), seq=3)
        self.table.resolved("web:80", ("10.0.0.7", "10.0.0.8"), 0.0)

    @pytest.mark.parametrize(
        ("target", "nodes"),
        [
            ("foo.com", {NODE, ("foo.com", "10.0.0.2:80")}),
            ("FOO.com.", {NODE, ("foo.com", "10.0.0.2:80")}),
            ("10.0.0.1:80", {NODE, ("bar.com", "10.0.0.1:80")}),
            ("foo.com@10.0.0.1:80", {NODE}),
            ("web:80", {("named.com", "10.0.0.7:80"), ("named.com", "10.0.0.8:80")}),
            ("/run/a@b.sock", {("cafe", "/run/a@b.sock")}),
            ("cafe@/run/a@b.sock", {("cafe", "/run/a@b.sock")}),
            (ID, {NODE}),
            (ID[:12], {NODE}),
            (ID[:6], {NODE}),
            ("4e12ffff", {("foo.com", "10.0.0.2:80")}),
            ("cafe", {("cafe", "/run/a@b.sock")}),
            ("foo.com@10.0.0.9:80", set()),
            ("other.com", set()),
            ("4", set()),
        ],
    )
    def test_a_target_names(self, target: str, nodes: set[NodeName]) -> None:
        assert named(self.table, target) == nodes

    def test_the_beginning_of_several_ids_names_none(self) -> None:
        with pytest.raises(AmbiguousTarget, match="not one container"):
            named(self.table, "4e12")

    def test_a_container_is_named_by_four_characters_and_before_a_key(self) -> None:
        say(self.table, Entry("4e12f", "10.0.0.3:80"), seq=5)
        assert named(self.table, "4e12f") == {("foo.com", "10.0.0.2:80")}
        say(self.table, Entry("only.com", "10.0.0.4:80", owner="9a8b7c@1"), seq=6)
        assert named(self.table, "9a8") == set()
        assert named(self.table, "9a8b") == {("only.com", "10.0.0.4:80")}

    def test_looking_through_many_nodes_lets_others_have_a_turn(self) -> None:
        say(self.table, *(Entry("many.com", f"10.1.{n // 250}.{n % 250}:80") for n in range(2000)), seq=4)
        assert list(find(self.table, "nothing-like-it"))[:-1] == [None] * 4


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("drain", b"", "target"),
        ("drain", b"[" * 8_000, "target"),
        ("weight", b'{"target":' * 800, "target"),
        ("drain", b"[]", "target"),
        ("drain", b'{"target": 3}', "target"),
        ("drain", b'{"target": " "}', "target"),
        ("drain", b'{"target": "a", "weight": 3}', "weight"),
        ("weight", b'{"target": "a"}', "from 0 to 65535"),
        ("weight", b'{"target": "a", "weight": -1}', "from 0 to 65535"),
        ("weight", b'{"target": "a", "weight": true}', "from 0 to 65535"),
        ("weight", b'{"target": "a", "weight": 1.5}', "from 0 to 65535"),
    ],
)
def test_a_change_that_makes_no_sense_is_said(verb: str, body: bytes, said: str) -> None:
    with pytest.raises(ChangeError, match=said):
        read_change(verb, body)


def test_what_is_asked_for() -> None:
    assert read_change("weight", b'{"target": " a ", "weight": 0}') == ("a", Change("weight", 0))
    assert read_change("weight", b'{"target": "a", "weight": null}') == ("a", Change("weight", None))
    assert read_change("undrain", b'{"target": "a"}') == ("a", UNDRAIN)


def test_sessions_of_a_drained_node_end_in_time_and_relays_are_told() -> None:
    table = filled()
    target, change = read_change("drain", b'{"target": "foo.com", "sessions": 60}')
    assert (target, change) == ("foo.com", Change("drain", sessions=60.0))
    apply(table, NODE, change)

    def told() -> object:
        member = table.member(*NODE)
        assert member is not None
        return node_op(NODE[0], member)[3].get("sessions")

    assert (shown(table), told()) == (("draining", 1, 1), 60.0)
    for now in (100.0, 159.0):
        table.dirty_nodes.clear()
        end_sessions(table, now)
        assert (told(), table.dirty_nodes) == (60.0, {})
    end_sessions(table, 160.0)
    assert (shown(table), told(), table.dirty_nodes) == (("draining", 1, 1), None, {NODE: None})
    apply(table, NODE, change)
    apply(table, NODE, UNDRAIN)
    end_sessions(table, 161.0)
    assert (shown(table), told(), table.session_ends) == (("ready", 1, 0), None, {})


def test_sessions_are_kept_through_a_restart_of_control(tmp_path: Path) -> None:
    table = filled()
    apply(table, NODE, Change("drain", sessions=60.0))
    again = Table()
    load(dump(table, "boot", 5.0), again, 5.0, 0.0)
    member = again.member(*NODE)
    assert member is not None
    assert (member.draining, member.sessions) == (True, 60.0)
    end_sessions(again, 5.0)
    end_sessions(again, 66.0)
    assert (member.draining, member.sessions) == (True, 0.0)


@pytest.mark.parametrize("sessions", ["-1", "true", '"60"', "86401", "null"])
def test_sessions_that_are_no_time_are_refused(sessions: str) -> None:
    with pytest.raises(ChangeError, match="sessions: a number of seconds from 0 to 86400 expected"):
        read_change("drain", f'{{"target": "foo.com", "sessions": {sessions}}}'.encode())
    with pytest.raises(ChangeError, match="'sessions' is not known here"):
        read_change("undrain", f'{{"target": "foo.com", "sessions": {sessions}}}'.encode())
