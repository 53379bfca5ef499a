"""All records of one engine, and which of them need what: a look (dirty) or a new judgement (stale).  Pure.

``clock`` counts everything that happened to any container, so that an answer can be told from a newer one.  A container
that borrows another's network is stale whenever that one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fastroute.controller.decide.address import borrowed_from
from fastroute.controller.decide.container import Container
from fastroute.controller.decide.messages import Listed
from fastroute.controller.decide.record import Record

#: No event tells that a container that had ended comes into such a state.
_UNTOLD = ("removing", "dead")


class Records:
    """Records by container id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Record] = {}
        self._borrowers: dict[str, str] = {}
        self.dirty: set[str] = set()
        self.stale: set[str] = set()
        self.clock = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self._by_id.values()))

    def get(self, id: str) -> Record | None:
        """The record of container ``id``."""
        return self._by_id.get(id)

    def name_of(self, id: str) -> str:
        """The container's name, or what is known instead."""
        record = self._by_id.get(id)
        return record.container.name if record and record.container else id[:12]

    def create(self, id: str) -> Record:
        """A record of a container that nobody has looked at yet (it is dirty); ``id`` may be a name."""
        record = self._by_id[id] = Record(id)
        self.mark_dirty(record)
        self.touch(record)
        return record

    def forget(self, id: str) -> None:
        """The container is gone."""
        record = self._by_id.pop(id, None)
        self.dirty.discard(id)
        self.stale.add(id)
        self._borrowers.pop(id, None)
        if record:
            self._touch_borrowers(record)

    def touch(self, record: Record) -> None:
        """Something is known about it that was not known before: judge it again."""
        self.clock += 1
        record.touched = self.clock
        self.stale.add(record.id)
        self._touch_borrowers(record)

    def judge_again(self, id: str, cause: str) -> None:
        """Something that concerns the container has changed, but not the container: ``cause``."""
        if record := self._by_id.get(id):
            record.cause = cause
            self.stale.add(id)

    def compare(self, answer: Listed, relevant: Callable[[Mapping[str, str]], bool]) -> Iterator[tuple[str, Record]]:
        """How a list differs from what is known (``gone``, ``changed``, ``appeared``); each of those is dirty then.

        What happened to a container after the list was asked for is newer than the list."""
        summaries = {summary.id: summary for summary in answer.summaries}
        for record in self:
            summary = summaries.pop(record.id, None)
            if record.container is None or record.inspecting or record.touched > answer.ticket:
                continue
            if summary is None or summary.fingerprint not in record.seen:
                self.mark_dirty(record)
                if summary is not None:
                    record.seen |= {summary.fingerprint}
                    if summary.status in _UNTOLD and not record.container.alive:
                        continue
                yield "gone" if summary is None else "changed", record
        for summary in summaries.values():
            if relevant(summary.labels):
                yield "appeared", self.create(summary.id)

    def mark_dirty(self, record: Record) -> None:
        """It has to be inspected."""
        record.dirty = True
        self.dirty.add(record.id)

    def take(self, record: Record, container: Container, version: int, now: float) -> Record:
        """An inspect answered; the record may be another one if it was asked for by name."""
        if container.id != record.id:
            self.forget(record.id)
            record = self._by_id.get(container.id) or self.create(container.id)
            version = record.version
        record.take(container, version, now)
        if not record.dirty:
            self.dirty.discard(record.id)
        if lender := borrowed_from(container):
            self._borrowers[record.id] = lender
            if self.lookup(lender) is None and self.get(lender) is None:
                self.create(lender)
        self.touch(record)
        return record

    def lookup(self, ref: str) -> Container | None:
        """The container with this id or name, if it was looked at."""
        record = self._by_id.get(ref)
        if record:
            return record.container
        found = (one.container for one in self._by_id.values() if one.container and one.container.name == ref)
        return next(found, None)

    def _touch_borrowers(self, record: Record) -> None:
        if self._borrowers:
            names = {record.id, record.container.name if record.container else record.id}
            self.stale.update(id for id, lender in self._borrowers.items() if lender in names)
