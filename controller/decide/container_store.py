"""All records of one engine, and which of them need what: a look (dirty) or a new judgement (stale).  Pure.

``clock`` counts everything that happened to any container, so that an answer can be told from a newer one.  A container
that borrows another's network is stale whenever that one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fastroute.controller.decide.address import borrowed_from
from fastroute.controller.decide.container import Container
from fastroute.controller.decide.messages import Listed
from fastroute.controller.decide.tracked import TrackedContainer

#: No event tells that a container that had ended comes into such a state.
_UNTOLD = ("removing", "dead")


class ContainerStore:
    """Records by container id."""

    def __init__(self) -> None:
        self._by_id: dict[str, TrackedContainer] = {}
        self._borrowers: dict[str, str] = {}
        self.dirty: set[str] = set()
        self.stale: set[str] = set()
        self.clock = 0

    def __iter__(self) -> Iterator[TrackedContainer]:
        return iter(tuple(self._by_id.values()))

    def get(self, id: str) -> TrackedContainer | None:
        """The record of container ``id``."""
        return self._by_id.get(id)

    def name_of(self, id: str) -> str:
        """The container's name, or what is known instead."""
        tracked = self._by_id.get(id)
        return tracked.container.name if tracked and tracked.container else id[:12]

    def create(self, id: str) -> TrackedContainer:
        """A record of a container that nobody has looked at yet (it is dirty); ``id`` may be a name."""
        tracked = self._by_id[id] = TrackedContainer(id)
        self.mark_dirty(tracked)
        self.touch(tracked)
        return tracked

    def forget(self, id: str) -> None:
        """The container is gone."""
        tracked = self._by_id.pop(id, None)
        self.dirty.discard(id)
        self.stale.add(id)
        self._borrowers.pop(id, None)
        if tracked:
            self._touch_borrowers(tracked)

    def touch(self, tracked: TrackedContainer) -> None:
        """Something is known about it that was not known before: judge it again."""
        self.clock += 1
        tracked.touched = self.clock
        self.stale.add(tracked.id)
        self._touch_borrowers(tracked)

    def mark_stale(self, id: str, cause: str) -> None:
        """Something that concerns the container has changed, but not the container: ``cause``."""
        if tracked := self._by_id.get(id):
            tracked.cause = cause
            self.stale.add(id)

    def compare(
        self, answer: Listed, relevant: Callable[[Mapping[str, str]], bool]
    ) -> Iterator[tuple[str, TrackedContainer]]:
        """How a list differs from what is known (``gone``, ``changed``, ``appeared``); each of those is dirty then.

        What happened to a container after the list was asked for is newer than the list."""
        summaries = {summary.id: summary for summary in answer.summaries}
        for tracked in self:
            summary = summaries.pop(tracked.id, None)
            if tracked.container is None or tracked.inspecting or tracked.touched > answer.ticket:
                continue
            if summary is None or summary.fingerprint not in tracked.fingerprints:
                self.mark_dirty(tracked)
                if summary is not None:
                    tracked.fingerprints |= {summary.fingerprint}
                    if summary.status in _UNTOLD and not tracked.container.alive:
                        continue
                yield "gone" if summary is None else "changed", tracked
        for summary in summaries.values():
            if relevant(summary.labels):
                yield "appeared", self.create(summary.id)

    def mark_dirty(self, tracked: TrackedContainer) -> None:
        """It has to be inspected."""
        tracked.dirty = True
        self.dirty.add(tracked.id)

    def take(self, tracked: TrackedContainer, container: Container, version: int, now: float) -> TrackedContainer:
        """An inspect answered; the record may be another one if it was asked for by name."""
        if container.id != tracked.id:
            self.forget(tracked.id)
            tracked = self._by_id.get(container.id) or self.create(container.id)
            version = tracked.version
        tracked.take(container, version, now)
        if not tracked.dirty:
            self.dirty.discard(tracked.id)
        if lender := borrowed_from(container):
            self._borrowers[tracked.id] = lender
            if self.lookup(lender) is None and self.get(lender) is None:
                self.create(lender)
        self.touch(tracked)
        return tracked

    def lookup(self, ref: str) -> Container | None:
        """The container with this id or name, if it was looked at."""
        tracked = self._by_id.get(ref)
        if tracked:
            return tracked.container
        found = (one.container for one in self._by_id.values() if one.container and one.container.name == ref)
        return next(found, None)

    def _touch_borrowers(self, tracked: TrackedContainer) -> None:
        if self._borrowers:
            names = {tracked.id, tracked.container.name if tracked.container else tracked.id}
            self.stale.update(id for id, lender in self._borrowers.items() if lender in names)
