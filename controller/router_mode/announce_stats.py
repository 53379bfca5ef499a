"""Counts of the packets to one router and of its answers, and lines about them for the event log.  Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from fastroute.controller.router_mode.packets_in_flight import Packet
from fastroute.router.protocol.subscription import Ack, Entry

#: A line names so many entries of its packet.
MAX_NAMED_ENTRIES = 3
#: So many lines are kept until somebody takes them; older ones are dropped.
MAX_WAITING_LINES = 1000


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the event log."""

    #: ``packet`` or ``ack``.
    kind: str
    text: str
    #: The key and the container's id, if the line is about one node.
    key: str = ""
    id: str = ""


class AnnounceStats:
    """``packets`` counts by operation (join, leave, heartbeat, mark) and result (sent, again, or the ack's)."""

    def __init__(self) -> None:
        self.packets: Counter[tuple[str, str]] = Counter()
        self._lines: deque[LogLine] = deque(maxlen=MAX_WAITING_LINES)
        self._seconds: deque[float] = deque(maxlen=MAX_WAITING_LINES)

    def sent(self, packet: Packet) -> None:
        """A new packet goes out."""
        self.packets[_operation(packet), "sent"] += 1
        if packet.entries:
            self._log("packet", f"packet {packet.seq}: {_listed(packet.entries)}", packet.entries)

    def resent(self, packets: Iterable[Packet]) -> None:
        """Packets go out again."""
        for packet in packets:
            self.packets[_operation(packet), "again"] += 1

    def sent_legacy(self, entry: Entry) -> None:
        """A packet to a router that does not ack."""
        self.packets["leave" if entry.gone else "join", "sent"] += 1

    def acked(self, packet: Packet | None, ack: Ack, now: float) -> None:
        """The router answered."""
        if packet is None:
            return
        self.packets[_operation(packet), ack.result] += 1
        if packet.entries:
            seconds = now - packet.sent_at
            self._seconds.append(seconds)
            running = f", {ack.in_flight} requests in flight" if ack.in_flight else ""
            reason = f" ({ack.reason})" if ack.reason else ""
            text = f"packet {packet.seq} {ack.result} after {seconds * 1000:.1f} ms{running}{reason}"
            self._log("ack", text, packet.entries)

    def take(self) -> tuple[list[LogLine], list[float]]:
        """The lines, and the seconds that each ack of a change took, since the last call."""
        lines, seconds = list(self._lines), list(self._seconds)
        self._lines.clear()
        self._seconds.clear()
        return lines, seconds

    def _log(self, kind: str, text: str, entries: tuple[Entry, ...]) -> None:
        entry = entries[0] if len(entries) == 1 else Entry("")
        self._lines.append(LogLine(kind, text, entry.key, entry.owner.partition("@")[0]))


def _operation(packet: Packet) -> str:
    if packet.op != "nodes":
        return packet.op
    return "leave" if packet.entries and packet.entries[0].gone else "join"


def _listed(entries: tuple[Entry, ...]) -> str:
    named = [
        f"{_verb(entry)} {entry.key}{'@' if entry.address else ''}{entry.address}"
        for entry in entries[:MAX_NAMED_ENTRIES]
    ]
    more = f" and {len(entries) - MAX_NAMED_ENTRIES} more" if len(entries) > MAX_NAMED_ENTRIES else ""
    return ", ".join(named) + more


def _verb(entry: Entry) -> str:
    return "leave" if entry.gone else "drain" if entry.drain else "join" if entry.address else "know"
