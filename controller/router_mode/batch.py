"""Cutting entries into packets.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastroute.router.subscription import Entry, encoded_size

#: Room in a packet for header, version, source (64), instance, seq and ack.
HEAD = 200


def batches(entries: Iterable[Entry], limit: int) -> Iterator[tuple[Entry, ...]]:
    """``entries`` in order, as many at a time as a packet of ``limit`` bytes holds (one at least).  Lazy."""
    batch, size = list[Entry](), HEAD
    for entry in entries:
        more = encoded_size(entry)
        if size + more > limit and batch:
            yield tuple(batch)
            batch, size = [], HEAD
        batch.append(entry)
        size += more
    if batch:
        yield tuple(batch)
