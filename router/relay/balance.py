"""Balancing: which of a pool's available nodes takes the next request.  Pure; chance is handed in.

One class per algorithm behind :class:`~fastroute.router.relay.picker.Picker`; their names are
:data:`~fastroute.router.protocol.node_options.ALGORITHMS`.  A picker holds only nodes that may be chosen now (the pool
adds and removes them), so that choosing never looks at a node it cannot take.  The rule: no operation grows with the
number of nodes beyond O(log n).  ``iphash`` has a file of its own (address_hash.py).

Time inside ``wrr``, ``lrc`` and ``wlrc`` is virtual: one turn of ``CYCLE`` units is one full cycle, in which a node of
weight w is due w times, evenly spread.  In integers, so that it is exact: whatever the weights, and however the nodes
joined, any ``sum(weights)`` choices in a row take each node exactly as often as its weight says.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from fastroute.router.relay.address_hash import AddressHash
from fastroute.router.relay.picker import M, Picker

CYCLE: Final = 1 << 40
#: Stale heap entries tolerated beyond one per node before the heap is rebuilt.
_SLACK: Final = 64
#: Of tickets: no two pickers give out the same, so that a node's entry in a picker that it has left stays invalid.
_SERIES: Final = itertools.count()


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

    def restore(self, member: M) -> None:
        """The node keeps its turn; if that is over, it comes next, and turns that it missed are not made up for."""
        half = CYCLE // (2 * member.weight)
        due = member.start + (2 * member.turns + 1) * CYCLE // (2 * member.weight)
        if due > self._clock + CYCLE // member.weight + 2:
            # A turn in another picker: the algorithm changed meanwhile.
            self.add(member)
            return
        if due < self._clock:
            member.start, member.turns, due = self._clock - half, 0, self._clock
        self._tickets += 1
        self._size += 1
        member.ticket = self._tickets
        heappush(self._heap, (due, member.ticket, member))

    def reweigh(self, member: M, weight: int, pace: int) -> None:
        """What is left until its turn is longer or shorter by as much as its turns are."""
        due = member.start + (2 * member.turns + 1) * CYCLE // (2 * member.weight)
        left = max(0, due - self._clock) * member.weight // weight
        self.remove(member)
        member.weight, member.pace = weight, pace
        member.start, member.turns = self._clock + left - CYCLE // (2 * weight), 0
        self._tickets += 1
        self._size += 1
        member.ticket = self._tickets
        heappush(self._heap, (self._clock + left, member.ticket, member))

    def choose(self, client: bytes) -> M | None:
        """The node that is due first; among equals the one that joined first."""
        heap = self._heap
        while heap:
            due, ticket, member = heap[0]
            if member.ticket != ticket:
                heappop(heap)
                continue
            if len(heap) == 1:
                # Nobody to take turns with.
                return member
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

    def restore(self, member: M) -> None:
        """The node keeps its turn among equals, as in :class:`Smooth`."""
        self._size += 1
        turn = CYCLE // self._weight(member)
        if not self._clock <= member.due <= self._clock + turn + 2:
            member.due = self._clock + turn // 2
        self._push(member)

    def reweigh(self, member: M, weight: int, pace: int) -> None:
        """As in :class:`Smooth`."""
        before = self._weight(member)
        self.remove(member)
        member.weight, member.pace = weight, pace
        self._size += 1
        member.due = self._clock + max(0, member.due - self._clock) * before // self._weight(member)
        self._push(member)

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
        return member.weight if self._weighted else member.pace

    def _push(self, member: M) -> None:
        self._tickets += 1
        member.ticket = self._tickets
        heappush(self._heap, (member.in_flight * CYCLE // self._weight(member), member.due, self._tickets, member))
        if len(self._heap) > 4 * self._size + _SLACK:
            self._heap = [entry for entry in self._heap if entry[3].ticket == entry[2]]
            heapify(self._heap)


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
