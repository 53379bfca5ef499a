"""The table as the bytes of a snapshot; state.py writes and reads them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastroute.router.control.table import overrides
from fastroute.router.control.table.sources import Claim
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.node_options import ALL_SETTINGS, KEY_SETTINGS, NodeOptions, non_defaults
from fastroute.router.protocol.subscription import Entry

FORMAT = 1
#: Claims that are written at once: a millisecond of work.
CLAIMS_OF_A_PART = 50
#: Of nodes and keys, as this version knows them.
SETTINGS = [setting.name for setting in ALL_SETTINGS]
_PLAIN_FIELDS = [field.name for field in dataclasses.fields(Entry) if field.name not in ("options", "state")]


@functools.cache
def machine_boot() -> str:
    """The kernel's id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class TableDump:
    """What a snapshot says of ``table``, as it is when this is made; written as bytes later, by any thread.

    Claims are replaced rather than changed, and what changes later is a packet behind the snapshot.  Times become ages,
    because the monotonic clock is this boot's own.
    """

    def __init__(self, table: Table, boot_id: str, now: float) -> None:
        self._now = now
        self._claims = list(table.records())
        sources = [[s.name, s.instance, s.seq, s.floor, now - s.seen, s.silent] for s in table.sources.values()]
        head = {"format": FORMAT, "machine_boot": machine_boot(), "boot_id": boot_id, "settings": SETTINGS}
        buried = [[*record, seq] for s in table.sources.values() for record, seq in s.buried.items()]
        empty = [[p.name, now - p.empty_since] for p in table.pools.values() if p.empty_since is not None]
        last = {p.name: rows for p in table.pools.values() if (rows := non_defaults(p.last_options, KEY_SETTINGS))}
        self._rest: dict[str, Any] = head | {
            "sources": sources, "buried": buried, "empty": empty, "last_options": last, "stamps": table.stamps.rows(),
            "overrides": overrides.rows(table), "states": table.states.rows(now),
            "only_held": [p.name for p in table.pools.values() if p.only_held],
        }  # fmt: skip

    @property
    def size(self) -> int:
        """How many claims it has."""
        return len(self._claims)

    def parts(self) -> Iterator[bytes]:
        """The bytes, in parts that each take about a millisecond to make."""
        yield json.dumps(self._rest, separators=(",", ":")).encode()[:-1] + b',"claims":['
        for at in range(0, len(self._claims), CLAIMS_OF_A_PART):
            rows = [self._row(claim) for claim in self._claims[at : at + CLAIMS_OF_A_PART]]
            yield (b"," if at else b"") + json.dumps(rows, separators=(",", ":")).encode()[1:-1]
        yield b"]}"

    def _row(self, claim: Claim) -> list[Any]:
        age = self._now - claim.seen
        return [*claim.id, age, claim.instance, claim.seq, list(claim.targets), _flat(claim.entry)]


def dump(table: Table, boot_id: str, now: float) -> bytes:
    """``table`` as bytes."""
    return b"".join(TableDump(table, boot_id, now).parts())


def _flat(entry: Entry) -> dict[str, Any]:
    """The fields of ``entry`` and its options, by name: a version leaves out the names that it does not know."""
    flat = {name: getattr(entry, name) for name in _PLAIN_FIELDS}
    if entry.state is not None:
        flat["state"] = dataclasses.asdict(entry.state)
    return flat | _option_values(entry.options)


@functools.lru_cache(1024)
def _option_values(options: NodeOptions) -> dict[str, Any]:
    # Remembered, as thousands of nodes have the same options.
    return dataclasses.asdict(options)
