"""Which probes run, for which container, and whether the first apply still waits for one.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fastroute.controller.decide.messages import Order, StartProbe, StopProbe
from fastroute.controller.desired import ProbeTarget


class Probing:
    """The probes that run."""

    def __init__(self) -> None:
        #: By target: the id of the container that waits for it.
        self._running: dict[ProbeTarget, str] = {}
        self._untried: set[ProbeTarget] = set()
        #: When the first attempt was over.
        self._since: dict[ProbeTarget, float] = {}

    @property
    def untried(self) -> bool:
        """True while a probe that runs has not been tried even once."""
        return bool(self._untried)

    def tried(self, target: ProbeTarget, now: float) -> str:
        """One attempt is over; returns the id of the container that waits for it (empty: none does)."""
        self._untried.discard(target)
        if target in self._running:
            self._since.setdefault(target, now)
        return self._running.get(target, "")

    def age(self, target: ProbeTarget, now: float) -> float:
        """Seconds since its first attempt."""
        return now - self._since.get(target, now)

    def want(self, id: str, targets: Iterable[ProbeTarget]) -> list[Order]:
        """Container ``id`` waits for ``targets`` and no others."""
        wanted = dict.fromkeys(targets)
        orders: list[Order] = []
        for target in [target for target, waiting in self._running.items() if waiting == id and target not in wanted]:
            del self._running[target]
            self._untried.discard(target)
            self._since.pop(target, None)
            orders.append(StopProbe(target))
        for target in wanted:
            if target not in self._running:
                self._running[target] = id
                self._untried.add(target)
                orders.append(StartProbe(target))
        return orders
