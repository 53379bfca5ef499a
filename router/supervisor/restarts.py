"""When a worker that ended is started again.  Pure; times are monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between restarts of one that keeps ending: doubled from the first to the last.
MIN_BACKOFF, MAX_BACKOFF = 0.1, 10.0
#: One that lived this long starts the backoff over, and is started again at once.
HEALTHY = 10.0


@dataclass(slots=True)
class RestartPolicy:
    """``policy`` is ``always``, ``on-failure`` or ``never``."""

    policy: str
    backoff: float = 0.0

    def due(self, code: int, lived: float, now: float) -> float:
        """When to start it again after it ended with ``code`` (negative: by a signal); infinity: never."""
        if self.policy == "never" or (self.policy == "on-failure" and code == 0):
            return float("inf")
        if lived >= HEALTHY:
            self.backoff = 0.0
            return now
        self.backoff = min(self.backoff * 2, MAX_BACKOFF) if self.backoff else MIN_BACKOFF
        return now + self.backoff
