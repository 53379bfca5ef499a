"""When the next configuration is tried.  Pure; times are monotonic seconds.

Changes are collected: until ``QUIET`` after the last, at most ``LONGEST`` after the first, and at least the minimal
interval after the last reload.  An urgent one (a key has no live node any more, and its address may be another's by
now) is held by none of that.  A failure is tried again, less and less often, and at once when something changes.
"""

from __future__ import annotations

QUIET, LONGEST = 0.1, 1.0
RETRY_FIRST, RETRY_LAST = 1.0, 30.0


class Pace:
    """One configuration's clock; ``interval``: seconds between two reloads at least."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first: float | None = None
        self._last = self._soonest = 0.0
        self._urgent = False
        self._retry: float | None = None
        self._failures = 0

    def changed(self, now: float, *, urgent: bool = False) -> None:
        """Something is to be applied."""
        self._first = now if self._first is None else self._first
        self._last = now
        self._urgent = self._urgent or urgent
        self._retry = None

    @property
    def due(self) -> float | None:
        """When to try; ``None``: there is nothing to do."""
        if self._first is None:
            return self._retry
        if self._urgent:
            return self._last
        return max(min(self._last + QUIET, self._first + LONGEST), self._soonest)

    def begun(self) -> None:
        """All that changed so far is in what is being tried now."""
        self._first, self._urgent, self._retry = None, False, None

    def reloaded(self, now: float) -> None:
        """nginx was told to reload: the next one waits."""
        self._soonest = now + self._interval

    def succeeded(self) -> None:
        """What was tried is served."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """It is not; it will be tried again without anybody asking."""
        self._retry = now + min(RETRY_FIRST * 2**self._failures, RETRY_LAST)
        self._failures = min(self._failures + 1, 10)
