"""What was answered, for one node or for one key: by class of status, how fast, and how much of it lately.  Pure.

A rate and the percentiles look back ten seconds: counts of the present slot of time and of the five before it, so 10 to
12 s.  Reports of relays are added as they come, up to 8 s late for each of 10,000 nodes under load.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from fastroute.router.protocol.latency import ANSWER, CONNECT

#: Classes of statuses, as people write them, in the order in which relays count them.
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
#: Seconds in one slot, and the slots that are kept: five whole ones and the present one.
SLOT = 2.0
SLOTS = 6
#: Seconds that are divided by at least, while this process has not counted for as long as the slots reach back.
_SHORTEST = 1.0

#: Where the sums of ``AnswerCounts`` are: answers by class; times to connect, and to answer, each a count for every
#: bucket, one for what is above all of them, and the seconds.
TIMES_AT = len(CLASSES)
_ANSWER_AT = TIMES_AT + len(CONNECT) + 2
_SECONDS_AT = _ANSWER_AT + len(ANSWER) + 1
SIZE = _SECONDS_AT + 1

#: Numbers in a slot: requests, answers 5xx, and the buckets of answer times.
_REQUESTS, _ERRORS, _BUCKETS = 0, 1, 2
_WIDTH = _BUCKETS + _SECONDS_AT - _ANSWER_AT
_5XX_AT = CLASSES.index("5xx")
_EMPTY = array("I", bytes(4 * _WIDTH))


class AnswerCounts:
    """Sums over all relays; nothing here falls when one of them ends."""

    __slots__ = ("_newest", "_recent", "_slots", "sums")

    def __init__(self, sums: Sequence[float] = ()) -> None:
        self.sums: list[float] = [*sums] or [0] * SIZE
        #: The last slots in a ring, the number of the newest, and the sum of all of them.
        self._slots = _EMPTY * SLOTS
        self._newest = 0
        self._recent = [0] * _WIDTH

    @property
    def statuses(self) -> list[int]:
        """Answers by class, in the order of ``CLASSES``."""
        return [int(count) for count in self.sums[:TIMES_AT]]

    @property
    def connect(self) -> list[float] | None:
        """Times to connect, as a row of ``LatencyCounts``; None: nothing was measured yet."""
        row = self.sums[TIMES_AT:_ANSWER_AT]
        return row if any(row) else None

    @property
    def answer(self) -> list[float] | None:
        """Times to answer, likewise."""
        row = self.sums[_ANSWER_AT:]
        return row if any(row) else None

    def count(self, now: float | None, requests: int, new: Sequence[tuple[int, float]]) -> None:
        """Add ``requests`` and ``new`` (place in ``sums``, increase); they came until ``now`` (None: it is unknown)."""
        for at, count in new:
            self.sums[at] += count
        if now is None:
            return
        slot = int(now / SLOT)
        if slot > self._newest:
            self._move_to(slot)
        base = self._newest % SLOTS * _WIDTH
        slots, recent = self._slots, self._recent
        if requests:
            slots[base + _REQUESTS] += requests
            recent[_REQUESTS] += requests
        for at, count in new:
            if _ANSWER_AT <= at < _SECONDS_AT:
                place = at - _ANSWER_AT + _BUCKETS
            elif at == _5XX_AT:
                place = _ERRORS
            else:
                continue
            slots[base + place] += int(count)
            recent[place] += int(count)

    def recent(self, now: float) -> list[int]:
        """Requests, answers 5xx, and answers in each bucket of time, as of ``now``."""
        slot = int(now / SLOT)
        if slot > self._newest:
            self._move_to(slot)
        return self._recent

    def _move_to(self, slot: int) -> None:
        """``slot`` is the newest from now on: take what is too old out of the recent numbers."""
        slots, recent = self._slots, self._recent
        for passed in range(max(self._newest + 1, slot - SLOTS + 1), slot + 1):
            base = passed % SLOTS * _WIDTH
            old = slots[base : base + _WIDTH]
            if old != _EMPTY:
                for at, count in enumerate(old):
                    recent[at] -= count
                slots[base : base + _WIDTH] = _EMPTY
        self._newest = slot


class Recent(NamedTuple):
    """What happened lately: requests and answers 5xx each second, and how long answers took to begin; None: none has
    begun."""

    rate: float
    error_rate: float
    p50: float | None
    p95: float | None


NOTHING_RECENT = Recent(0.0, 0.0, None, None)


def recent(counts: AnswerCounts | None, now: float, begun: float) -> Recent:
    """The recent numbers of ``counts`` at ``now``; this process counts since ``begun``."""
    if counts is None:
        return NOTHING_RECENT
    requests, errors, *answers = counts.recent(now)
    seconds = max(_SHORTEST, min((SLOTS - 1) * SLOT + now % SLOT, now - begun))
    return Recent(requests / seconds, errors / seconds, *percentiles(answers, (0.5, 0.95)))


def percentiles(counts: Sequence[int], shares: Sequence[float]) -> list[float | None]:
    """Seconds within which these shares of the answers began, evenly spread in their buckets; None: there are none.

    A time above all bounds counts as the highest bound: no more is known of it.
    """
    sums = [*accumulate(counts)]
    if not sums[-1]:
        return [None] * len(shares)
    times: list[float | None] = []
    for share in shares:
        rank = share * sums[-1]
        at = bisect_left(sums, rank)
        lower = ANSWER[at - 1] if at else 0.0
        upper = ANSWER[at] if at < len(ANSWER) else lower
        times.append(lower + (upper - lower) * (rank - sums[at] + counts[at]) / counts[at])
    return times
