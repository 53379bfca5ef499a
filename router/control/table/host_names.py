"""The nodes that were announced by host name, and the addresses that each name stands for now.  Pure."""

from __future__ import annotations

from collections.abc import Collection

from fastroute.router.control.table.sources import RecordId
from fastroute.router.protocol.address import join_host_port, parse_address


class HostNames:
    """Names are ``host:port``; a name is known as long as a record has it."""

    def __init__(self) -> None:
        self._records: dict[str, dict[RecordId, None]] = {}
        self._targets: dict[str, tuple[str, ...]] = {}

    @property
    def known(self) -> Collection[str]:
        """All of them."""
        return self._records.keys()

    def behind(self, name: str) -> tuple[str, ...]:
        """The addresses that ``name`` stands for."""
        return self._targets.get(name, ())

    def records(self, name: str) -> list[RecordId]:
        """The records with this name."""
        return list(self._records.get(name, ()))

    def put(self, record: RecordId) -> None:
        """``record`` has a name for an address."""
        self._records.setdefault(record.address, {})[record] = None

    def resolve(self, name: str, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """``name`` stands for these IPs from now on; its addresses."""
        targets = tuple(join_host_port(host, parse_address(name).port) for host in sorted(hosts))
        self._targets[name] = targets
        return targets

    def restore(self, name: str, targets: tuple[str, ...]) -> None:
        """What a snapshot says that ``name`` stands for."""
        self._targets[name] = targets

    def take(self, record: RecordId) -> None:
        """``record`` is no more."""
        if (records := self._records.get(record.address)) is not None:
            records.pop(record, None)
            if not records:
                del self._records[record.address]
                self._targets.pop(record.address, None)
