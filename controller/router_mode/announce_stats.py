"""What was sent to one router and what came back: numbers for metrics, sentences for people.  Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from fastroute.controller.router_mode.packets_in_flight import Packet
from fastroute.router.subscription import Ack, Entry

#: Entries of one packet that a sentence names; sentences that nobody took yet.
_NAMED = 3
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence.  ``kind`` is ``packet`` or ``ack``; ``key`` and ``id`` (of a container) if it is about one node."""

    kind: str
    text: str
    key: str = ""
    id: str = ""


class Tally:
    """``packets`` counts by operation (join, leave, heartbeat, mark) and result (sent, again, or the ack's)."""

    def __init__(self) -> None:
        self.packets: Counter[tuple[str, str]] = Counter()
        self._said: deque[Said] = deque(maxlen=_KEPT)
        self._seconds: deque[float] = deque(maxlen=_KEPT)

    def sent(self, packet: Packet) -> None:
        """A new packet goes out."""
        self.packets[_operation(packet), "sent"] += 1
        if packet.entries:
            self._say("packet", f"packet {packet.seq}: {_listed(packet.entries)}", packet.entries)

    def again(self, packets: Iterable[Packet]) -> None:
        """Packets go out again."""
        for packet in packets:
            self.packets[_operation(packet), "again"] += 1

    def plain(self, entry: Entry) -> None:
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
            self._say("ack", text, packet.entries)

    def take(self) -> tuple[list[Said], list[float]]:
        """The sentences, and the seconds until acks of changes, since the last call."""
        said, seconds = list(self._said), list(self._seconds)
        self._said.clear()
        self._seconds.clear()
        return said, seconds

    def _say(self, kind: str, text: str, entries: tuple[Entry, ...]) -> None:
        one = entries[0] if len(entries) == 1 else Entry("")
        self._said.append(Said(kind, text, one.key, one.owner.partition("@")[0]))


def _operation(packet: Packet) -> str:
    if packet.op != "nodes":
        return packet.op
    return "leave" if packet.entries and packet.entries[0].gone else "join"


def _listed(entries: tuple[Entry, ...]) -> str:
    named = [f"{_verb(entry)} {entry.key}{'@' if entry.address else ''}{entry.address}" for entry in entries[:_NAMED]]
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return ", ".join(named) + more


def _verb(entry: Entry) -> str:
    return "leave" if entry.gone else "drain" if entry.drain else "join" if entry.address else "know"
