"""Balancing: which of a pool's available nodes takes the next request.  Pure; chance is handed in.

One class per algorithm behind :class:`Picker`; their names are
:data:`~fastroute.router.protocol.node_options.ALGORITHMS`.  A picker holds only nodes that may be chosen now (the pool
adds and removes them), so that choosing never looks at a node it cannot take.  The rule of this file: no operation
grows with the number of nodes beyond O(log n).

Time inside ``wrr``, ``lrc`` and ``wlrc`` is virtual: one turn of ``CYCLE`` units is one full cycle, in which a node of
weight w is due w times, evenly spread.  In integers, so that it is exact: whatever the weights, and however the nodes
joined, any ``sum(weights)`` choices in a row take each node exactly as often as its weight says.
"""

from __future__ import annotations

import itertools
import random
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Generic, TypeVar

CYCLE: Final = 1 << 40
#: Places that one client's hash gets on the ring: the busiest node then carries about 1.1 times the mean.
PROBES: Final = 16
#: Places of one node on the ring (its weight, up to this): joining costs as many insertions.
MAX_PLACES: Final = 100
_RING: Final = 0xFFFF_FFFF
#: Stale heap entries tolerated beyond one per node before the heap is rebuilt.
_SLACK: Final = 64
#: Of tickets: no two pickers give out the same, so that a node's entry in a picker that it has left stays invalid.
_SERIES: Final = itertools.count()


class BalancedNode:
    """What balancing knows of a node; the pool's Node adds the rest."""

    __slots__ = ("address", "due", "in_flight", "start", "ticket", "turns", "weight")

    def __init__(self, address: str, weight: int) -> None:
        self.address = address
        self.weight = weight
        #: Requests that it has now.
        self.in_flight = 0
        #: These belong to its picker: when it joined, turns since then, when the next turn is due (virtual time), and
        #: what makes its entry in a heap valid.
        self.start = 0
        self.turns = 0
        self.due = 0
        self.ticket = -1


M = TypeVar("M", bound=BalancedNode)


class Picker(ABC, Generic[M]):
    """One algorithm over the available nodes."""

    @abstractmethod
    def __len__(self) -> int:
        """How many nodes may be chosen."""

    @abstractmethod
    def add(self, member: M) -> None:
        """``member`` may be chosen from now on."""

    @abstractmethod
    def remove(self, member: M) -> None:
        """``member`` may not be chosen any more."""

    @abstractmethod
    def choose(self, client: bytes) -> M | None:
        """The node for the next request of ``client`` (REMOTE_ADDR); ``None`` when there is none."""

    @abstractmethod
    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """As :meth:`choose`, but none of ``tried``, which are members, and keep their turns."""

    def changed(self, member: M) -> None:
        """``member.in_flight`` changed (told only for :data:`COUNTING`)."""


class Smooth(Picker[M]):
    """``wrr``: the node that is due first; a heap of due times, entries of nodes that left are dropped when met."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, M]] = []
        self._clock = 0
        self._tickets = next(_SERIES) << 40
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, member: M) -> None:
        """The node joins as if its last turn ended now, so that it gets neither a burst nor a wait."""
        self._tickets += 1
        self._size += 1
        member.ticket = self._tickets
        member.start = self._clock
        member.turns = 0
        heappush(self._heap, (self._clock + CYCLE // (2 * member.weight), member.ticket, member))

    def remove(self, member: M) -> None:
        """The node's entry stays in the heap, without a valid ticket."""
        member.ticket = -1
        self._size -= 1
        if len(self._heap) > 2 * self._size + _SLACK:
            self._heap = [entry for entry in self._heap if entry[2].ticket == entry[1]]
            heapify(self._heap)

    def choose(self, client: bytes) -> M | None:
        """The node that is due first; among equals the one that joined first."""
        heap = self._heap
        while heap:
            due, ticket, member = heap[0]
            if member.ticket != ticket:
                heappop(heap)
                continue
            self._clock = due
            member.turns += 1
            after = member.start + (2 * member.turns + 1) * CYCLE // (2 * member.weight)
            heapreplace(heap, (after, ticket, member))
            return member
        return None

    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """Takes ``tried`` out while it chooses, and puts them back, so that they keep their turns."""
        heap, put_aside = self._heap, []
        while heap and (heap[0][2] in tried or heap[0][2].ticket != heap[0][1]):
            entry = heappop(heap)
            if entry[2].ticket == entry[1]:
                put_aside.append(entry)
        clock = self._clock
        chosen = self.choose(client)
        if put_aside:
            self._clock = clock
        for entry in put_aside:
            heappush(heap, entry)
        return chosen


