"""Whether the cost of reading somebody's bytes grows with their number, or faster."""

from __future__ import annotations

import time
from collections.abc import Callable

#: How much longer the long input is.  Work that is quadratic costs TIMES times as much a byte, linear work the same.
TIMES = 16
#: Measurements of each size; the cheapest counts, as nothing but other work on the machine makes one dearer.
ROUNDS = 5
#: Seconds of CPU that a measurement of the short input takes at least, so that the clock's steps do not matter.
LEAST = 0.002


def assert_linear(work: Callable[[bytes], object], make: Callable[[int], bytes], longest: int = 65_000) -> None:
    """``work(make(size))`` costs about TIMES times as much for ``longest`` as for a size that is TIMES times smaller.

    CPU of this thread alone is measured.  A quadratic reader fails by a factor of four, and a linear one would have to
    cost four times as much a byte; measured again before anybody says so.
    """
    ratios = []
    for _ in range(3):
        ratios.append(_ratio(work, make(longest // TIMES), make(longest)))
        if ratios[-1] < TIMES * 4:
            return
    raise AssertionError(
        f"{TIMES} times the bytes cost {min(ratios):.0f} times as much, three times measured: {ratios}"
    )


def _ratio(work: Callable[[bytes], object], short: bytes, long: bytes) -> float:
    repeat = 1
    while (cost := _cost(work, short, repeat)) < LEAST:
        repeat *= 2
    cost = min(cost, *(_cost(work, short, repeat) for _ in range(ROUNDS - 1)))
    return min(_cost(work, long, 1) for _ in range(ROUNDS)) / (cost / repeat)


def _cost(work: Callable[[bytes], object], data: bytes, repeat: int) -> float:
    begun = time.thread_time()
    for _ in range(repeat):
        work(data)
    return time.thread_time() - begun
