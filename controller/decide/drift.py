"""Differences that a comparison found and events should have told.  Pure; times are monotonic seconds.

An event may be on its way while the list is taken, so a difference is only suspected at first.  It is certain when the
container was looked at, does differ, and no event about it came within ``LATE_EVENT_TIMEOUT``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.stats import EngineStats
from fastroute.controller.desired import ContainerRoutes

#: Docker's events come within milliseconds; a busy machine may take longer.
LATE_EVENT_TIMEOUT = 2.0


@dataclass(slots=True)
class _Suspect:
    """One difference that may be drift."""

    #: ``appeared``, ``changed`` or ``gone``.
    kind: str
    #: What the container offered before.
    before: ContainerRoutes | None
    #: When no event can be on its way any more.
    due: float
    #: Whether the container was inspected since.
    looked: bool


class Drift:
    """The suspected differences, by container id."""

    def __init__(self) -> None:
        self._suspects: dict[str, _Suspect] = {}

    @property
    def due(self) -> float | None:
        """When the next suspicion becomes certain."""
        return min((suspect.due for suspect in self._suspects.values() if suspect.looked), default=None)

    def suspect(self, kind: str, id: str, before: ContainerRoutes | None, now: float) -> None:
        """The list shows container ``id`` otherwise than known: ``appeared``, ``changed`` or ``gone``."""
        self._suspects.setdefault(id, _Suspect(kind, before, now + LATE_EVENT_TIMEOUT, False))

    def event_came(self, id: str) -> None:
        """An event about it came: nothing was lost."""
        self._suspects.pop(id, None)

    def missing(self, id: str) -> None:
        """No inspect finds the container.  One that Docker can't remove stays in the list for ever, and no event tells
        that it is being removed; if it did not run, nothing was lost."""
        suspect = self._suspects.get(id)
        if suspect and suspect.kind != "gone" and not (suspect.before and suspect.before.owner):
            del self._suspects[id]
        else:
            self.looked(id, None)

    def looked(self, id: str, offer: ContainerRoutes | None) -> None:
        """The container was inspected.  If it offers what was known, the list differed in nothing that matters."""
        suspect = self._suspects.get(id)
        if suspect is None:
            return
        suspect.looked = True
        if suspect.kind != "appeared" and suspect.before == offer:
            del self._suspects[id]

    def certain(self, now: float) -> list[tuple[str, str]]:
        """Kind and id of the suspicions that have become certain; they are forgotten."""
        certain = [
            (suspect.kind, id) for id, suspect in self._suspects.items() if suspect.looked and suspect.due <= now
        ]
        for _, id in certain:
            del self._suspects[id]
        return certain

    def clear(self) -> None:
        """The stream of events was interrupted: nothing should have been told."""
        self._suspects.clear()

    def reopen(
        self, now: float, stats: EngineStats, name_of: Callable[[str], str], write: m.Write
    ) -> Iterator[m.Order]:
        """What follows from differences that are certain: they are counted and written, and a new stream is opened."""
        missed = self.certain(now)
        for kind, id in missed:
            stats.drift[kind] += 1
            write(m.WriteEvent("drift", f"{kind}, and no event had told so", name_of(id), id))
        if missed:
            yield m.Reopen("events were lost")
