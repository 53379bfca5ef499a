"""From counters that only grow to what happens per second.  Pure.

A router that restarts begins at nothing: then what it counted since counts, and nothing becomes negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastroute.page.answers import NO_STATUSES, Counts, Status

#: A key, and an address of one of its nodes; empty: the key itself.
CountedName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PerSecond:
    """What happened per second between two answers of one router."""

    requests: float = 0.0
    #: By class, as ``Counts.statuses``.
    statuses: tuple[float, ...] = (0.0,) * len(NO_STATUSES)
    #: Failed connects and time-outs.
    failures: float = 0.0

    def __add__(self, other: PerSecond) -> PerSecond:
        """Both together."""
        statuses = tuple(mine + theirs for mine, theirs in zip(self.statuses, other.statuses, strict=True))
        return PerSecond(self.requests + other.requests, statuses, self.failures + other.failures)


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    counts: Mapping[CountedName, Counts]
    #: The router's own answers by kind.
    errors: Mapping[str, int]


class Meter:
    """The counters of one router, read again and again.

    ``window``: what happens is taken over half of so many seconds at least, and all of them at most; 0: between the
    last two readings.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._base: _Reading | None = None
        self._next: _Reading | None = None
        #: What happens per second.
        self.now: dict[CountedName, PerSecond] = {}
        #: The router's own answers per second, by kind (``no-key``, ``no-node``, ...).
        self.errors: dict[str, float] = {}

    def read(self, status: Status, at: float) -> None:
        """Take the counters of ``status``, which was answered at ``at`` (monotonic)."""
        errors = status.router.errors if status.router is not None else {}
        reading = _Reading(at, dict(_counts(status)), errors)
        base = self._base
        if base is None:
            self._base = reading
            return
        seconds = at - base.at
        if seconds <= 0:
            return
        self.now = {name: _difference(base.counts.get(name), new, seconds) for name, new in reading.counts.items()}
        grown = {kind: total - base.errors.get(kind, 0) for kind, total in errors.items()}
        self.errors = {kind: (new if new > 0 else errors[kind]) / seconds for kind, new in grown.items() if new}
        if not self._window:
            self._base = reading
        elif self._next is None:
            self._next = reading
        elif at - self._next.at >= self._window / 2:
            self._base, self._next = self._next, reading

    def forget(self) -> None:
        """It does not answer: the next reading begins anew."""
        self._base = self._next = None
        self.now, self.errors = {}, {}


def _counts(status: Status) -> Iterator[tuple[CountedName, Counts]]:
    for key in status.keys:
        yield (key.key, ""), key.counts
        for node in key.nodes:
            yield (key.key, node.address), node.counts


NOTHING = PerSecond()


def _difference(old: Counts | None, new: Counts, seconds: float) -> PerSecond:
    if old is None or new.requests < old.requests:
        old = Counts()
    if (old.requests, old.statuses, old.failures, old.timeouts) == (
        new.requests, new.statuses, new.failures, new.timeouts,
    ):  # fmt: skip
        return NOTHING
    statuses = tuple(max(0, now - then) / seconds for now, then in zip(new.statuses, old.statuses, strict=True))
    failed = new.failures + new.timeouts - old.failures - old.timeouts
    return PerSecond(max(0, new.requests - old.requests) / seconds, statuses, max(0, failed) / seconds)
