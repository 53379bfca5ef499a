"""The snapshot of the table: written so that a successor serves at once, read with suspicion.  One edge (files).

Two places take the same bytes: a memory file that the master holds (survives kill -9 of control, not of the master)
and, with ``--state-dir``, a file (temp, fsync, rename).  A snapshot counts only from the same boot of the machine and
at most ``MAX_AGE`` seconds old: after that an address may be somebody else's.  One that does not count is set aside.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from fastroute.router.logs import get_logger
from fastroute.router.sources import Claim, RecordId, Source
from fastroute.router.subscription import Entry
from fastroute.router.table import Table

#: INTERFACE.md, --state-dir.
MAX_AGE = 60.0
FORMAT = 1

log = get_logger("fastroute.router")


class SnapshotError(ValueError):
    """A snapshot that does not count; the text says why."""


def machine_boot() -> str:
    """The kernel's id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def dump(table: Table, boot_id: str, now: float, wall: float) -> bytes:
    """``table`` as bytes.  Times become ages, because the monotonic clock is this boot's own."""
    claims = [
        [*claim.id, now - claim.seen, claim.instance, claim.seq, list(claim.targets), dataclasses.asdict(claim.entry)]
        for claim in table.records()
    ]
    sources = [[s.name, s.instance, s.seq, s.floor, now - s.seen, s.silent] for s in table.sources.values()]
    head = {"format": FORMAT, "machine_boot": machine_boot(), "boot_id": boot_id, "written": wall}
    return json.dumps(head | {"claims": claims, "sources": sources}, separators=(",", ":")).encode()


def load(data: bytes, table: Table, now: float, wall: float) -> str:
    """Fill the empty ``table`` from ``data``; returns the boot id of the router that wrote it."""
    try:
        head = json.loads(data)
        if head["format"] != FORMAT or head["machine_boot"] != machine_boot():
            raise SnapshotError("from another version or another boot of the machine")
        age = wall - head["written"]
        if not -1 <= age <= MAX_AGE:
            raise SnapshotError(f"{age:.0f} s old (at most {MAX_AGE:.0f})")
        claims = [_claim(row, now - age) for row in head["claims"]]
        sources = {row[0]: _source(row, now - age) for row in head["sources"]}
        boot_id = str(head["boot_id"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise error if isinstance(error, SnapshotError) else SnapshotError(f"damaged ({error!r})") from None
    table.sources.update(sources)
    for claim in claims:
        table.restore(claim, now)
    return boot_id


def _claim(row: list[Any], now: float) -> Claim:
    source, owner, key, address, age, instance, seq, targets, entry = row
    return Claim(RecordId(source, owner, key, address), Entry(**entry), now - age, instance, seq, tuple(targets))


def _source(row: list[Any], now: float) -> Source:
    name, instance, seq, floor, age, silent = row
    return Source(str(name), int(instance), int(seq), int(floor), seen=now - age, silent=bool(silent))


class StateStore:
    """Where snapshots go.  ``fd``: the master's memory file; ``directory``: of ``--state-dir``, or None."""

    def __init__(self, fd: int, directory: Path | None) -> None:
        self._fd, self._file = fd, directory / "pools.json" if directory else None

    def write(self, data: bytes) -> None:
        """Keep ``data`` in both places; a disk that fails is said and does not stop the router."""
        os.pwrite(self._fd, len(data).to_bytes(8, "big") + data, 0)
        if self._file is None:
            return
        temporary = self._file.with_suffix(".tmp")
        try:
            with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
        except OSError as error:
            log.error("snapshot %s could not be written: %s", self._file, error)

    def read(self, table: Table, now: float) -> str | None:
        """Fill ``table`` from the best snapshot there is; its boot id, or None when there is none that counts."""
        size = int.from_bytes(os.pread(self._fd, 8, 0), "big")
        candidates = [("of the control process before", os.pread(self._fd, size, 8))] if size else []
        if self._file is not None and self._file.exists():
            candidates.append((str(self._file), self._file.read_bytes()))
        for name, data in candidates:
            try:
                boot_id = load(data, table, now, time.time())
            except SnapshotError as error:
                log.warning("snapshot %s does not count: %s", name, error)
                self._set_aside(name)
            else:
                log.info("snapshot %s loaded: %d nodes of %d keys", name, table.node_count, len(table.pools))
                return boot_id
        return None

    def _set_aside(self, name: str) -> None:
        if self._file is not None and name == str(self._file):
            self._file.replace(self._file.with_suffix(".refused"))
