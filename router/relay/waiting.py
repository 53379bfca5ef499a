"""Requests that wait for a node: one queue for each key, and when to look at which queue.  Pure; time is handed in.

* The one that joined first is next.  A request that left its queue for a node that could not be reached after all has
  its old place when it joins again, and its old deadline.
* A request that may not go to every node (one of them broke off on it) is *choosy*: those behind it need not wait for
  the node that it wants.
* Nothing here grows with the number of waiting requests beyond O(log n), and nobody looks at all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, Generic, TypeVar

from fastroute.router.protocol.latency import WaitCounts
from fastroute.router.relay.level import LevelNode

#: Entries of requests that have left, tolerated in a heap beyond one for each that waits before the heap is rebuilt.
_SLACK: Final = 64
_NUMBERS: Final = itertools.count(1)


class Waiter:
    """One request's place in a queue, and for how long it has waited so far."""

    __slots__ = ("choosy", "deadline", "entry", "joined", "place", "request", "waited", "wanted")

    def __init__(self, request: object) -> None:
        #: None while it does not wait.
        self.request = request
        #: Lower is earlier; 0: it has not joined yet.
        self.place = 0
        #: What makes its entries in the heaps valid; 0: it does not wait now.
        self.entry = 0
        self.deadline = inf
        self.choosy = False
        #: The one node that it waits for; None: any will do.
        self.wanted: LevelNode | None = None
        #: When it joined, and seconds that it had waited before.
        self.joined = self.waited = 0.0


_Heap = list[tuple[float, int, Waiter]]


class WaitingQueue:
    """The requests that wait for a node of one key."""

    __slots__ = ("_choosy", "_deadlines", "_not_before", "_order", "_size", "_to_try", "_wanting", "any_node", "counts",
                 "full", "last_deadline")  # fmt: skip

    def __init__(self) -> None:
        #: Heaps of place, entry and waiter.
        self._order: _Heap = []
        self._choosy: _Heap = []
        #: The same by node, of those that wait for that one.
        self._wanting: dict[LevelNode, _Heap] = {}
        #: Those of these nodes that may take a request now, as far as anybody knows.
        self._to_try: dict[LevelNode, None] = {}
        #: How many wait for any node.
        self.any_node = 0
        #: A heap of deadline, entry and waiter.
        self._deadlines: _Heap = []
        self._size = 0
        #: Nobody's time is over before.
        self._not_before = 0.0
        #: The deadline of the one that joined last.
        self.last_deadline = 0.0
        #: How long requests waited, and how many found the queue full.
        self.counts = WaitCounts()
        self.full = 0

    def __len__(self) -> int:
        return self._size

    def join(self, waiter: Waiter, now: float, deadline: float, choosy: bool = False,
             wanted: LevelNode | None = None) -> None:  # fmt: skip
        """``waiter`` waits from now on, until ``deadline``, or the one that it had when it joined first.  ``wanted``:
        the one node that it waits for."""
        waiter.entry = next(_NUMBERS)
        if not waiter.place:
            waiter.place, waiter.deadline = waiter.entry, deadline
            self.last_deadline = deadline
        waiter.joined, waiter.choosy = now, choosy
        self._line_up(waiter, wanted)
        self._size += 1

    def want(self, waiter: Waiter, wanted: LevelNode | None) -> None:
        """``waiter`` waits for that node now, at the place and with the deadline that it has; None: for any."""
        before = waiter.wanted
        waiter.entry = next(_NUMBERS)
        self._forget_wanted(before)
        self._line_up(waiter, wanted)

    def _line_up(self, waiter: Waiter, wanted: LevelNode | None) -> None:
        waiter.wanted = wanted
        if wanted is None:
            self.any_node += 1
            heap = self._choosy if waiter.choosy else self._order
        else:
            if wanted not in self._wanting:
                self._to_try[wanted] = None
            heap = self._wanting.setdefault(wanted, [])
        heappush(heap, (waiter.place, waiter.entry, waiter))
        heappush(self._deadlines, (waiter.deadline, waiter.entry, waiter))

    def _forget_wanted(self, wanted: LevelNode | None) -> None:
        """One that waited for this node, or any, does so no longer."""
        if wanted is None:
            self.any_node -= 1
        elif _first(self._wanting[wanted]) is None:
            del self._wanting[wanted]
            self._to_try.pop(wanted, None)

    def leave(self, waiter: Waiter, now: float) -> None:
        """``waiter`` waits no longer."""
        waiter.entry = 0
        waiter.waited += now - waiter.joined
        self.counts.waited(now - waiter.joined)
        self._size -= 1
        self._forget_wanted(waiter.wanted)
        for heap in (self._order, self._choosy, self._deadlines):
            if len(heap) > 2 * self._size + _SLACK:
                heap[:] = [entry for entry in heap if entry[2].entry == entry[1]]
                heapify(heap)

    def next_in_turn(self) -> list[Waiter]:
        """Who is next, and who is if that one can not have the node that it wants."""
        first, choosy = _first(self._order), _first(self._choosy)
        if not self._to_try:
            if choosy is None:
                return [] if first is None else [first]
            if first is None:
                return [choosy]
            return [choosy, first] if choosy.place < first.place else [first]
        wanting = [_first(self._wanting[node]) for node in self._to_try]
        following = [waiter for waiter in (first, choosy, *wanting) if waiter is not None]
        return sorted(following, key=_place)

    def try_again(self, node: LevelNode) -> None:
        """``node`` may take a request, or will never take another one: those that wait for it get their turn."""
        if node in self._wanting:
            self._to_try[node] = None

    @property
    def wanted_before(self) -> list[LevelNode]:
        """The nodes that may take a request which one who waits for any has a right to: it came before theirs."""
        first = _first(self._order)
        place = inf if first is None else first.place
        return [node for node in self._to_try if _place_of(self._wanting[node]) > place]

    def try_all(self) -> None:
        """Any of the nodes may take a request that waits for it."""
        self._to_try = dict.fromkeys(self._wanting)

    def not_now(self, node: LevelNode) -> None:
        """``node`` takes no more requests for now."""
        self._to_try.pop(node, None)

    def hold(self, until: float) -> None:
        """Nobody's time is over before ``until``; what was said before counts no longer."""
        self._not_before = until

    @property
    def has_choosy(self) -> bool:
        """True while a choosy one waits."""
        return _first(self._choosy) is not None

    def overdue(self, now: float) -> Waiter | None:
        """One whose time is over."""
        waiter = _first(self._deadlines) if now >= self._not_before else None
        return waiter if waiter is not None and waiter.deadline <= now else None

    def next_deadline(self) -> float:
        """When somebody's time is over next."""
        waiter = _first(self._deadlines)
        return inf if waiter is None else max(waiter.deadline, self._not_before)


