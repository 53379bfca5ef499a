"""When a worker that ended is started again.  Pure; times are monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastroute.router.runtime.backoff import Backoff

#: Seconds until a worker that keeps ending is started again: doubled from the first to the last.
MIN_BACKOFF, MAX_BACKOFF = 0.1, 10.0
#: A worker that ran for this many seconds starts the back-off over, and is started again at once.
HEALTHY_AFTER = 10.0


@dataclass(slots=True)
class RestartPolicy:
    """When one worker is started again."""

    #: ``always``, ``on-failure`` or ``never``.
    policy: str
    backoff: Backoff = field(default_factory=lambda: Backoff(MIN_BACKOFF, MAX_BACKOFF))

    def due(self, code: int, run_time: float, now: float) -> float:
        """When to start it again after it ended with ``code`` (negative: a signal did it); infinity: never."""
        if self.policy == "never" or (self.policy == "on-failure" and code == 0):
            return float("inf")
        if run_time >= HEALTHY_AFTER:
            self.backoff.reset()
            return now
        return now + self.backoff.next()
