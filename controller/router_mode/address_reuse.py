"""Addresses that change hands: an entry waits until the router has let go of what others had at its address.  Pure.

Docker gives a freed address to the next container at once.  Were its withdrawal lost and the new announcement not, the
router would send one key's requests to the other's container until the withdrawal is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastroute.controller.router_mode.packets_in_flight import EntryId, entry_id
from fastroute.router.protocol.subscription import Entry


class AddressReuse:
    """The entries that must wait at one router."""

    def __init__(self) -> None:
        self._leaving: dict[str, set[EntryId]] = {}
        self._waiting: dict[str, dict[EntryId, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def leaves(self, entry: Entry) -> None:
        """``entry`` is to be withdrawn."""
        if entry.address:
            self._waiting.get(entry.address, {}).pop(entry_id(entry), None)
            self._leaving.setdefault(entry.address, set()).add(entry_id(entry))

    def comes(self, entry: Entry) -> list[EntryId]:
        """``entry`` is to be announced; the entries that may be now: not this one, if it has to wait."""
        if not entry.address:
            return [entry_id(entry)]
        self._waiting.setdefault(entry.address, {})[entry_id(entry)] = None
        return self._settled(entry)

    def settled(self, entries: Iterable[Entry]) -> list[EntryId]:
        """The router has answered for ``entries``; those that need not wait any more."""
        return [name for entry in entries if entry.gone for name in self._settled(entry)]

    def waits(self, name: EntryId) -> bool:
        """Whether the entry ``name`` has to wait."""
        return name in self._waiting.get(name[1], ())

    def clear(self) -> None:
        """The router holds nothing of ours any more, or is told everything anew: nothing has to wait."""
        self._leaving.clear()
        self._waiting.clear()

    def _settled(self, entry: Entry) -> list[EntryId]:
        leaving = self._leaving.get(entry.address, set())
        leaving.discard(entry_id(entry))
        if leaving:
            return []
        self._leaving.pop(entry.address, None)
        return list(self._waiting.pop(entry.address, ()))
