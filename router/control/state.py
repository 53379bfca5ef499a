"""What survives control: snapshots and a log of changes, written so that a successor serves at once.  One edge (files).

* In memory, for kill -9 of control: two memory files that the master holds.  One has the newest snapshot and, behind
  it, every packet since then that changed something; a new snapshot goes into the other, and the old one is emptied
  only when the new one is complete.  Frames carry a checksum: one that was cut off ends the log and no more.
* On disk, for the end of everything (``--state-dir``): the snapshot alone (temp, fsync, rename).  It counts only from
  the same boot of the machine and if the router was gone for at most ``MAX_AGE`` seconds: after that an address may be
  somebody else's.  The file's time says until when the router lived: it is set anew while nothing changes, at next to
  no cost.  One that does not count is set aside and said.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from fastroute.router.control.snapshot_file import SnapshotFile
from fastroute.router.control.table import overrides
from fastroute.router.control.table.key_votes import SAYS_NOTHING
from fastroute.router.control.table.overrides import Change, NodeName
from fastroute.router.control.table.sources import Claim, RecordId, Source
from fastroute.router.control.table.table import Table
from fastroute.router.control.table_dump import FORMAT, SETTINGS, machine_boot
from fastroute.router.protocol.key_state import state_from_names
from fastroute.router.protocol.node_options import (
    key_options,
    take_options,
)
from fastroute.router.protocol.subscription import Announcement, Entry, decode
from fastroute.router.runtime.json_text import read_json
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.own_files import NotOurs

#: docs/reference/router.md, --state-dir.
MAX_AGE = 60.0
#: Seconds after which a router without changes sets the time of its file anew.
TOUCH_INTERVAL = 5.0
#: Seconds that a control which ends waits for the disk; below what the master waits for control (master.KILL_AFTER).
WRITE_TIMEOUT = 1.5

#: Of a frame in a memory file: kind (S snapshot, A packet, O operator, M memory), size and CRC-32 of what follows.
_FRAME = struct.Struct(">cQI")

log = get_logger("fastroute.router")


class SnapshotError(ValueError):
    """A snapshot that does not count; the text says why."""


def load(data: bytes, table: Table, now: float, age: float) -> str:
    """Fill the empty ``table`` from ``data``; returns the boot id of the router that wrote it.

    ``age``: seconds since that router was there last.  Whoever was not silent too long then, was not later either, as
    every change is written: ages of claims go on from what they were.
    """
    try:
        head = read_json(data)
        if head["format"] != FORMAT:
            raise SnapshotError("from another version")
        if head["machine_boot"] != machine_boot():
            raise SnapshotError("from another boot of the machine")
        if not -1 <= age <= MAX_AGE:
            raise SnapshotError(f"{age:.0f} s old (at most {MAX_AGE:.0f})")
        claims = [_claim(row, now - age) for row in head["claims"]]
        sources = {row[0]: _source(row, now - age) for row in head["sources"]}
        for *record, seq in head.get("buried", []):
            sources[record[0]].buried[RecordId(*record)] = int(seq)
        for source in sources.values():
            source.outdated = head.get("settings") != SETTINGS
        boot_id = str(head["boot_id"])
        empty = [(str(name), now - age - float(since)) for name, since in head.get("empty", [])]
        last_options = {str(name): key_options(values) for name, values in head.get("last_options", {}).items()}
        stamps, changed = head.get("stamps", []), head.get("overrides", [])
        ends = [(RecordId(*row), None if left is None else float(left)) for *row, left in head.get("states", [])]
        only_held = set(head.get("only_held", []))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise error if isinstance(error, SnapshotError) else SnapshotError(f"damaged ({error!r})") from None
    table.router_id = boot_id
    table.sources.update(sources)
    for claim in claims:
        table.restore(claim, now)
    for name, since in empty:
        table.pool(name, since).last_options = last_options.get(name, SAYS_NOTHING)
    table.stamps.restore(stamps)
    overrides.restore(table, changed)
    table.states.restore(ends, now - age)
    for pool in table.pools.values():
        pool.only_held = pool.name in only_held
    return boot_id


def _claim(row: list[Any], now: float) -> Claim:
    source, owner, key, address, age, instance, seq, targets, entry = row
    options = take_options(entry)
    rest = {name: value for name, value in entry.items() if name in _FIELDS}
    if (state := rest.pop("state", None)) is not None:
        rest["state"] = state_from_names(state)
    entry = Entry(**rest, options=options)
    return Claim(RecordId(source, owner, key, address), entry, now - age, instance, seq, tuple(targets))


_FIELDS = {field.name for field in dataclasses.fields(Entry)}


def _source(row: list[Any], now: float) -> Source:
    name, instance, seq, floor, age, silent = row
    return Source(str(name), int(instance), int(seq), int(floor), seen=now - age, silent=bool(silent))


class StateStore:
    """Where snapshots and changes go.  ``fds``: the master's two memory files; ``directory``: of ``--state-dir``.

    ``successor``: somebody who can read what is in memory waits to go on, so there is no sense in doing it without.
    """

    def __init__(self, fds: tuple[int, int], directory: Path | None, *, successor: bool = False) -> None:
        self._successor, self._over = successor, False
        #: What the control before remembered besides the pools (:meth:`remember`), once it was read; None: nothing.
        self.memory: dict[str, Any] | None = None
        self._current, self._spare = fds
        self._end = os.fstat(self._current).st_size
        self._generation = 0
        #: What was written behind the present snapshot since the next one is being made; None: none is.
        self._behind: list[tuple[bytes, bytes]] | None = None
        self._file = SnapshotFile(directory / "pools.json") if directory else None

    def append(self, datagram: bytes, sender: str, now: float) -> None:
        """Log a packet that changed the table."""
        self._write_frame(b"A", f"{now} {sender} ".encode() + datagram)

    def append_change(self, nodes: list[NodeName], change: Change) -> None:
        """Log what an operator changed."""
        self._write_frame(b"O", json.dumps([nodes, change.verb, change.weight, change.sessions]).encode())

    def remember(self, memory: dict[str, Any]) -> None:
        """The last word, for the next control: what is no part of a snapshot (numbers, events)."""
        self._write_frame(b"M", json.dumps(memory).encode())
        self._over = True

    def write(self, data: bytes) -> None:
        """Keep the snapshot ``data`` in both places, on disk soon."""
        if self._over:
            return
        self._current, self._spare, self._end = self._spare, self._current, 0
        os.ftruncate(self._current, 0)
        self._generation += 1
        self._behind = None
        self._write_frame(b"S", self._generation.to_bytes(8, "big") + data)
        os.ftruncate(self._spare, 0)
        if self._file is not None:
            self._file.write(data)

    # A large snapshot in three steps, of which only the first and the last need the thread that decides.

    def begin(self) -> int:
        """From now on what is written is kept for behind the next snapshot, too.  Returns that one's number."""
        self._behind = []
        return self._generation + 1

    def stage(self, generation: int, data: bytes) -> bytes:
        """Write the snapshot where nobody reads it yet, on any thread.  Returns what makes it count."""
        number = generation.to_bytes(8, "big")
        os.ftruncate(self._spare, 0)
        # No copy is made of what may be 50 MB.
        os.pwrite(self._spare, number, _FRAME.size)
        os.pwrite(self._spare, data, _FRAME.size + len(number))
        return _FRAME.pack(b"S", len(number) + len(data), zlib.crc32(data, zlib.crc32(number)))

    def commit(self, generation: int, frame: bytes, data: bytes) -> None:
        """The staged snapshot counts from now on, and what was written since :meth:`begin`."""
        behind = self._behind
        if behind is None or self._over:
            return
        self._behind = None
        self._current, self._spare, self._end = self._spare, self._current, len(frame) + 8 + len(data)
        for kind, payload in behind:
            self._write_frame(kind, payload)
        # Last: only now does a reader see any of it.
        os.pwrite(self._current, frame, 0)
        self._generation = generation
        os.ftruncate(self._spare, 0)
        if self._file is not None:
            self._file.write(data)

    def wait_written(self, seconds: float = WRITE_TIMEOUT) -> None:
        """Wait until it is on disk too, at most so long."""
        if self._file is not None:
            self._file.wait_written(seconds)

    def touch(self) -> None:
        """The router lives, and nothing has changed since the last :meth:`write`."""
        if self._file is not None:
            self._file.touch()

    def read(self, table: Table, now: float) -> str | None:
        """Fill the empty ``table`` from the best there is; its boot id, or None when there is nothing that counts.

        A ``successor`` that can't read what is in memory (another version wrote it) gets ``SnapshotError``.
        """
        boot_id = None
        try:
            boot_id = self._read_memory(table, now)
        except SnapshotError as error:
            if self._successor:
                raise
            log.error("the pools in memory can't be read: %s", error)
        if self._file is not None:
            self._file.clear_remains()
            if boot_id is None and os.path.lexists(self._file.path):
                boot_id = self._read_file(self._file, table, now)
        if boot_id is not None:
            log.info("pools loaded: %d nodes of %d keys", table.node_count, len(table.pools))
        return boot_id

    def _write_frame(self, kind: bytes, payload: bytes) -> None:
        if self._over:
            return
        if self._behind is not None:
            self._behind.append((kind, payload))
        frame = _FRAME.pack(kind, len(payload), zlib.crc32(payload)) + payload
        os.pwrite(self._current, frame, self._end)
        self._end += len(frame)

    def _read_memory(self, table: Table, now: float) -> str | None:
        logs = [(fd, *_read_frames(fd)) for fd in (self._current, self._spare)]
        fd, self._generation, snapshot, packets, self._end = max(logs, key=lambda frames: (frames[1], frames[4]))
        if fd != self._current:
            self._current, self._spare = fd, self._current
        boot_id = None
        if snapshot:
            boot_id = load(snapshot, table, now, 0.0)
        for kind, packet in packets:
            if kind == b"M":
                self.memory = json.loads(packet)
                continue
            if kind == b"O":
                nodes, verb, weight, *sessions = json.loads(packet)
                for key, address in nodes:
                    overrides.apply(table, (key, address), Change(verb, weight, *sessions))
                continue
            time_text, sender, datagram = packet.split(b" ", 2)
            announcement = decode(datagram)
            assert isinstance(announcement, Announcement)
            table.apply(announcement, sender.decode(), float(time_text))
            if announcement.signature:
                table.stamps.remember(announcement, float(announcement.stamp))
        return boot_id

    def _read_file(self, file: SnapshotFile, table: Table, now: float) -> str | None:
        try:
            data, age = file.read()
            return load(data, table, now, age)
        except SnapshotError as error:
            file.reject(str(error))
        except NotOurs as error:
            file.reject(error.why)
        except OSError as error:
            log.warning("snapshot %s can't be read: %s", file.path, error)
        return None


def _read_frames(fd: int) -> tuple[int, bytes, list[tuple[bytes, bytes]], int]:
    """Generation, snapshot (empty: none), kind and content of what is behind it, and where the next frame goes."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    generation, snapshot, packets, at = 0, b"", list[tuple[bytes, bytes]](), 0
    while at + _FRAME.size <= len(data):
        kind, size, checksum = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + size]
        if len(payload) < size or zlib.crc32(payload) != checksum:
            break
        at += _FRAME.size + size
        if kind == b"S":
            generation, snapshot = int.from_bytes(payload[:8], "big"), payload[8:]
        else:
            packets.append((kind, payload))
    return generation, snapshot, packets, at
