"""When the next list of containers is due, and which answer counts.  Pure; times are monotonic seconds."""

from __future__ import annotations

from collections.abc import Callable

#: Share of the interval between comparisons that is chance; seconds until a list that failed is asked for again.
JITTER = 0.15
RETRY = 2.0
#: Lists asked for between two comparisons, because a network is new, are at least so many seconds apart.
PAUSE = 1.0


class Listing:
    """The schedule of lists.

    * ``uniform`` draws a number between two others, as ``random.uniform`` does.
    * ``first``: no list of this connection (or configuration) has answered yet.
    * ``asked``: when the last list was asked for.
    * ``ticket``: the clock of the records at that time.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self.first = True
        self.asked, self.ticket = 0.0, -1
        self._next: float | None = None
        self._running = False

    def begin(self, now: float) -> None:
        """Everything has to be looked at; what is under way no longer counts."""
        self._running, self.first, self._next = False, True, now

    def interrupt(self) -> None:
        """What is under way will not be answered."""
        self._running = False

    def want(self, now: float) -> None:
        """Somebody wants a comparison now."""
        self._next = now

    def want_soon(self, now: float) -> None:
        """There is something that the last list does not know."""
        soonest = max(now, self.asked + PAUSE)
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
        """An answer (or failure) came; false when it is not the one that counts.  Then next in ``after`` seconds."""
        if not self._running or ticket != self.ticket:
            return False
        self._running = False
        self._next = now + after * self._uniform(1 - JITTER, 1 + JITTER)
        return True
