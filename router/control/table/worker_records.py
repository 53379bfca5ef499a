"""Workers that announce themselves: which has been silent for longest, and how many there are of each host.  Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable

from fastroute.router.control.table.sources import RecordId
from fastroute.router.protocol.address import parse_address


class WorkerRecords:
    """The records without a source."""

    def __init__(self) -> None:
        self._by_age: OrderedDict[RecordId, None] = OrderedDict()
        self._by_host: dict[str, int] = {}

    @property
    def oldest(self) -> RecordId | None:
        """The record that was not announced for longest."""
        return next(iter(self._by_age), None)

    def heard(self, record: RecordId) -> None:
        """``record`` was announced, for the first time or again."""
        if record not in self._by_age:
            self._count(record, 1)
        self._by_age[record] = None
        self._by_age.move_to_end(record)

    def forget(self, record: RecordId) -> None:
        """``record`` has left."""
        if record in self._by_age:
            del self._by_age[record]
            self._count(record, -1)

    def room(self, share: int, records: Iterable[RecordId], known: Collection[RecordId]) -> bool:
        """Whether their hosts may have ``records``, as far as they are not ``known``, too: each ``share`` in all."""
        more = Counter(
            parse_address(record.address).host for record in records if record.address and record not in known
        )
        return all(self._by_host.get(host, 0) + count <= share for host, count in more.items())

    def _count(self, record: RecordId, step: int) -> None:
        host = parse_address(record.address).host
        self._by_host[host] = self._by_host.get(host, 0) + step
        if not self._by_host[host]:
            del self._by_host[host]
