"""What one router is still to be told: withdrawals, changes, and what is left of a full announcement.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fastroute.controller.router_mode.address_reuse import Reuse
from fastroute.controller.router_mode.batch import batches
from fastroute.controller.router_mode.packets_in_flight import Ident, ident
from fastroute.router.subscription import Entry


class Queues:
    """Each entry stands in one of them at most."""

    def __init__(self) -> None:
        self._gone: dict[Ident, Entry] = {}
        self._alone: dict[Ident, None] = {}  # one a packet
        self._fresh: dict[Ident, None] = {}
        self._rest: dict[Ident, None] = {}
        self._reuse = Reuse()

    def __len__(self) -> int:
        return len(self._gone) + len(self._alone) + len(self._fresh) + len(self._rest) + len(self._reuse)

    @property
    def gone(self) -> bool:
        """Whether something is to be withdrawn: at once, whatever else is under way."""
        return bool(self._gone)

    @property
    def changes(self) -> bool:
        """Whether there is more to announce now than what is left of a full announcement."""
        return bool(self._alone or self._fresh)

    @property
    def joins(self) -> bool:
        """Whether there is something to announce now."""
        return self.changes or bool(self._rest)

    def change(self, gone: Iterable[Entry], come: Iterable[Entry]) -> None:
        """Entries that left, and those that are new or different."""
        for entry in gone:
            self._drop(ident(entry))
            self._gone[ident(entry)] = replace(entry, gone=True, drain=False)
            self._reuse.leaves(entry)
        for entry in come:
            self._drop(ident(entry))
            self._gone.pop(ident(entry), None)
            # Alone, so that the ack tells how many requests run on this one.
            queue = self._alone if entry.drain else self._fresh
            queue.update((name, None) for name in self._reuse.comes(entry))

    def all(self, entries: Mapping[Ident, Entry]) -> None:
        """Everything is to be announced."""
        names = [name for name in entries if not self._reuse.waits(name)]
        self._fresh.clear()
        self._alone = {name: None for name in names if entries[name].drain}
        self._rest = {name: None for name in names if name not in self._alone}

    def again(self, names: Iterable[Ident]) -> None:
        """Announce these once more, each on its own."""
        self._alone.update((name, None) for name in names)

    def settled(self, entries: Iterable[Entry]) -> None:
        """The router has answered for ``entries``."""
        self._fresh.update((name, None) for name in self._reuse.settled(entries))

    def stranger(self) -> None:
        """The router is not the one that was told, or is told everything anew: no address is anybody's there."""
        self._reuse.clear()

    def clear(self) -> None:
        """There is nothing to tell."""
        for queue in (self._gone, self._alone, self._fresh, self._rest, self._reuse):
            queue.clear()

    def take_gone(self, limit: int) -> list[tuple[Entry, ...]]:
        """All withdrawals, in packets of at most ``limit`` bytes."""
        packets = list(batches(self._gone.values(), limit))
        self._gone.clear()
        return packets

    def take(self, entries: Mapping[Ident, Entry], limit: int) -> tuple[Entry, ...]:
        """The next packet of at most ``limit`` bytes; there must be :attr:`joins`."""
        if self._alone:
            return (entries[self._alone.popitem()[0]],)
        queue = self._fresh or self._rest
        batch = next(batches((entries[name] for name in queue), limit))
        for entry in batch:
            del queue[ident(entry)]
        return batch

    def _drop(self, name: Ident) -> None:
        for queue in (self._alone, self._fresh, self._rest):
            queue.pop(name, None)
