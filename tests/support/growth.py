"""Whether the cost of reading somebody's bytes grows with their number, or faster."""

from __future__ import annotations

import time
from collections.abc import Callable

#: How much longer the long input is.  Work that is quadratic costs TIMES times as much a byte, linear work the same.
TIMES = 16
#: Measurements until one is believed that looks quadratic: nothing but other work on the machine makes one so.
ROUNDS = 8
#: Seconds of CPU that a measurement of the short input takes at least, so that the clock's steps do not matter.
LEAST = 0.002


def assert_linear(work: Callable[[bytes], object], make: Callable[[int], bytes], longest: int = 65_000) -> None:
    """``work(make(size))`` costs about TIMES times as much for ``longest`` as for a size that is TIMES times smaller.

    CPU of this thread alone is measured.  What is quadratic fails by a factor of four; what is linear would have to
    cost four times as much a byte, each time that it is measured.
    """
    ratios: list[float] = []
    short, long = make(longest // TIMES), make(longest)
    while not ratios or ratios[-1] >= TIMES * 4:
        assert len(ratios) < ROUNDS, f"{TIMES} times the bytes cost {min(ratios):.0f} times as much, at the very least"
        ratios.append(_ratio(work, short, long))


def _ratio(work: Callable[[bytes], object], short: bytes, long: bytes) -> float:
    repeat = 1
    while (cost := _cost(work, short, repeat)) < LEAST:
        repeat *= 2
    return _cost(work, long, 1) / (cost / repeat)


def _cost(work: Callable[[bytes], object], data: bytes, repeat: int) -> float:
    begun = time.thread_time()
    for _ in range(repeat):
        work(data)
    return time.thread_time() - begun
