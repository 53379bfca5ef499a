"""Packets that were sent and not yet acked: what they carry, and when they are sent again.  Pure; monotonic seconds.

Rule: an entry is carried by the newest packet that named it.  What a newer packet said is never said again by an older
one, so a repeated packet keeps its number and carries only what is still its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastroute.router.protocol.subscription import AnnouncementOp, Entry

#: docs/reference/wire.md, "Ack": a packet is sent again after 20 ms, then after twice as long each time, up to 1 s.
RESEND_AFTER = 0.020
MAX_RESEND_INTERVAL = 1.0

#: What makes an entry itself: (key, address, owner).
EntryId = tuple[str, str, str]


def entry_id(entry: Entry) -> EntryId:
    """The identity of ``entry``: what replaces it has the same."""
    return entry.key, entry.address, entry.owner


@dataclass(slots=True)
class Packet:
    """One packet under way."""

    seq: int
    op: AnnouncementOp
    #: None in a heartbeat or a mark.
    entries: tuple[Entry, ...] = ()
    #: When it is sent again.
    due: float = 0.0
    interval: float = RESEND_AFTER
    sent_at: float = 0.0
    #: How often it was sent again.
    resends: int = 0
    #: It was due, and others were sent again instead of it.
    postponed: bool = False


class PacketsInFlight:
    """The packets under way to one router, by number."""

    def __init__(self) -> None:
        self._packets: dict[int, Packet] = {}
        self._carriers: dict[EntryId, int] = {}

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def entries(self) -> int:
        """Entries whose newest packet is not acked."""
        return len(self._carriers)

    def carries(self, name: EntryId) -> bool:
        """Whether the newest packet that named this entry is not acked."""
        return name in self._carriers

    @property
    def due(self) -> float:
        """When the next packet is to be sent again."""
        return min((packet.due for packet in self._packets.values()), default=math.inf)

    def sent(self, packet: Packet, now: float) -> None:
        """``packet`` goes out for the first time."""
        packet.sent_at, packet.due = now, now + packet.interval
        self._packets[packet.seq] = packet
        for entry in packet.entries:
            self._carriers[entry_id(entry)] = packet.seq

    def acked(self, seq: int) -> Packet | None:
        """The packet ``seq``, under way no more, with the entries that no newer one carries; None when unknown."""
        packet = self._packets.pop(seq, None)
        if packet is not None:
            packet.entries = self._own(packet)
            for entry in packet.entries:
                del self._carriers[entry_id(entry)]
        return packet

    def resend_due(self, now: float, limit: int) -> list[Packet]:
        """The oldest ``limit`` packets whose time is over, each with what is still its own; those with nothing left are
        dropped.  If the router is only late, the rest need not be said again: it waits, too."""
        again: list[Packet] = []
        for packet in [packet for packet in self._packets.values() if packet.due <= now]:
            if len(again) < limit:
                if self._renewed(packet, now):
                    again.append(packet)
            else:
                packet.postponed = True
                packet.interval = min(packet.interval * 2, MAX_RESEND_INTERVAL)
                packet.due = now + packet.interval
        return again

    def answered_again(self, now: float) -> None:
        """A packet that was sent again is acked: what was postponed and has no ack soon is likely to be lost."""
        for packet in self._packets.values():
            if packet.postponed:
                packet.postponed, packet.interval = False, RESEND_AFTER
                packet.due = min(packet.due, now + RESEND_AFTER)

    def resend_oldest(self, now: float) -> list[Packet]:
        """The oldest packet that still has something to say, due or not: one question to a silent router."""
        for packet in list(self._packets.values()):
            if self._renewed(packet, now):
                return [packet]
        return []

    def resend_now(self, seq: int, now: float) -> None:
        """The router wants the packet ``seq`` once more."""
        if (packet := self._packets.get(seq)) is not None:
            packet.due, packet.interval = now, RESEND_AFTER

    def hurry(self, now: float) -> None:
        """Everything is due now: the router is back."""
        for packet in self._packets.values():
            packet.due, packet.interval = now, RESEND_AFTER

    def forget_questions(self) -> None:
        """Drop heartbeats and marks: a change has made their count and digest wrong."""
        for packet in [packet for packet in self._packets.values() if packet.op != "nodes"]:
            del self._packets[packet.seq]

    def forget_joins(self) -> None:
        """Keep only withdrawals: everything else is about to be announced anew."""
        for packet in list(self._packets.values()):
            if not packet.entries or not packet.entries[0].gone:
                self.acked(packet.seq)

    def clear(self) -> None:
        """Nothing is under way any more."""
        self._packets.clear()
        self._carriers.clear()

    def _own(self, packet: Packet) -> tuple[Entry, ...]:
        return tuple(entry for entry in packet.entries if self._carriers.get(entry_id(entry)) == packet.seq)

    def _renewed(self, packet: Packet, now: float) -> bool:
        if packet.op == "nodes":
            packet.entries = self._own(packet)
            if not packet.entries:
                del self._packets[packet.seq]
                return False
        packet.resends += 1
        packet.postponed = False
        packet.interval = min(packet.interval * 2, MAX_RESEND_INTERVAL)
        packet.due = now + packet.interval
        return True