P = TypeVar("P")


class QueueSchedule(Generic[P]):
    """Which pools' queues are to be looked at, and when.  ``on_wake`` is called when the first one is."""

    def __init__(self, on_wake: Callable[[], None] | None = None) -> None:
        self.on_wake = on_wake
        #: How many wait.
        self.waiting = 0
        #: To be looked at now, in turn.
        self.woken: dict[P, None] = {}
        #: When each is to be looked at, and a heap of the same; entries may be outdated.
        self._alarms: dict[P, float] = {}
        self._due: list[tuple[float, int, P]] = []

    def wake(self, pool: P) -> None:
        """Look at ``pool`` as soon as possible."""
        if not self.woken and self.on_wake is not None:
            self.on_wake()
        self.woken[pool] = None

    def wake_at(self, pool: P, at: float) -> None:
        """Look at ``pool`` at that time, or before, if it is to be looked at before already.

        So that no time that was set is put off again and again by requests that keep coming.
        """
        if self._alarms.get(pool, inf) <= at:
            return
        self._alarms[pool] = at
        heappush(self._due, (at, next(_NUMBERS), pool))
        if len(self._due) > 2 * len(self._alarms) + _SLACK:
            self._due = [(time, next(_NUMBERS), other) for other, time in self._alarms.items()]
            heapify(self._due)

    def forget(self, pool: P) -> None:
        """Nobody waits for ``pool`` any more."""
        self.woken.pop(pool, None)
        self._alarms.pop(pool, None)

    def tick(self, now: float) -> None:
        """Wake those whose time has come."""
        while self._due and self._due[0][0] <= now:
            at, _, pool = heappop(self._due)
            if self._alarms.get(pool) == at:
                del self._alarms[pool]
                self.woken[pool] = None


def _place_of(heap: _Heap) -> float:
    waiter = _first(heap)
    return inf if waiter is None else waiter.place


def _place(waiter: Waiter) -> int:
    return waiter.place


def _first(heap: _Heap) -> Waiter | None:
    while heap:
        _, entry, waiter = heap[0]
        if waiter.entry == entry:
            return waiter
        heappop(heap)
    return None
