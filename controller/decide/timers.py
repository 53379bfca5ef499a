"""When which container is to be looked at again.  Pure; times are monotonic seconds."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Timers:
    """Container ids by time; one id may have several."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []

    def set(self, due: float, id: str) -> None:
        """``id`` is due then."""
        heapq.heappush(self._heap, (due, id))

    @property
    def due(self) -> float | None:
        """When the next one is."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> Iterator[str]:
        """Those that are due by ``now``, each taken out."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[1]
