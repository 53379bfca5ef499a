"""Delays between attempts that fail: doubled from the first to the last.  Pure; chance is up to the caller."""

from __future__ import annotations

from dataclasses import dataclass


def doubled(minimum: float, maximum: float, failures: int) -> float:
    """The delay after ``failures`` earlier failures in a row, where somebody counts them anyway."""
    return min(minimum * 2.0 ** min(failures, 64), maximum)


@dataclass(slots=True)
class Backoff:
    """The delays of one series of attempts, in seconds."""

    minimum: float
    maximum: float
    #: The last delay; 0: there was none yet.
    delay: float = 0.0

    def next(self, maximum: float | None = None) -> float:
        """The delay before the next attempt, at most ``maximum`` (by default that of the series)."""
        limit = self.maximum if maximum is None else min(maximum, self.maximum)
        self.delay = min(self.delay * 2 or self.minimum, limit)
        return self.delay

    def reset(self) -> None:
        """An attempt succeeded: begin with the first delay again."""
        self.delay = 0.0
