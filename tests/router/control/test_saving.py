"""A large table is saved beside all else, and whenever control is killed, all that was announced is there again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from support.entries import make_entry

from fastroute.router.control.saving import LARGE_TABLE, SNAPSHOT_DELAY, TableSaver
from fastroute.router.control.state import StateStore
from fastroute.router.control.table.table import Table
from fastroute.router.control.table_dump import TableDump
from fastroute.router.protocol.subscription import Announcement, encode

BOOT = "00ff00ff00ff00ff"


class SavedTable:
    """A table, its store, and what a control that starts now would have."""

    def __init__(self) -> None:
        self.fds = os.memfd_create("one"), os.memfd_create("two")
        self.store, self.table = StateStore(self.fds, None), Table()
        self.count = 0
        self.store.write(b"".join(self.dump(0.0).parts()))

    def dump(self, now: float) -> TableDump:
        return TableDump(self.table, BOOT, now)

    def announce(self, nodes: int = 1) -> None:
        for _ in range(nodes):
            self.count += 1
            entry = make_entry("foo.com", f"10.0.{self.count // 250}.{self.count % 250 + 1}:80", owner=f"c{self.count}")
            announcement = Announcement(source="docker", instance=1, seq=self.count, ack=True, entries=(entry,))
            self.table.apply(announcement, "127.0.0.1", 1.0)
            self.store.append(encode(announcement), "127.0.0.1", 1.0)

    def after_a_kill(self) -> int:
        """How many nodes the next control has."""
        table = Table()
        assert StateStore(self.fds, None).read(table, 1.0) == BOOT
        return table.node_count


@pytest.fixture
def saved() -> SavedTable:
    return SavedTable()


def test_whatever_step_it_is_at_nothing_is_lost(saved: SavedTable) -> None:
    saved.announce(3)
    generation = saved.store.begin()
    data = b"".join(saved.dump(1.0).parts())
    saved.announce()
    assert saved.after_a_kill() == 4
    frame = saved.store.stage(generation, data)
    saved.announce()
    assert saved.after_a_kill() == 5
    saved.store.commit(generation, frame, data)
    assert saved.after_a_kill() == 5
    saved.announce()
    assert saved.after_a_kill() == 6
    saved.store.write(b"".join(saved.dump(1.0).parts()))
    assert saved.after_a_kill() == 6


def test_a_snapshot_that_was_begun_and_given_up_leaves_the_one_before(saved: SavedTable) -> None:
    saved.announce(3)
    saved.store.stage(saved.store.begin(), b"half of it")
    saved.announce()
    assert saved.after_a_kill() == 4
    saved.store.write(b"".join(saved.dump(1.0).parts()))
    assert saved.after_a_kill() == 4


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_a_large_table_is_saved_while_it_changes(saved: SavedTable) -> None:
    async def run() -> None:
        saver = TableSaver(saved.store, saved.dump, on_disk=True)
        saved.announce(2 * LARGE_TABLE)
        now = asyncio.get_running_loop().time()
        saver.changed(now)
        size = os.fstat(saved.fds[0]).st_size, os.fstat(saved.fds[1]).st_size
        saver.tick(now + SNAPSHOT_DELAY)
        assert (os.fstat(saved.fds[0]).st_size, os.fstat(saved.fds[1]).st_size) == size, "the loop goes on at once"
        saved.announce()
        await _until(lambda: saver._under_way is None)
        assert saved.after_a_kill() == 2 * LARGE_TABLE + 1
        saver.changed(now)
        saver.tick(now + SNAPSHOT_DELAY)
        # The end, while another one is under way.
        saver.save(now)
        assert saver._under_way is None
        assert saved.after_a_kill() == 2 * LARGE_TABLE + 1

    asyncio.run(run())


def test_a_snapshot_that_only_memory_wants_rests(saved: SavedTable) -> None:
    async def run() -> None:
        saver = TableSaver(saved.store, saved.dump, on_disk=False)
        saved.announce(LARGE_TABLE)
        now = asyncio.get_running_loop().time()
        saver.changed(now - SNAPSHOT_DELAY)
        saver.tick(now)
        await _until(lambda: saver._under_way is None)
        assert saver._pause_until > now
        saver.changed(now - SNAPSHOT_DELAY)
        saver.tick(saver._pause_until - 0.001)
        assert saver._under_way is None
        saver.tick(saver._pause_until)
        assert saver._under_way is not None
        saver.save(now)

    asyncio.run(run())
