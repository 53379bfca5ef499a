"""A world in virtual time: one delivery, one router, and a link that loses, delays, doubles and reorders."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from fastroute.controller.router_mode.announce_queues import GROUP_LIMIT
from fastroute.controller.router_mode.packets_in_flight import EntryId, entry_id
from fastroute.controller.router_mode.session import RouterSession
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.entry import digest_of
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode, encode_ack

Held = set[tuple[str, str, str, int, bool]]


def shown(entries: Iterable[Entry]) -> Held:
    """What counts when two sets of entries are compared."""
    return {(entry.key, entry.address, entry.owner, entry.options.weight, entry.drain) for entry in entries}


class Router(Protocol):
    """Takes a datagram, and may answer."""

    def datagram(self, data: bytes, now: float) -> bytes | None: ...

    def restart(self) -> None: ...

    def held(self) -> Held: ...


class TableRouter:
    """The real table behind a wire."""

    def __init__(self) -> None:
        self.starts = 0
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.starts += 1
        self.table = Table()

    def datagram(self, data: bytes, now: float) -> bytes | None:
        """Apply, and answer as the control process does."""
        packet = decode(data)
        assert isinstance(packet, Announcement)
        result = self.table.apply(packet, "127.0.0.1", now)
        if result is None or not packet.ack:
            return None
        instance = self.table.sources[packet.source].instance if result == "behind" else -1
        return encode_ack(Ack(packet.seq, f"{self.starts:016x}", result, instance))

    def held(self) -> Held:
        """All records."""
        return shown(claim.entry for claim in self.table.records())


class ModelRouter:
    """docs/reference/wire.md in thirty lines, written without the table; it refuses addresses that end in ``:13``."""

    def __init__(self) -> None:
        self.starts = 0
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.starts += 1
        self.instance, self.newest, self.settled = -1, -1, -1
        self.entries: dict[EntryId, tuple[int, int, Entry]] = {}

    def datagram(self, data: bytes, now: float) -> bytes | None:
        """Apply one packet."""
        packet = decode(data)
        assert isinstance(packet, Announcement)
        boot = f"{self.starts:016x}"
        if packet.instance < self.instance:
            return encode_ack(Ack(packet.seq, boot, "behind", self.instance))
        if any(entry.address.endswith(":13") for entry in packet.entries):
            return encode_ack(Ack(packet.seq, boot, "refused", reason="unlucky"))
        known = packet.instance == self.instance
        if not known:
            self.instance, self.newest, self.settled = packet.instance, -1, -1
        for entry in packet.entries:
            instance, seq, _ = self.entries.get(entry_id(entry), (-1, -1, entry))
            if packet.seq > max(self.settled, seq if instance == self.instance else -1):
                self.entries[entry_id(entry)] = (self.instance, packet.seq, entry)
                self.newest = max(self.newest, packet.seq)
        if packet.op == "nodes":
            return encode_ack(Ack(packet.seq, boot, "applied" if known else "full"))
        if packet.op == "mark":
            entries = {n: row for n, row in self.entries.items() if row[:2] >= (self.instance, packet.since)}
            self.entries = entries
        if packet.seq < self.newest:
            return None
        serving = [entry for _, _, entry in self.entries.values() if not entry.gone]
        if (packet.count, packet.digest) != (len(serving), digest_of(serving)):
            return encode_ack(Ack(packet.seq, boot, "full"))
        self.settled = packet.seq
        return encode_ack(Ack(packet.seq, boot, "applied"))

    def held(self) -> Held:
        """All entries that did not leave."""
        return shown(entry for _, _, entry in self.entries.values() if not entry.gone)


class OriginalRouter:
    """uWSGI: one node per key and address, no acks, no notion of drain or owner."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.nodes: dict[tuple[str, str], Entry] = {}

    def datagram(self, data: bytes, now: float) -> bytes | None:
        """Join or leave; what has no key is ignored."""
        packet = decode(data)
        assert isinstance(packet, Announcement)
        if packet.op == "nodes":
            (entry,) = packet.entries
            if entry.gone:
                self.nodes.pop((entry.key, entry.address), None)
            else:
                self.nodes[entry.key, entry.address] = entry
        return None

    def held(self) -> Held:
        """All nodes, without owners."""
        return {(key, address, "", 0, False) for key, address in self.nodes}


@dataclass
class World:
    """One delivery and one router; ``loss`` is a probability, one way takes ``least`` to ``delay`` seconds."""

    router: Router
    seed: int = 0
    loss: float = 0.0
    delay: float = 0.001
    least: float = 0.0
    limit: int = 1400
    #: Bytes of a datagram that the link carries.
    largest: int = 65_535
    now: float = 0.0
    sent: list[tuple[float, bytes]] = field(default_factory=list)
    desired: dict[EntryId, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._whole: set[int] = set()
        self._instances = itertools.count(1)
        self._order = itertools.count()
        self._wire: list[tuple[float, int, RouterSession, bool, bytes]] = []
        self.start_controller()

    def start_controller(self) -> None:
        """A new instance, with the same desired state."""
        self.session = RouterSession(
            "test", next(self._instances), heartbeat=5.0, limit=self.limit, window=4, now=self.now
        )
        self.session.change((), self.desired.values(), self.now)

    def want(self, *entries: Entry) -> None:
        """These, and nothing else, are desired from now on."""
        before, self.desired = self.desired, {entry_id(entry): entry for entry in entries}
        removed = [entry for name, entry in before.items() if name not in self.desired]
        changed = [entry for name, entry in self.desired.items() if before.get(name) != entry]
        self.session.change(removed, changed, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(200_000):
            self._transmit(self.session.poll(self.now))
            arrival = self._wire[0][0] if self._wire else end
            following = max(self.now, min(self.session.due, arrival))
            if following >= end:
                self.now = end
                return
            self.now = following
            while self._wire and self._wire[0][0] <= self.now:
                self._arrive(*heapq.heappop(self._wire)[2:])
        raise AssertionError(f"the delivery never rests: due {self.session.due}, now {self.now}")

    def _transmit(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            packet = decode(datagram)
            # A change of one key in which nodes drain is one packet; what is left of it may be sent again.
            whole = isinstance(packet, Announcement) and any(entry.drain for entry in packet.entries)
            whole = whole or packet.seq in self._whole
            self._whole |= {packet.seq} if whole else set()
            assert len(datagram) <= (GROUP_LIMIT if whole else self.limit)
            self.sent.append((self.now, datagram))
            if len(datagram) <= self.largest:
                self._put(self.session, True, datagram)

    def _put(self, delivery: RouterSession, to_router: bool, datagram: bytes) -> None:
        copies = 0 if self._random.random() < self.loss else 2 if self._random.random() < self.loss / 2 else 1
        for _ in range(copies):
            arrival = self.now + self._random.uniform(self.least, self.delay)
            heapq.heappush(self._wire, (arrival, next(self._order), delivery, to_router, datagram))

    def _arrive(self, delivery: RouterSession, to_router: bool, datagram: bytes) -> None:
        if not to_router:
            ack = decode(datagram)
            assert isinstance(ack, Ack)
            delivery.receive(ack, self.now)
        elif (answer := self.router.datagram(datagram, self.now)) is not None:
            self._put(delivery, False, answer)
