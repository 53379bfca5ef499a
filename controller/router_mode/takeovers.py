"""Two controllers under one name take over from each other, for ever: this notices.  Pure; monotonic seconds."""

from __future__ import annotations

import math
from collections import deque

#: After so many takeovers within a minute, one waits for :data:`TAKEOVER_PAUSE` seconds.
MAX_TAKEOVERS_PER_MINUTE = 3
TAKEOVER_PAUSE = 20.0


class Takeovers:
    """When a router was taken over; ``hold_until``: nothing is said to it before."""

    def __init__(self) -> None:
        self.hold_until = -math.inf
        self._times: deque[float] = deque(maxlen=MAX_TAKEOVERS_PER_MINUTE)

    def add(self, now: float) -> bool:
        """One more; True when there were so many that another controller must have the same name."""
        too_many = len(self._times) == MAX_TAKEOVERS_PER_MINUTE and now - self._times[0] < 60
        if too_many:
            self.hold_until = now + TAKEOVER_PAUSE
        self._times.append(now)
        return too_many
