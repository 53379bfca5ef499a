"""Full collections of the garbage collector: short, and now and then of everything."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fastroute.router.runtime.full_collections import EVERYTHING_INTERVAL, LONG_COLLECTION, FullCollections


class Clock:
    """Shows the time, which goes on by ``step`` whenever it is asked."""

    def __init__(self) -> None:
        self.now = self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    callback = FullCollections(clock)
    gc.unfreeze()
    gc.callbacks.append(callback)
    yield clock
    gc.callbacks.remove(callback)
    gc.unfreeze()


def test_what_outlived_a_long_collection_is_looked_at_no_more(clock: Clock) -> None:
    gc.collect()
    assert gc.get_freeze_count() == 0
    clock.step = LONG_COLLECTION
    gc.collect(1)
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert gc.get_freeze_count() > 1000


def test_after_an_hour_everything_is_looked_at_again(clock: Clock) -> None:
    clock.step = LONG_COLLECTION
    gc.collect()
    frozen = gc.get_freeze_count()
    clock.step, clock.now = 0.0, EVERYTHING_INTERVAL
    gc.collect()
    assert gc.get_freeze_count() == 0 < frozen
