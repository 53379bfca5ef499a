"""The entries that one router should hold, with their count and digest; and the drains it told of.  Pure.

An entry that the router refused stays desired, but neither counts nor is announced again before everything is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fastroute.controller.announce.inflight import Ident, Packet, ident
from fastroute.router.subscription import Entry

#: While a withdrawn node still has requests, ask how many this often (seconds), and not longer than this.
DRAIN_ASK = 1.0
DRAIN_ASK_MAX = 3600.0


class Announced:
    """Desired entries by identity; ``digest`` and ``count`` are kept current at O(1) a change."""

    def __init__(self) -> None:
        self.entries: dict[Ident, Entry] = {}
        self.refused: dict[Ident, str] = {}
        self.digest = 0

    @property
    def count(self) -> int:
        """Entries that the router should hold."""
        return len(self.entries) - len(self.refused)

    def remove(self, entries: Iterable[Entry]) -> list[Entry]:
        """``entries`` are no longer desired; returns those that were."""
        removed = []
        for name in map(ident, entries):
            if name in self.entries:
                self._add(name, -1)
                self.refused.pop(name, None)
                removed.append(self.entries.pop(name))
        return removed

    def put(self, entries: Iterable[Entry]) -> list[Entry]:
        """``entries`` are desired; returns those that are new or different."""
        changed = [entry for entry in entries if self.entries.get(ident(entry)) != entry]
        for entry in changed:
            name = ident(entry)
            if name in self.entries:
                self._add(name, -1)
                self.refused.pop(name, None)
            self.entries[name] = entry
            self._add(name, 1)
        return changed

    def refuse(self, entry: Entry, reason: str) -> None:
        """The router does not take ``entry``."""
        name = ident(entry)
        if self.entries.get(name) == entry and name not in self.refused:
            self._add(name, -1)
            self.refused[name] = reason

    def try_refused_again(self) -> None:
        """Everything counts again: a full announcement begins."""
        for name in list(self.refused):
            del self.refused[name]
            self._add(name, 1)

    def _add(self, name: Ident, sign: int) -> None:
        if name not in self.refused:
            self.digest = (self.digest + sign * self.entries[name].digest()) % 2**64


@dataclass(slots=True)
class _Drain:
    packet: Packet
    in_flight: int
    until: float


class Drains:
    """Withdrawals after which requests were still running, by packet number."""

    def __init__(self) -> None:
        self._drains: dict[int, _Drain] = {}

    @property
    def due(self) -> float:
        """When to ask next."""
        return min((drain.packet.due for drain in self._drains.values()), default=math.inf)

    def answered(self, packet: Packet | None, seq: int, in_flight: int, now: float) -> None:
        """The router acked the withdrawal ``seq`` and has so many requests running on its nodes."""
        drain = self._drains.get(seq)
        if drain is None and packet is not None and in_flight and packet.entries and packet.entries[0].gone:
            packet.due = now + DRAIN_ASK
            drain = self._drains[seq] = _Drain(packet, in_flight, now + DRAIN_ASK_MAX)
        if drain is not None:
            drain.in_flight = in_flight
            if not in_flight:
                del self._drains[seq]

    def ask(self, now: float) -> list[Packet]:
        """The withdrawals to repeat now, to learn how many requests are left."""
        self._drains = {seq: drain for seq, drain in self._drains.items() if now < drain.until}
        again = [drain.packet for drain in self._drains.values() if drain.packet.due <= now]
        for packet in again:
            packet.due = now + DRAIN_ASK
        return again

    def rejoined(self, entries: Iterable[Entry]) -> None:
        """``entries`` are announced again: their withdrawal must not be repeated."""
        if self._drains:
            back = set(map(ident, entries))
            for seq, drain in list(self._drains.items()):
                drain.packet.entries = tuple(entry for entry in drain.packet.entries if ident(entry) not in back)
                if not drain.packet.entries:
                    del self._drains[seq]

    def clear(self) -> None:
        """The router knows nothing of them any more."""
        self._drains.clear()

    def status(self) -> list[dict[str, object]]:
        """The drains, as JSON."""
        return [
            {"nodes": [f"{entry.key}@{entry.address}" for entry in drain.packet.entries], "in_flight": drain.in_flight}
            for drain in self._drains.values()
        ]
