"""All containers of one engine that are tracked, and which of them need an inspect or a new evaluation.  Pure.

A container is *dirty* when it has to be inspected, and *stale* when what is known of it has to be evaluated again.
``clock`` counts everything that happened to any container, to distinguish an answer from a newer one.  A container
that borrows another's network is stale whenever that one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fastroute.controller.decide.container import Container
from fastroute.controller.decide.messages import Listed
from fastroute.controller.decide.tracked import TrackedContainer
from fastroute.controller.desired import ContainerRoutes

#: No event tells that a container that had ended comes into such a state.
_UNTOLD = ("removing", "dead")


class ContainerStore:
    """Tracked containers by id."""

    def __init__(self) -> None:
        self.clock = 0
        self._by_id: dict[str, TrackedContainer] = {}
        #: Borrower to lender: ids, the lender's as the borrower's Docker names it.
        self._borrowers: dict[str, str] = {}
        self._dirty: set[str] = set()
        self._stale: set[str] = set()

    def __iter__(self) -> Iterator[TrackedContainer]:
        return iter(tuple(self._by_id.values()))

    def get(self, id: str) -> TrackedContainer | None:
        """What is known of container ``id``."""
        return self._by_id.get(id)

    def name_of(self, id: str) -> str:
        """The container's name, or what is known instead."""
        tracked = self._by_id.get(id)
        return tracked.container.name if tracked and tracked.container else id[:12]

    def create(self, id: str) -> TrackedContainer:
        """Track a container that was not inspected yet (it is dirty); ``id`` may be a name."""
        tracked = self._by_id[id] = TrackedContainer(id)
        self.mark_dirty(tracked)
        self.touch(tracked)
        return tracked

    def forget(self, id: str) -> None:
        """The container is gone."""
        tracked = self._by_id.pop(id, None)
        self._dirty.discard(id)
        self._stale.add(id)
        self._borrowers.pop(id, None)
        if tracked:
            self._mark_borrowers_stale(tracked)

    def offers(self) -> list[ContainerRoutes]:
        """The last offer of every container that has made one."""
        return [tracked.offer for tracked in self._by_id.values() if tracked.offer]

    # What has to be evaluated.

    def touch(self, tracked: TrackedContainer) -> None:
        """Something is known of it that was not known before: evaluate it again."""
        self.clock += 1
        tracked.touched = self.clock
        self._stale.add(tracked.id)
        self._mark_borrowers_stale(tracked)

    def mark_stale(self, tracked: TrackedContainer, cause: str = "") -> None:
        """Something that concerns the container has changed, but not the container; ``cause``: what, if people should
        read it."""
        tracked.cause = cause or tracked.cause
        self._stale.add(tracked.id)

    def mark_all_stale(self, causes: Mapping[str, str]) -> None:
        """As :meth:`mark_stale`, for containers by id, with the cause for each."""
        for id, cause in causes.items():
            if tracked := self._by_id.get(id):
                self.mark_stale(tracked, cause)

    def stale(self) -> Iterator[TrackedContainer]:
        """The containers that have to be evaluated again, without those that are gone."""
        return (tracked for id in self._stale if (tracked := self._by_id.get(id)))

    def take_stale(self) -> list[str]:
        """The ids of all that have to be evaluated again, gone ones too; they are no longer stale."""
        ids = sorted(self._stale)
        self._stale.clear()
        return ids

    def _mark_borrowers_stale(self, tracked: TrackedContainer) -> None:
        if self._borrowers:
            names = {tracked.id, tracked.container.name if tracked.container else tracked.id}
            self._stale.update(id for id, lender in self._borrowers.items() if lender in names)

    # What has to be inspected.

    def mark_dirty(self, tracked: TrackedContainer) -> None:
        """It has to be inspected."""
        self._dirty.add(tracked.id)

    def is_dirty(self, tracked: TrackedContainer) -> bool:
        """True while it has to be inspected."""
        return tracked.id in self._dirty

    def never_inspected(self) -> Iterator[TrackedContainer]:
        """The containers of which no inspect has answered yet."""
        return (tracked for id in self._dirty if not (tracked := self._by_id[id]).container)

    def begin_inspects(self, now: float) -> list[TrackedContainer]:
        """The containers for which an inspect has to be asked for now; it counts as asked for."""
        waiting = (self._by_id[id] for id in sorted(self._dirty))
        due = [tracked for tracked in waiting if not tracked.inspecting and tracked.retry_at <= now]
        for tracked in due:
            tracked.inspecting = True
        return due

    def take(self, tracked: TrackedContainer, container: Container, version: int, now: float) -> TrackedContainer:
        """An inspect answered; the answer may be about another container if it was asked for by name."""
        if container.id != tracked.id:
            self.forget(tracked.id)
            tracked = self._by_id.get(container.id) or self.create(container.id)
            version = tracked.version
        if tracked.take(container, version, now):
            self._dirty.discard(tracked.id)
        else:
            self._dirty.add(tracked.id)
        if lender := container.network_lender:
            self._borrowers[tracked.id] = lender
            if self.lookup(lender) is None and self.get(lender) is None:
                self.create(lender)
        self.touch(tracked)
        return tracked

    def inspect_failed(self, tracked: TrackedContainer, now: float) -> None:
        """An inspect failed: it is asked for again from ``tracked.retry_at`` on."""
        tracked.inspect_failed(now)
        self._dirty.add(tracked.id)

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

    def lookup(self, ref: str) -> Container | None:
        """The container with this id or name, if it was inspected."""
        tracked = self._by_id.get(ref)
        if tracked:
            return tracked.container
        containers = (tracked.container for tracked in self._by_id.values())
        return next((container for container in containers if container and container.name == ref), None)
