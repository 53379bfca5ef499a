"""What is remembered of hosts and of the CA through restarts, and how it is written as JSON.  Pure.

Times are seconds since the epoch, as the next life of the program must understand them.  A record that can't be read
is left out: a certificate on disk is worth more than what was remembered about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

SCHEMA = "fastroute.certs-state/v1"
MAX_REASON = 400

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One host."""

    host: str
    #: When a router or a controller named it last.
    wanted_at: float = 0.0
    #: When the last attempt to get a certificate began.
    attempted_at: float = 0.0
    #: No attempt before.
    next_attempt: float = 0.0
    #: Attempts that failed since one succeeded.
    failures: int = 0
    #: An attempt is under way.  Read from a file: it was cut off by our own end.
    asking: bool = False
    #: Attempts in a row that were cut off so.
    interruptions: int = 0
    #: URL of the order under way at the CA; empty: none.
    order: str = ""
    #: Why the last attempt failed.
    reason: str = ""
    #: URL of the CA that signed the certificate.
    directory: str = ""
    #: Serial number of the certificate that the fields below are about.
    serial: str = ""
    #: When the CA wants it renewed (ARI); 0: it has not said.
    renew_at: float = 0.0
    #: When the CA is asked about that again.
    renewal_info_at: float = 0.0
    #: Renewals in a row that the CA wanted early in a certificate's life.
    early: int = 0


@dataclass(frozen=True, slots=True)
class CaRecord:
    """The CA, as our account sees it."""

    #: Its directory's URL.
    directory: str = ""
    #: Attempts in a row that failed because of the CA, not of a host.
    failures: int = 0
    #: When the last of them was.
    failed_at: float = 0.0
    #: Nothing is asked for before.
    held_until: float = 0.0
    reason: str = ""
    #: Domain -> when its limit was met, and until when nothing is asked for under it.
    domains: dict[str, tuple[float, float]] = field(default_factory=dict)


def write_state(hosts: Iterable[HostRecord], ca: CaRecord) -> dict[str, Any]:
    """All records as JSON values."""
    rows = [{name: value for name, value in asdict(record).items() if value} for record in hosts]
    return {"schema": SCHEMA, "ca": asdict(ca), "hosts": rows}


def read_state(state: object) -> tuple[dict[str, HostRecord], CaRecord]:
    """What :func:`write_state` wrote; whatever is wrong in it is left out."""
    if not isinstance(state, dict):
        return {}, CaRecord()
    rows = state.get("hosts")
    records = {}
    for row in rows if isinstance(rows, list) else []:
        record = _read(HostRecord, HostRecord(""), row)
        if record.host:
            records[record.host] = record
    ca = state.get("ca")
    domains = ca.get("domains") if isinstance(ca, dict) else None
    known = _read(CaRecord, CaRecord(), {**ca, "domains": {}} if isinstance(ca, dict) else {})
    held = {name: (float(pair[0]), float(pair[1])) for name, pair in _items(domains) if _is_pair(pair)}
    return records, CaRecord(**{**_values(known), "domains": held})


def shorten(text: str) -> str:
    """``text`` as a reason: one line that is not long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"


def _read(kind: type[T], default: T, row: object) -> T:
    values = _values(default)
    for name, value in _items(row):
        standard = values.get(name)
        if standard is None:
            continue
        if isinstance(standard, float) and isinstance(value, int | float) and not isinstance(value, bool):
            values[name] = float(value) if math.isfinite(value) else standard
        elif type(value) is type(standard):
            values[name] = value
    return kind(**values)


def _values(record: object) -> dict[str, Any]:
    return {entry.name: getattr(record, entry.name) for entry in fields(record)}  # type: ignore[arg-type]


def _items(row: object) -> Iterable[tuple[str, Any]]:
    return row.items() if isinstance(row, Mapping) else ()


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )  # fmt: skip
