"""The entries that one router should hold, with their count and digest; and the drains it told of.  Pure.

An entry that the router refused stays desired, but neither counts nor is announced again before everything is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fastroute.controller.router_mode.packets_in_flight import EntryId, Packet, entry_id
from fastroute.router.protocol.subscription import Entry

#: The second query comes so many seconds after the first answer: the relays have reported by then.
FIRST_DRAIN_QUERY_AFTER = 0.3
#: Seconds between queries while a node still has requests; longer, up to so long, while there is no answer.
DRAIN_QUERY_INTERVAL, MAX_DRAIN_QUERY_INTERVAL = 1.0, 16.0
#: A withdrawn node is not asked about for longer than this.
MAX_DRAIN_QUERY_TIME = 3600.0


class Announced:
    """Desired entries by identity; ``digest`` and ``count`` are kept current at O(1) a change."""

    def __init__(self) -> None:
        self.entries: dict[EntryId, Entry] = {}
        self.refused: dict[EntryId, str] = {}
        self.digest = 0

    @property
    def count(self) -> int:
        """Entries that the router should hold."""
        return len(self.entries) - len(self.refused)

    def remove(self, entries: Iterable[Entry]) -> None:
        """``entries`` are no longer desired."""
        for name in map(entry_id, entries):
            self._add(name, -1)
            self.refused.pop(name, None)
            del self.entries[name]

    def put(self, entries: Iterable[Entry]) -> None:
        """``entries``, new or different, are desired."""
        for entry in entries:
            name = entry_id(entry)
            if name in self.entries:
                self._add(name, -1)
                self.refused.pop(name, None)
            self.entries[name] = entry
            self._add(name, 1)

    def refuse(self, entry: Entry, reason: str) -> None:
        """The router does not take ``entry``."""
        name = entry_id(entry)
        if self.entries.get(name) == entry and name not in self.refused:
            self._add(name, -1)
            self.refused[name] = reason

    def try_refused_again(self) -> None:
        """Everything counts again: a full announcement begins."""
        for name in list(self.refused):
            del self.refused[name]
            self._add(name, 1)

    def _add(self, name: EntryId, sign: int) -> None:
        if name not in self.refused:
            self.digest = (self.digest + sign * self.entries[name].digest()) % 2**64


@dataclass(slots=True)
class _Drain:
    packet: Packet
    in_flight: int
    until: float
    settled: bool = False
    interval: float = DRAIN_QUERY_INTERVAL


class Drains:
    """Withdrawn and drained nodes on which requests may still run, by the packet that told of them.

    A router's relays report their numbers five times a second, so the first answer may be from before the node was
    drained; it is asked for again before it is believed.
    """

    def __init__(self) -> None:
        self._drains: dict[int, _Drain] = {}

    @property
    def due(self) -> float:
        """When to ask next."""
        return min((drain.packet.due for drain in self._drains.values()), default=math.inf)

    def answered(self, packet: Packet | None, seq: int, in_flight: int, now: float) -> None:
        """The router acked the packet ``seq``, and has so many requests running on the nodes in it."""
        drain = self._drains.get(seq)
        if drain is None:
            if packet is not None and packet.entries and (packet.entries[0].gone or packet.entries[0].drain):
                packet.due = now + FIRST_DRAIN_QUERY_AFTER
                self._drains[seq] = _Drain(packet, in_flight, now + MAX_DRAIN_QUERY_TIME)
            return
        drain.in_flight, drain.settled, drain.interval = in_flight, True, DRAIN_QUERY_INTERVAL
        if not in_flight:
            drain.packet.due = math.inf
            if drain.packet.entries[0].gone:
                del self._drains[seq]

    def ask(self, now: float) -> list[Packet]:
        """The packets to repeat now, to learn how many requests are left."""
        again = []
        for drain in self._drains.values():
            if drain.packet.due <= now:
                drain.packet.due = now + drain.interval
                drain.interval = min(2 * drain.interval, MAX_DRAIN_QUERY_INTERVAL)
                again.append(drain.packet)
        self._drains = {
            seq: drain for seq, drain in self._drains.items() if now < drain.until or not drain.packet.entries[0].gone
        }
        return again

    def rejoined(self, entries: Iterable[Entry]) -> None:
        """``entries`` are announced anew, or leave: what was told of them before must not be repeated."""
        if self._drains:
            back = set(map(entry_id, entries))
            for seq, drain in list(self._drains.items()):
                drain.packet.entries = tuple(entry for entry in drain.packet.entries if entry_id(entry) not in back)
                if not drain.packet.entries:
                    del self._drains[seq]

    def clear(self) -> None:
        """The router knows nothing of them any more."""
        self._drains.clear()

    def in_flight(self) -> dict[EntryId, int]:
        """Requests that run on the nodes that are known one by one."""
        known = (drain for drain in self._drains.values() if drain.settled and len(drain.packet.entries) == 1)
        return {entry_id(drain.packet.entries[0]): drain.in_flight for drain in known}

    def status(self) -> list[dict[str, object]]:
        """The withdrawals after which requests are running, as JSON."""
        return [
            {"nodes": [f"{entry.key}@{entry.address}" for entry in drain.packet.entries], "in_flight": drain.in_flight}
            for drain in self._drains.values()
            if drain.in_flight
        ]
