"""How long connecting and answering took, as counts in fixed buckets: what relays count and metrics show.  Pure.

Bounds are seconds, the same for every key, so that sums over relays and keys mean something.  A relay measures with
its loop's clock, which is read once a turn: what begins and ends in one turn took 0, and a turn is under a millisecond
unless the relay is at its limit.  Finer bounds would show the loop, not the workers.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

#: Where most of both end: seeing that costs less than a search.
_FIRST: Final = 0.001
#: Up to the default of ``--connect-timeout``; the last bucket is for whatever took longer.
CONNECT: Final = (_FIRST, 0.005, 0.025, 0.1, 0.5, 1.0, 3.0)
ANSWER: Final = (_FIRST, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: From joining the queue of a key to leaving it, whatever the end; up to the longest wait there is.
WAITED: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 600.0)


class LatencyCounts:
    """Of one key: a count for each bucket, one for what is above all bounds, and at the end the sum in seconds."""

    __slots__ = ("answer", "connect")

    def __init__(self) -> None:
        self.connect: list[float] = [0] * (len(CONNECT) + 2)
        self.answer: list[float] = [0] * (len(ANSWER) + 2)

    def connected(self, seconds: float) -> None:
        """A node accepted a connection after ``seconds``."""
        self.connect[0 if seconds <= _FIRST else bisect_left(CONNECT, seconds)] += 1
        self.connect[-1] += seconds

    def answered(self, seconds: float) -> None:
        """The first byte of an answer came ``seconds`` after the node had accepted."""
        self.answer[0 if seconds <= _FIRST else bisect_left(ANSWER, seconds)] += 1
        self.answer[-1] += seconds

    def report(self) -> list[list[float]]:
        """Both, for the channel to control."""
        return [[*row[:-1], round(row[-1], 6)] for row in (self.connect, self.answer)]


class WaitCounts:
    """The same for the requests of one key that waited for a node: from joining the queue to leaving it, however."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        self.buckets: list[float] = [0] * (len(WAITED) + 2)

    def waited(self, seconds: float) -> None:
        """A request left the queue after ``seconds``."""
        self.buckets[bisect_left(WAITED, seconds)] += 1
        self.buckets[-1] += seconds

    def report(self) -> list[float]:
        """All of it, for the channel to control."""
        return [*self.buckets[:-1], round(self.buckets[-1], 6)]
