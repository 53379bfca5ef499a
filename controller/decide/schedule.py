"""When the next list of containers is due, and when which container is to be looked at.  Pure; times are monotonic
seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

#: By which share of itself the interval between two comparisons varies.
INTERVAL_JITTER = 0.15
#: Seconds until a list that failed is asked for again.
LIST_RETRY_DELAY = 2.0
#: Seconds between two lists that are asked for because a network is new, at least.
MIN_LIST_INTERVAL = 1.0


class Listing:
    """The schedule of lists.

    * ``uniform`` draws a number between two others, as ``random.uniform`` does.
    * ``first``: no list of this connection (or configuration) has answered yet.
    * ``asked``: when the last list was asked for.
    * ``ticket``: the clock of the container store at that time.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self.first = True
        self.asked, self.ticket = 0.0, -1
        self._next: float | None = None
        self._running = False

    def begin(self, now: float) -> None:
        """Every container has to be compared; a list that is under way no longer counts."""
        self._running, self.first, self._next = False, True, now

    def interrupt(self) -> None:
        """A list that is under way will not be answered."""
        self._running = False

    def want(self, now: float) -> None:
        """A comparison is wanted now."""
        self._next = now

    def want_soon(self, now: float) -> None:
        """Something is there that the last list does not know."""
        soonest = max(now, self.asked + MIN_LIST_INTERVAL)
        self._next = min(soonest, self._next or soonest)

    @property
    def due(self) -> float | None:
        """When to ask; with a list under way, another one can only wait for a message."""
        return None if self._running else self._next

    def ask(self, now: float, clock: int) -> bool:
        """True when it is time: the list counts as asked for."""
        if self.due is None or self.due > now:
            return False
        self._running, self._next = True, None
        self.asked, self.ticket = now, clock
        return True

    def answered(self, ticket: int, now: float, after: float) -> bool:
        """An answer (or failure) came; the next list is due in about ``after`` seconds.  False: the answer is to a list
        that no longer counts."""
        if not self._running or ticket != self.ticket:
            return False
        self._running = False
        self._next = now + after * self._uniform(1 - INTERVAL_JITTER, 1 + INTERVAL_JITTER)
        return True


class Timers:
    """Container ids by time; one id may have several."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []

    def set(self, due: float, id: str) -> None:
        """``id`` is due then."""
        heapq.heappush(self._heap, (due, id))

    @property
    def due(self) -> float | None:
        """When the next one is."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> Iterator[str]:
        """Those that are due by ``now``, each taken out."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[1]
