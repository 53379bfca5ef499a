"""What was answered, for one node or for one key: by class of status, how fast, and how much of it lately.  Pure.

A rate and the percentiles look back ten seconds: counts of the present slot of time and of the five before it, so 10 to
12 s.  Reports of relays are added as they come, up to 8 s late for each of 10,000 nodes under load.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from fastroute.router.protocol.latency import ANSWER, LatencyCounts

#: Classes of statuses, as people write them, in the order in which relays count them.
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
#: Seconds in one slot, and the slots that are kept: five whole ones and the present one.
SLOT = 2.0
SLOTS = 6
#: Seconds that are divided by at least, while this process has not counted for as long as the slots reach back.
_SHORTEST = 1.0
#: Requests, and a count for each bucket of answer times.
_WIDTH = 2 + len(ANSWER)


class RecentCounts:
    """Requests and answer times of the last slots."""

    __slots__ = ("_counts", "_newest")

    def __init__(self) -> None:
        self._counts = array("I", bytes(4 * SLOTS * _WIDTH))
        #: The number of the slot that was added to last.
        self._newest = 0

    def add(self, now: float, requests: int, answers: Sequence[float] = ()) -> None:
        """``requests`` came, and answers that took so long began (a count for each bucket), before ``now``."""
        slot = int(now / SLOT)
        for passed in range(max(self._newest + 1, slot - SLOTS + 1), slot + 1):
            at = passed % SLOTS * _WIDTH
            self._counts[at : at + _WIDTH] = _EMPTY
        self._newest = max(self._newest, slot)
        at = self._newest % SLOTS * _WIDTH
        self._counts[at] += requests
        for bucket, count in enumerate(answers, at + 1):
            if count:
                self._counts[bucket] += int(count)

    def sums(self, now: float) -> list[int]:
        """Requests, and a count for each bucket, as of ``now``."""
        oldest = int(now / SLOT) - SLOTS + 1
        slots = [number % SLOTS * _WIDTH for number in range(self._newest - SLOTS + 1, self._newest + 1)
                 if number >= oldest]  # fmt: skip
        return [sum(column) for column in zip(*(self._counts[at : at + _WIDTH] for at in slots), strict=True)]


_EMPTY = array("I", bytes(4 * _WIDTH))


@dataclass(slots=True)
class AnswerCounts:
    """Sums over all relays; nothing here falls when one of them ends."""

    #: Answers by class, in the order of ``CLASSES``.
    statuses: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    #: None: nothing was measured yet.
    times: LatencyCounts | None = None
    recent: RecentCounts = field(default_factory=RecentCounts)

    def add_statuses(self, statuses: Sequence[float]) -> None:
        """So many more answers of each class."""
        for at, count in enumerate(statuses):
            if count:
                self.statuses[at] += int(count)

    def add_times(self, connect: Sequence[float], answer: Sequence[float]) -> None:
        """So many more in each bucket, and seconds; rows as those of ``LatencyCounts``."""
        times = self.times
        if times is None:
            times = self.times = LatencyCounts()
        for sums, row in ((times.connect, connect), (times.answer, answer)):
            for at, count in enumerate(row):
                if count:
                    sums[at] += count


class Recent(NamedTuple):
    """What happened lately: requests each second, and how long an answer took to begin; None: none has begun."""

    rate: float
    p50: float | None
    p95: float | None


NOTHING_RECENT = Recent(0.0, None, None)


def recent(counts: AnswerCounts | None, now: float, begun: float) -> Recent:
    """The recent numbers of ``counts`` at ``now``; this process counts since ``begun``."""
    sums = counts.recent.sums(now) if counts is not None else None
    if not sums:
        return NOTHING_RECENT
    seconds = max(_SHORTEST, min((SLOTS - 1) * SLOT + now % SLOT, now - begun))
    return Recent(sums[0] / seconds, percentile(sums[1:], 0.5), percentile(sums[1:], 0.95))


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Seconds within which this ``share`` of the answers began, evenly spread in their bucket; None: there are none.

    Of what is above all bounds no more is known than that, so it is the highest bound.
    """
    sums = list(accumulate(counts))
    if not sums or not sums[-1]:
        return None
    rank = share * sums[-1]
    at = next(at for at, until in enumerate(sums) if until >= rank)
    if at == len(ANSWER):
        return ANSWER[-1]
    lower = ANSWER[at - 1] if at else 0.0
    return lower + (ANSWER[at] - lower) * (rank - sums[at] + counts[at]) / counts[at]


def dump_answers(counts: AnswerCounts | None) -> list[Any] | None:
    """As JSON types, for the next control; what happened lately is not worth it."""
    if counts is None:
        return None
    times = counts.times
    return [counts.statuses, None if times is None else [times.connect, times.answer]]


def restore_answers(data: list[Any] | None) -> AnswerCounts | None:
    """What :func:`dump_answers` wrote."""
    if data is None:
        return None
    statuses, times = data
    counts = AnswerCounts(statuses)
    if times is not None:
        counts.add_times(*times)
    return counts
