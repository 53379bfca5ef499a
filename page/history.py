"""Ten minutes of numbers: a ring of samples for all keys together, and one for each key.  Pure.

A sample stands for ``SLOT_SECONDS``.  One that is missing (nobody answered, the page was not there yet) is a gap, not a
zero.  Memory is bounded: ``MAX_KEYS`` keys have a ring, of which each takes a few KB.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

#: Seconds of one sample, and samples of a ring: ten minutes.
SLOT_SECONDS, SLOTS = 5, 120
#: Samples of the last minute.
LAST_MINUTE = 12
#: Keys that have a ring; the page says which have none.
MAX_KEYS = 2_000

#: What is kept of each sample: requests/s, answers 2xx to 5xx per second, milliseconds, requests that wait and run,
#: nodes that serve.
SERIES = ("rate", "2xx", "3xx", "4xx", "5xx", "p50", "p95", "waiting", "in_flight", "ready")

Sample = Mapping[str, float | None]


@dataclass(slots=True)
class _Ring:
    values: dict[str, array[float]]
    #: The newest slot that was written, and the last in which the key was there.
    last: int

    @classmethod
    def empty(cls, slot: int) -> _Ring:
        return cls({name: array("f", [math.nan]) * SLOTS for name in SERIES}, slot)

    def write(self, slot: int, sample: Sample) -> None:
        for missed in range(max(self.last + 1, slot - SLOTS + 1), slot + 1):
            for values in self.values.values():
                values[missed % SLOTS] = math.nan
        for name, values in self.values.items():
            value = sample.get(name)
            values[slot % SLOTS] = math.nan if value is None else value
        self.last = slot

    def read(self, name: str, newest: int) -> list[float | None]:
        values, oldest = self.values[name], self.last - SLOTS
        return [
            rounded(values[slot % SLOTS]) if oldest < slot <= self.last else None
            for slot in range(newest - SLOTS + 1, newest + 1)
        ]


class NumberHistory:
    """The rings of all keys, and one of all of them together."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._total: _Ring | None = None
        self._keys: dict[str, _Ring] = {}
        #: The newest slot; 0: there is none yet.
        self.newest = 0

    def write(self, slot: int, total: Sample, keys: Mapping[str, Sample]) -> None:
        """Remember one sample of everything; ``slot`` counts ``SLOT_SECONDS`` since the epoch, and only grows."""
        if slot <= self.newest:
            return
        self.newest = slot
        for name in [name for name, ring in self._keys.items() if slot - ring.last >= SLOTS]:
            del self._keys[name]
        self._total = self._total or _Ring.empty(slot)
        self._total.write(slot, total)
        for key, sample in keys.items():
            ring = self._keys.get(key)
            if ring is None:
                if len(self._keys) >= self._max_keys:
                    continue
                ring = self._keys[key] = _Ring.empty(slot)
            ring.write(slot, sample)

    def total(self) -> dict[str, list[float | None]]:
        """All series of all keys together, the oldest sample first."""
        return {} if self._total is None else {name: self._total.read(name, self.newest) for name in SERIES}

    def of_key(self, key: str, names: tuple[str, ...] = SERIES) -> dict[str, list[float | None]] | None:
        """The series ``names`` of one key; None: it has no ring."""
        ring = self._keys.get(key)
        return None if ring is None else {name: ring.read(name, self.newest) for name in names}

    def mean(self, key: str, name: str, slots: int) -> float | None:
        """The mean of the last ``slots`` samples that are there; None: there is none."""
        ring = self._keys.get(key)
        values = [] if ring is None else [value for value in ring.read(name, self.newest)[-slots:] if value is not None]
        return sum(values) / len(values) if values else None


def rounded(value: float | None) -> float | None:
    """``value`` with three significant digits: what people can see changes, and nothing else; NaN is None."""
    if value is None or not math.isfinite(value):
        return None
    number = float(f"{value:.3g}")
    if not math.isfinite(number):
        return value
    return int(number) if number.is_integer() else number
