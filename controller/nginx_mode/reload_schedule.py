"""When the next configuration is tried.  Pure; times are monotonic seconds.

Changes are collected: until ``QUIET_TIME`` after the last, at most ``MAX_DELAY`` after the first, and at least the
minimal interval after the last reload.  A removal (nginx may send requests to a node that is gone) waits only for those
that leave with it, and a few of them don't wait for the interval either.  An urgent one (a key has no live node any
more, and its address may be another's by now) is held by none of that.  A failure is tried again, less and less often,
and at once when something changes.
"""

from __future__ import annotations

from typing import Literal

from fastroute.router.runtime.backoff import doubled

#: Seconds without a change before a reload, and how long changes can put it off.
QUIET_TIME, MAX_DELAY = 0.1, 1.0
#: The same for removals.
REMOVAL_QUIET_TIME, MAX_REMOVAL_DELAY = 0.01, 0.03
#: A removal may reload before the interval is over while fewer than so many reloads came within the last intervals: a
#: bucket of so many reloads, to which each interval gives one back.
REMOVAL_BURST = 4
#: Seconds until a failure is tried again: the first time, and at most.
FIRST_RETRY_AFTER, MAX_RETRY_INTERVAL = 1.0, 30.0

Urgency = Literal["none", "removal", "urgent"]


class ReloadSchedule:
    """When to apply; ``interval``: seconds between two reloads, at least."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first: float | None = None
        self._last = self._soonest = 0.0
        self._first_removal: float | None = None
        self._last_removal = 0.0
        # What is in the bucket, as of the last reload, and when that was.
        self._left, self._reloaded = float(REMOVAL_BURST), 0.0
        self._urgent = False
        self._retry: float | None = None
        self._failures = 0

    def changed(self, now: float, urgency: Urgency = "none") -> None:
        """Something is to be applied."""
        self._first = now if self._first is None else self._first
        self._last = now
        if urgency == "removal":
            self._first_removal = now if self._first_removal is None else self._first_removal
            self._last_removal = now
        self._urgent = self._urgent or urgency == "urgent"
        self._retry = None

    @property
    def due(self) -> float | None:
        """When to try; ``None``: there is nothing to do."""
        if self._first is None:
            return self._retry
        if self._urgent:
            return self._last
        due = max(min(self._last + QUIET_TIME, self._first + MAX_DELAY), self._soonest)
        return due if self._first_removal is None else min(due, self._removal_due(self._first_removal))

    def _removal_due(self, first: float) -> float:
        due = min(self._last_removal + REMOVAL_QUIET_TIME, first + MAX_REMOVAL_DELAY)
        return max(due, self._reloaded + (1 - self._left) * self._interval)

    def begun(self) -> None:
        """All that changed so far is in what is being tried now."""
        self._first = self._first_removal = self._retry = None
        self._urgent = False

    def reloaded(self, now: float) -> None:
        """nginx was told to reload: the next one waits."""
        gained = (now - self._reloaded) / self._interval if self._interval else REMOVAL_BURST
        self._left = max(0.0, min(self._left + gained, REMOVAL_BURST) - 1)
        self._reloaded, self._soonest = now, now + self._interval

    def succeeded(self, now: float = 0.0, *, unfinished: bool = False) -> None:
        """What was tried is served; if that is not all there is, the rest is next, after a while for others."""
        self._failures = 0
        self._retry = now + FIRST_RETRY_AFTER if unfinished else None

    def failed(self, now: float) -> None:
        """It is not; it will be tried again without anybody asking."""
        self._retry = now + doubled(FIRST_RETRY_AFTER, MAX_RETRY_INTERVAL, self._failures)
        self._failures += 1
