"""The snapshot: what was there is there again, and what does not count is set aside."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry
from support.waiting import wait_for

from fastroute.router.control.snapshot_file import SnapshotFile
from fastroute.router.control.state import SnapshotError, StateStore, load
from fastroute.router.control.table.table import Table
from fastroute.router.control.table_dump import dump
from fastroute.router.protocol.key_state import AnnouncedState
from fastroute.router.protocol.subscription import Announcement, Entry, encode, encode_plain

BOOT = "00ff00ff00ff00ff"


def filled() -> Table:
    table = Table()
    table.apply(Announcement(entries=(Entry("self.example", "10.0.0.1:80", cores=2),)), "127.0.0.1", 90)
    table.apply(Announcement(entries=(Entry("name.example", "web:80"),)), "127.0.0.1", 95)
    table.resolved("web:80", ("10.0.0.7", "10.0.0.8"), 95)
    entries = (
        make_entry("c.example", "10.0.0.2:80", weight=5, backup=1, drain=True, owner="c1"),
        Entry("known.example", owner="c1"),
    )
    table.apply(Announcement(entries=entries, source="docker", instance=3, seq=8), "127.0.0.1", 97)
    return table


def members(table: Table) -> dict[str, list[str]]:
    return {name: sorted(pool.members) for name, pool in table.pools.items()}


def test_everything_is_there_again_with_its_age_order_and_owner() -> None:
    before, after = filled(), Table(tolerance=25)
    assert load(dump(before, BOOT, 100), after, 5_000, 2.0) == BOOT
    assert members(after) == members(before)
    assert after.member("c.example", "10.0.0.2:80").entry == before.member("c.example", "10.0.0.2:80").entry  # type: ignore[union-attr]
    source = after.sources["docker"]
    assert (source.instance, source.seq, source.count, source.digest) == (
        3, 8, before.sources["docker"].count, before.sources["docker"].digest,
    )  # fmt: skip
    late = Announcement(entries=(Entry("c.example", "10.0.0.2:80", owner="c1", gone=True),), source="docker",
                        instance=3, seq=7)  # fmt: skip
    after.apply(late, "127.0.0.1", 5_000)
    assert members(after)["c.example"], "an older packet still changes nothing"
    after.expire(5_012)
    assert members(after)["self.example"] == ["10.0.0.1:80"], "10 s and 2 s and 12 s old: not yet"
    after.expire(5_013)
    assert members(after)["self.example"] == []


def test_a_source_tells_all_again_to_a_version_that_knows_other_settings() -> None:
    before, after = filled(), Table(tolerance=25)
    plain = json.loads(dump(before, BOOT, 100))
    plain["settings"].remove("backup")
    for row in plain["claims"]:
        del row[-1]["backup"]
        row[-1]["of_a_later_version"] = 1
    load(json.dumps(plain).encode(), after, 100, 0.0)
    source = before.sources["docker"]
    beat = Announcement(op="heartbeat", source="docker", instance=3, seq=9, count=source.count, digest=source.digest)
    assert after.apply(beat, "127.0.0.1", 100) == "full"
    same = Table()
    load(dump(before, BOOT, 100), same, 100, 0.0)
    assert same.apply(beat, "127.0.0.1", 100) == "applied"


def test_who_counts_for_a_key_and_its_last_word_are_the_same_again() -> None:
    before, after = Table(), Table()
    for number, wait in enumerate((5.0, 7.0)):
        node = make_entry("k", f"10.0.0.{number}:80", wait=wait, max=number)
        before.apply(Announcement(entries=(node,)), "127.0.0.1", 0)
    for gone in (False, True):
        left = make_entry("empty", "10.0.0.9:80", wait=2.5, gone=gone)
        before.apply(Announcement(entries=(left,)), "127.0.0.1", 0)
    load(dump(before, BOOT, 1), after, 1, 0.0)
    assert (after.pools["k"].options.wait, after.pools["empty"].options.wait) == (5.0, 2.5)
    assert after.member("k", "10.0.0.1:80").options.max == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "age", "why"),
    [
        ({}, 102, "102 s old"),
        ({}, -600, "s old"),
        ({"machine_boot": "another"}, 2, "another boot"),
        ({"format": 0}, 2, "another version"),
        ({"claims": [["x"]]}, 2, "damaged"),
        ({"claims": 7}, 2, "damaged"),
    ],
)
def test_a_snapshot_that_does_not_count_says_why_and_changes_nothing(
    change: dict[str, object], age: float, why: str
) -> None:
    data = json.dumps(json.loads(dump(filled(), BOOT, 100)) | change).encode()
    table = Table()
    with pytest.raises(SnapshotError, match=why):
        load(data, table, 0, age)
    assert members(table) == {}


@given(st.binary(max_size=100))
def test_any_bytes_load_or_do_not_count(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        load(data, Table(), 0, 0)


@pytest.fixture
def fds() -> Iterator[tuple[int, int]]:
    fds = os.memfd_create("state-0"), os.memfd_create("state-1")
    yield fds
    for fd in fds:
        os.close(fd)


def packet(key: str, address: str, gone: bool = False) -> bytes:
    return encode_plain(Entry(key, address, gone=gone), Announcement())


def read(fds: tuple[int, int], now: float = 100) -> tuple[str | None, dict[str, list[str]]]:
    table = Table()
    boot_id = StateStore(fds, None).read(table, now)
    return boot_id, members(table)


def test_a_successor_reads_the_newest_snapshot_and_every_change_since(fds: tuple[int, int]) -> None:
    store = StateStore(fds, None)
    store.append(packet("first.example", "10.0.0.1:80"), "127.0.0.1", 99)
    assert read(fds) == (None, {"first.example": ["10.0.0.1:80"]})
    store.write(dump(filled(), BOOT, 100))
    assert read(fds) == (BOOT, members(filled()))
    store.append(packet("self.example", "10.0.0.1:80", gone=True), "127.0.0.1", 100)
    store.append(packet("late.example", ":80"), "10.0.0.9", 100)
    want = members(filled()) | {"self.example": [], "late.example": ["10.0.0.9:80"]}
    assert read(fds) == (BOOT, want)
    successor = StateStore(fds, None)
    successor.read(Table(), 100)
    successor.append(packet("later.example", "10.0.0.1:80"), "127.0.0.1", 101)
    assert read(fds) == (BOOT, want | {"later.example": ["10.0.0.1:80"]})


@given(cut=st.integers(0, 10_000))
def test_a_write_that_was_cut_off_anywhere_loses_only_itself(cut: int) -> None:
    fds = os.memfd_create("state-0"), os.memfd_create("state-1")
    try:
        store = StateStore(fds, None)
        store.write(dump(filled(), BOOT, 100))
        complete = [os.fstat(fd).st_size for fd in fds]
        store.append(packet("late.example", "10.0.0.9:80"), "127.0.0.1", 100)
        (fd,) = [fd for fd in fds if os.fstat(fd).st_size]
        os.ftruncate(fd, min(max(complete) + cut, os.fstat(fd).st_size - 1))
        assert read(fds) == (BOOT, members(filled()))
    finally:
        for fd in fds:
            os.close(fd)


def test_the_older_snapshot_counts_until_the_new_one_is_complete(fds: tuple[int, int]) -> None:
    store = StateStore(fds, None)
    store.write(dump(filled(), BOOT, 100))
    half = dump(Table(), BOOT, 100)[:20]
    (empty,) = [fd for fd in fds if not os.fstat(fd).st_size]
    os.pwrite(empty, b"S" + (1000).to_bytes(8, "big") + bytes(4) + half, 0)
    assert read(fds) == (BOOT, members(filled()))


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000])
def test_a_damaged_file_is_set_aside_and_the_router_starts_empty(
    fds: tuple[int, int], tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "pools.json").write_bytes(data)
    assert StateStore(fds, tmp_path).read(Table(), 0) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pools.refused"]


def writable_by_all(file: Path) -> None:
    file.chmod(0o666)


def elsewhere(file: Path) -> None:
    file.symlink_to(file.rename(file.with_name("elsewhere")))


def somebody_elses(file: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(file, 12345, 12345)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("spoil", [writable_by_all, elsewhere, somebody_elses, a_pipe])
def test_a_snapshot_that_others_may_have_written_is_not_believed_and_that_is_said(
    fds: tuple[int, int], tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = StateStore(fds, tmp_path)
    store.write(dump(filled(), BOOT, 100))
    store.wait_written(5)
    spoil(tmp_path / "pools.json")
    table = Table()
    empty = os.memfd_create("state-0"), os.memfd_create("state-1")
    try:
        assert StateStore(empty, tmp_path).read(table, 1000) is None
    finally:
        for fd in empty:
            os.close(fd)
    assert members(table) == {}
    assert "does not count" in caplog.text
    assert not os.path.lexists(tmp_path / "pools.json")


def test_a_snapshot_is_not_written_through_a_link(
    fds: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "77")
    for name in (f"pools.{os.getpid()}-77.tmp", "pools.json"):
        (tmp_path / name).symlink_to(precious)
    store = StateStore(fds, tmp_path)
    store.write(dump(filled(), BOOT, 100))
    store.wait_written(5)
    assert precious.read_text() == "as it was"
    assert not (tmp_path / "pools.json").is_symlink()
    assert b"self.example" in (tmp_path / "pools.json").read_bytes()


def aged(file: Path, seconds: float) -> None:
    os.utime(file, (time.time() - seconds,) * 2)


def test_a_file_counts_from_the_last_sign_of_life(tmp_path: Path) -> None:
    def read() -> str | None:
        empty = os.memfd_create("state-0"), os.memfd_create("state-1")
        try:
            return StateStore(empty, tmp_path).read(Table(), 1000)
        finally:
            for fd in empty:
                os.close(fd)

    store = StateStore((os.memfd_create("state-0"), os.memfd_create("state-1")), tmp_path)
    store.write(dump(filled(), BOOT, 100))
    store.wait_written(5)
    aged(tmp_path / "pools.json", 600)
    store.touch()
    assert read() == BOOT
    (tmp_path / "pools.json").unlink()
    (tmp_path / "pools.json").mkdir()
    store.write(b"never on disk")
    store.wait_written()
    aged(tmp_path / "pools.json", 600)
    store.touch()
    assert time.time() - (tmp_path / "pools.json").stat().st_mtime > 500, "what is not the newest shows no life"
    (tmp_path / "pools.json").rmdir()
    store.write(dump(filled(), BOOT, 100))
    store.wait_written()
    aged(tmp_path / "pools.json", 61)
    assert read() is None
    assert [path.name for path in tmp_path.iterdir()] == ["pools.refused"]


def test_who_can_not_read_the_pools_of_another_version_leaves_them_to_who_can(fds: tuple[int, int]) -> None:
    store = StateStore(fds, None)
    store.write(json.dumps(json.loads(dump(filled(), BOOT, 100)) | {"format": 99}).encode())
    with pytest.raises(SnapshotError, match="another version"):
        StateStore(fds, None, successor=True).read(Table(), 100)
    assert StateStore(fds, None).read(Table(), 100) is None


def test_a_directory_that_cannot_be_written_stops_nothing(fds: tuple[int, int], tmp_path: Path) -> None:
    store = StateStore(fds, tmp_path / "missing")
    store.write(b"{}")
    store.wait_written(5)


def test_after_the_last_word_nothing_is_written(fds: tuple[int, int]) -> None:
    store = StateStore(fds, None)
    store.write(dump(filled(), BOOT, 100))
    store.remember({"events": []})
    sizes = [os.fstat(fd).st_size for fd in fds]
    store.append(packet("late.example", "10.0.0.9:80"), "127.0.0.1", 100)
    store.write(dump(Table(), BOOT, 100))
    assert [os.fstat(fd).st_size for fd in fds] == sizes
    successor = StateStore(fds, None)
    assert successor.read(Table(), 100) == BOOT
    assert successor.memory == {"events": []}


def test_of_many_snapshots_the_newest_is_on_disk_in_the_end_and_nothing_beside_it(
    fds: tuple[int, int], tmp_path: Path
) -> None:
    store = StateStore(fds, tmp_path)
    (tmp_path / "pools.4711.tmp").write_text("of one that was killed")
    os.utime(tmp_path / "pools.4711.tmp", (0, 0))
    store.read(Table(), 0)
    for number in range(200):
        store.write(b"%d" % number)
    store.wait_written(5)
    assert [path.name for path in tmp_path.iterdir()] == ["pools.json"]
    assert (tmp_path / "pools.json").read_bytes() == b"199"


def test_a_snapshot_that_is_on_disk_is_in_memory_no_more(tmp_path: Path) -> None:
    data = bytes(5_000_000)
    held = sys.getrefcount(data)
    file = SnapshotFile(tmp_path / "pools.json")
    file.write(data)
    assert file.wait_written(10)
    wait_for(lambda: sys.getrefcount(data) == held, "nobody has it any more")


def test_a_key_without_nodes_stays_known_for_the_rest_of_its_grace() -> None:
    before, after = Table(key_grace=60), Table(key_grace=60)
    for gone in (False, True):
        before.apply(Announcement(entries=(Entry("k.example", "10.0.0.1:80", gone=gone),)), "127.0.0.1", 100)
    load(dump(before, BOOT, 120), after, 5_000, 2.0)
    after.expire(5_037)
    assert members(after) == {"k.example": []}, "20 s and 2 s and 37 s: not yet"
    after.expire(5_038)
    assert not after.pools


def test_a_pause_since_the_snapshot_is_in_the_log_with_its_end(fds: tuple[int, int]) -> None:
    state = AnnouncedState("paused", seconds=30, stamp=1)
    entry = Entry("foo.com", owner="operator", state=state)
    store = StateStore(fds, None)
    store.write(dump(filled(), BOOT, 100))
    store.append(encode(Announcement(entries=(entry,), source="operator")), "127.0.0.1", 105)
    table = Table()
    StateStore(fds, None).read(table, 110)
    held = table.states.of("foo.com")
    assert held is not None
    assert (held.state, held.until) == (state, 135)
    store.append(encode(Announcement(entries=(replace(entry, gone=True),), source="operator")), "127.0.0.1", 111)
    table = Table()
    StateStore(fds, None).read(table, 112)
    assert table.states.of("foo.com") is None
    assert "foo.com" not in table.pools


def test_a_snapshot_of_the_version_before_has_no_states_and_one_of_the_next_has_more(fds: tuple[int, int]) -> None:
    before = filled()
    entry = Entry("foo.com", owner="operator", state=AnnouncedState("maintenance", "x", ("10.0.0.0/8",), 60, 2))
    before.apply(Announcement(entries=(entry,), source="operator"), "127.0.0.1", 100)
    data = json.loads(dump(before, BOOT, 100))
    for row in data["claims"]:
        if "state" in row[-1]:
            row[-1]["state"]["of_a_later_version"] = 1
    after = Table()
    load(json.dumps(data).encode(), after, 200, 0.0)
    held = after.states.of("foo.com")
    assert held is not None
    assert (held.state, held.until) == (entry.state, 260)
    for name in ("states", "only_held"):
        del data[name]
    data["claims"] = [row for row in data["claims"] if "state" not in row[-1]]
    old = Table()
    assert load(json.dumps(data).encode(), old, 200, 0.0) == BOOT
    assert not list(old.states.held())
