"""Waiting times between attempts that fail: growing, capped, never ending, with chance in them."""

from __future__ import annotations

import random

from fastroute.router.runtime.backoff import Backoff

#: Seconds of the first wait and of the longest one.
FIRST_DELAY, MAX_DELAY = 0.1, 15.0
#: A connection that held for so many seconds starts again from the first wait.
STABLE_AFTER = 5.0
#: Seconds of the longest wait after an attempt that was refused at once, and so costs nothing.
MAX_REFUSED_DELAY = 1.0


class ReconnectDelay:
    """The waits of one engine's connections: a back-off with chance in it."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_DELAY, MAX_DELAY)

    def next(self, *, cheap: bool = False) -> float:
        """Seconds to wait before the next attempt: half of it sure, half of it chance.  ``cheap``: the last one was
        refused at once, so that another costs nobody anything."""
        return self._backoff.next(MAX_REFUSED_DELAY if cheap else MAX_DELAY) * random.uniform(0.5, 1.0)

    def worked(self, seconds: float) -> None:
        """An attempt succeeded and held for ``seconds``."""
        if seconds >= STABLE_AFTER:
            self._backoff.reset()
