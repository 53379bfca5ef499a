"""Full collections of Python's garbage collector, kept short where there is much: it looks at every object there is,
180 ms for a table of 100,000 nodes, while nothing else happens.  Standard library only.

What has outlived a collection that took long is looked at no more but once an hour: nearly all of it is the table,
which is freed without the collector when it goes.  What only the collector could free waits so long.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

#: Seconds that a full collection may take without any consequence; a small table's never takes as long.
LONG_COLLECTION: Final = 0.01
#: Seconds after which all objects are looked at again.
EVERYTHING_INTERVAL: Final = 3600.0


class FullCollections:
    """A callback of the collector (``gc.callbacks``)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last_of_everything = clock()
        # Whether a long collection was followed by a freeze.  What was frozen before a fork (the master's imports) is
        # not ours to unfreeze: a collection would write to all of it, and it would be shared no more.
        self._froze = False

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """A collection begins, or has ended."""
        if info["generation"] < 2:
            return
        now = self._clock()
        if phase == "start":
            self._began = now
            if self._froze and now - self._last_of_everything >= EVERYTHING_INTERVAL:
                self._last_of_everything = now
                gc.unfreeze()
        elif now - self._began >= LONG_COLLECTION:
            self._froze = True
            gc.freeze()


def keep_collections_short() -> None:
    """From now on, in this process."""
    gc.callbacks.append(FullCollections())
