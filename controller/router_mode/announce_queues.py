"""The entries that one router was not sent yet: withdrawals, changes, and the rest of a full announcement.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from fastroute.controller.router_mode.address_reuse import AddressReuse
from fastroute.controller.router_mode.packets_in_flight import EntryId, Packet, entry_id
from fastroute.router.protocol.entry import encoded_size
from fastroute.router.protocol.subscription import Entry

#: Bytes of a packet that carries a change as a whole: some 150 nodes.  By UDP it may travel in fragments.
GROUP_LIMIT = 32_768
#: A packet above a datagram's usual size is split when it was sent again so often.
SPLIT_AFTER = 4
#: Bytes of a packet that its header, version, source (64), instance, seq and ack take, at most.
HEADER_ROOM = 200


class AnnounceQueues:
    """The queues of one router.  An entry stands in one of them at most."""

    def __init__(self) -> None:
        #: Entries to withdraw.
        self._gone: dict[EntryId, Entry] = {}
        #: Entries that go alone, one a packet.
        self._alone: dict[EntryId, None] = {}
        #: Changes of one key in which nodes drain: each in one packet, so that the router makes them at one moment.
        self._groups: list[dict[EntryId, None]] = []
        #: New and changed entries.
        self._changed: dict[EntryId, None] = {}
        #: What is left of a full announcement.
        self._rest: dict[EntryId, None] = {}
        self._reuse = AddressReuse()

    def __len__(self) -> int:
        groups = sum(map(len, self._groups))
        return len(self._gone) + len(self._alone) + groups + len(self._changed) + len(self._rest) + len(self._reuse)

    @property
    def gone(self) -> bool:
        """Whether something is to be withdrawn: at once, whatever else is under way."""
        return bool(self._gone)

    @property
    def changes(self) -> bool:
        """Whether there is more to announce now than what is left of a full announcement."""
        return bool(self._groups or self._alone or self._changed)

    @property
    def joins(self) -> bool:
        """Whether there is something to announce now."""
        return self.changes or bool(self._rest)

    def change(self, gone: Iterable[Entry], come: Collection[Entry]) -> None:
        """Entries that left, and those that are new or different."""
        for entry in gone:
            self._drop(entry_id(entry))
            self._gone[entry_id(entry)] = replace(entry, gone=True, drain=False)
            self._reuse.leaves(entry)
        draining = {entry_id(entry) for entry in come if entry.drain}
        groups: dict[str, dict[EntryId, None]] = {key: {} for key, _, _ in draining}
        for entry in come:
            self._drop(entry_id(entry))
            self._gone.pop(entry_id(entry), None)
            queue = self._alone if _goes_alone(entry) else self._changed
            if entry.state is None:
                queue = groups.get(entry.key, queue)
            queue.update((name, None) for name in self._reuse.comes(entry))
        for group in groups.values():
            if len(group) > 1 and group.keys() & draining:
                self._groups.append(group)
            else:
                self._alone.update(group)

    def all(self, entries: Mapping[EntryId, Entry]) -> None:
        """Everything is to be announced."""
        names = [name for name in entries if not self._reuse.waits(name)]
        self._changed.clear()
        self._groups.clear()
        self._alone = {name: None for name in names if _goes_alone(entries[name])}
        self._rest = {name: None for name in names if name not in self._alone}

    def again(self, names: Iterable[EntryId]) -> None:
        """Announce these once more, each on its own."""
        self._alone.update((name, None) for name in names)

    def split(self, packet: Packet, limit: int) -> bool:
        """True when ``packet`` is larger than ``limit`` bytes and was asked again so often that its fragments may not
        get through: what it says is queued, each entry on its own, those that drain last."""
        if packet.resends < SPLIT_AFTER or sum(map(encoded_size, packet.entries)) + HEADER_ROOM <= limit:
            return False
        self.again(map(entry_id, sorted(packet.entries, key=lambda entry: not entry.drain)))
        return True

    def settled(self, entries: Iterable[Entry]) -> None:
        """The router has answered for ``entries``."""
        self._changed.update((name, None) for name in self._reuse.settled(entries))

    def stranger(self) -> None:
        """The router is not the one that was told, or is told everything anew: no address is anybody's there."""
        self._reuse.clear()

    def clear(self) -> None:
        """There is nothing to tell."""
        for queue in (self._gone, self._groups, self._alone, self._changed, self._rest, self._reuse):
            queue.clear()

    def take_gone(self, limit: int) -> list[tuple[Entry, ...]]:
        """All withdrawals, in packets of at most ``limit`` bytes."""
        packets = list(batches(self._gone.values(), limit))
        self._gone.clear()
        return packets

    def take(self, entries: Mapping[EntryId, Entry], limit: int) -> tuple[Entry, ...]:
        """The next packet of at most ``limit`` bytes (``GROUP_LIMIT``: of a change that is to be made at one moment);
        there must be :attr:`joins`."""
        queue = self._changed or self._rest
        if self._groups:
            queue, limit = self._groups[0], GROUP_LIMIT
        elif self._alone:
            return (entries[self._alone.popitem()[0]],)
        batch = next(batches((entries[name] for name in queue), limit))
        for entry in batch:
            del queue[entry_id(entry)]
        self._groups = [group for group in self._groups if group]
        return batch

    def contains(self, names: Collection[EntryId]) -> bool:
        """Whether any of ``names`` was not sent yet."""
        queues: tuple[Mapping[EntryId, object], ...]
        queues = (self._gone, *self._groups, self._alone, self._changed, self._rest)
        return any(name in queue for queue in queues for name in names) or any(map(self._reuse.waits, names))

    def _drop(self, name: EntryId) -> None:
        for queue in (*self._groups, self._alone, self._changed, self._rest):
            queue.pop(name, None)
        self._groups = [group for group in self._groups if group]


def _goes_alone(entry: Entry) -> bool:
    """A drain, so that its ack tells how many requests run on this node; the state of a key, so that a version that
    refuses it refuses nothing else."""
    return entry.drain or entry.state is not None


def batches(entries: Iterable[Entry], limit: int) -> Iterator[tuple[Entry, ...]]:
    """``entries`` in order, as many at a time as a packet of ``limit`` bytes holds (one at least).  Lazy."""
    batch, size = list[Entry](), HEADER_ROOM
    for entry in entries:
        more = encoded_size(entry)
        if size + more > limit and batch:
            yield tuple(batch)
            batch, size = [], HEADER_ROOM
        batch.append(entry)
        size += more
    if batch:
        yield tuple(batch)
