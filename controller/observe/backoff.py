"""Waiting times between attempts that fail: growing, capped, never ending, with chance in them."""

from __future__ import annotations

import random

#: Seconds: the first and the longest wait; a connection that held this long starts again from the first.
FIRST, LONGEST, HELD = 0.1, 15.0, 5.0
#: The longest wait where an attempt costs nothing.
CHEAP = 1.0


class Backoff:
    """One row of attempts."""

    def __init__(self) -> None:
        self._next = FIRST

    def next(self, *, cheap: bool = False) -> float:
        """Seconds to wait before the next attempt: half of it sure, half of it chance.  ``cheap``: the last one was
        refused at once, so that another costs nobody anything."""
        wait = min(self._next, CHEAP if cheap else LONGEST)
        self._next = wait * 2
        return wait * random.uniform(0.5, 1.0)

    def worked(self, seconds: float) -> None:
        """An attempt succeeded and held for ``seconds``."""
        if seconds >= HELD:
            self._next = FIRST