class Least(Picker[M]):
    """``lrc`` and ``wlrc``: fewest requests in flight (per weight); among equals as ``wrr``."""

    def __init__(self, weighted: bool) -> None:
        self._weighted = weighted
        self._heap: list[tuple[int, int, int, M]] = []
        self._clock = 0
        self._tickets = next(_SERIES) << 40
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, member: M) -> None:
        """The node's turn among equals comes as in :class:`Smooth`."""
        self._size += 1
        member.due = self._clock + CYCLE // (2 * self._weight(member))
        self._push(member)

    def remove(self, member: M) -> None:
        """The node's entry stays in the heap, without a valid ticket."""
        member.ticket = -1
        self._size -= 1

    def choose(self, client: bytes) -> M | None:
        """The least busy node.  Turns that it missed are not made up for: a slow node gets no burst when it is idle."""
        heap = self._heap
        while heap:
            _, due, ticket, member = heap[0]
            if member.ticket != ticket:
                heappop(heap)
                continue
            self._clock = max(self._clock, due)
            member.due = max(due, self._clock) + CYCLE // self._weight(member)
            self._push(member)
            return member
        return None

    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """Takes ``tried`` out while it chooses, and puts them back."""
        heap, put_aside = self._heap, []
        while heap and (heap[0][3] in tried or heap[0][3].ticket != heap[0][2]):
            entry = heappop(heap)
            if entry[3].ticket == entry[2]:
                put_aside.append(entry)
        chosen = self.choose(client)
        for entry in put_aside:
            heappush(self._heap, entry)
        return chosen

    def changed(self, member: M) -> None:
        """The node gets its new place in the heap."""
        if member.ticket >= 0:
            self._push(member)

    def _weight(self, member: M) -> int:
        return member.weight if self._weighted else 1

    def _push(self, member: M) -> None:
        self._tickets += 1
        member.ticket = self._tickets
        heappush(self._heap, (member.in_flight * CYCLE // self._weight(member), member.due, self._tickets, member))
        if len(self._heap) > 4 * self._size + _SLACK:
            self._heap = [entry for entry in self._heap if entry[3].ticket == entry[2]]
            heapify(self._heap)


class AddressHash(Picker[M]):
    """``iphash``: consistent.  A client has :data:`PROBES` places on a ring and takes the closest node behind one.

    A node has few places (its weight, up to :data:`MAX_PLACES`), so that joining stays cheap with 10,000 of them; many
    probes make up for it.  A node that joins takes clients from all others and moves none between those.
    """

    def __init__(self) -> None:
        self._places: list[int] = []
        self._owners: list[M] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, member: M) -> None:
        """Put the node's places on the ring."""
        self._size += 1
        for place in _places(member):
            at = bisect_left(self._places, place)
            while at < len(self._places) and self._places[at] == place and self._owners[at].address < member.address:
                at += 1
            self._places.insert(at, place)
            self._owners.insert(at, member)

    def remove(self, member: M) -> None:
        """Take the node's places off the ring."""
        self._size -= 1
        for place in _places(member):
            at = bisect_left(self._places, place)
            while self._owners[at] is not member:
                at += 1
            del self._places[at]
            del self._owners[at]

    def choose(self, client: bytes) -> M | None:
        """The same node for the same client, as long as it is there."""
        places = self._places
        if not places:
            return None
        best, nearest = 0, _RING + 1
        state = zlib.crc32(client)
        for _ in range(PROBES):
            state, probe = _next(state)
            at = bisect_left(places, probe)
            if at == len(places):
                at = 0
            distance = (places[at] - probe) & _RING
            if distance < nearest:
                best, nearest = at, distance
        return self._owners[best]

    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """Where the client would go if ``tried`` had no places."""
        places, owners = self._places, self._owners
        if len(tried) >= self._size:
            return None
        best, nearest = 0, _RING + 1
        state = zlib.crc32(client)
        for _ in range(PROBES):
            state, probe = _next(state)
            at = bisect_left(places, probe) % len(places)
            while owners[at] in tried:
                at = (at + 1) % len(places)
            distance = (places[at] - probe) & _RING
            if distance < nearest:
                best, nearest = at, distance
        return owners[best]


class Random2(Picker[M]):
    """``random2``: the better of two random nodes, by requests in flight per weight."""

    def __init__(self, chance: random.Random) -> None:
        self._members: list[M] = []
        self._chance = chance

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: M) -> None:
        """Append the node: order means nothing here.  Its ticket is its index."""
        member.ticket = len(self._members)
        self._members.append(member)

    def remove(self, member: M) -> None:
        """The last node takes its place."""
        last = self._members.pop()
        if last is not member:
            self._members[member.ticket] = last
            last.ticket = member.ticket
        member.ticket = -1

    def choose(self, client: bytes) -> M | None:
        """Compares (in flight + 1) / weight, so that idle nodes are chosen by weight."""
        return self._choose(len(self._members))

    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """Choose before ``tried``, which change places with the last nodes."""
        members, count = self._members, len(self._members)
        for member in tried:
            count -= 1
            at, last = member.ticket, members[count]
            members[at], last.ticket = last, at
            members[count], member.ticket = member, count
        return self._choose(count)

    def _choose(self, count: int) -> M | None:
        if count < 2:
            return self._members[0] if count else None
        first = int(self._chance.random() * count)
        second = int(self._chance.random() * (count - 1))
        member, other = self._members[first], self._members[second + (second >= first)]
        return member if (member.in_flight + 1) * other.weight <= (other.in_flight + 1) * member.weight else other


#: Those that must be told when a node's requests in flight change.
COUNTING: Final = ("lrc", "wlrc")


def new_picker(algorithm: str, chance: random.Random) -> Picker[M]:
    """A picker without nodes; a name that is none of theirs means ``wrr``, as in the original."""
    if algorithm in ("lrc", "wlrc"):
        return Least(weighted=algorithm == "wlrc")
    if algorithm == "iphash":
        return AddressHash()
    if algorithm == "random2":
        return Random2(chance)
    return Smooth()


def _next(state: int) -> tuple[int, int]:
    """A 64-bit linear congruential step (Knuth's constants): new state, and its upper 32 bits as a place."""
    state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
    return state, state >> 32


def _places(member: BalancedNode) -> list[int]:
    state = zlib.crc32(member.address.encode("latin-1", "replace")) << 32 | 0x9E37_79B9
    places = []
    for _ in range(min(member.weight, MAX_PLACES)):
        state, place = _next(state)
        places.append(place)
    return places
