"""The truth about pools: which node serves which key, and who says so.  Pure; `now` is time.monotonic.

Rules of this file:

* A node lives while it has a *claim*: somebody who announced it.  A withdrawal takes only the claim of the same source
  and owner, so one announcer never removes another's node, and a node never counts twice.
* Order is (instance, seq) of a source, never a clock: what is late, repeated or left behind changes nothing.
* Nothing here grows with the number of nodes per change: expiry pops from an ordered queue, digests are sums.
* Changes leave as two sets of dirty names (relays get the current state of each) and as notes (for people); ``heard``
  are the nodes that were announced, changed or not.
* ``stamps`` are those of signed packets; the authenticator reads and fills them.

Theory: a *record* is one entry of one announcer, ``(source, owner, key, address)``; it claims one member of the key's
pool, or several when its address is a host name, or none (the source only says that it knows the key).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fastroute.router.control.auth.signatures import SignatureStamps
from fastroute.router.control.table.host_names import HostNames
from fastroute.router.control.table.key_states import KeyStates
from fastroute.router.control.table.membership import AnnouncedPool, Member, Note, text_of_node
from fastroute.router.control.table.silences import EXPIRY_SLICE, Silences
from fastroute.router.control.table.sources import OPERATOR, STATIC, Claim, RecordId, Source, record_id
from fastroute.router.control.table.worker_records import WorkerRecords
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.key_state import AnnouncedState
from fastroute.router.protocol.node_options import KeyOptions
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError, Result

#: More than any host has; bounds what a trusted but broken announcer can make us hold (about 1 KB a record).
MAX_RECORDS = 200_000
MAX_SOURCES = 10_000


class Table:
    """All pools and all sources.

    ``tolerance``: seconds of silence after which a self-announced node leaves, or a source counts as silent;
    ``key_grace``: seconds a key without members stays known; ``stale_max``: seconds a silent source's nodes are kept.
    """

    def __init__(
        self,
        *,
        tolerance: float = 25,
        key_grace: float = 60,
        stale_max: float = 600,
        defaults: KeyOptions = KeyOptions(algorithm="wrr"),  # noqa: B008  # frozen
    ) -> None:
        self.tolerance, self.key_grace = tolerance, key_grace
        #: The router's own settings of keys.
        self.defaults = defaults
        #: Our boot id: what comes back to us by other routers is no node of ours.
        self.router_id = "-"
        #: What the values of cookies are made with; empty: nothing.
        self.session_secret = b""
        #: The nodes that an operator drained but for their sessions, and when these end (None: it is not known yet).
        self.session_ends: dict[tuple[str, str], float | None] = {}
        self.pools: dict[str, AnnouncedPool] = {}
        self.sources: dict[str, Source] = {}
        self.node_count = 0
        self.dirty_nodes: dict[tuple[str, str], None] = {}
        self.dirty_pools: dict[str, None] = {}
        self.notes: list[Note] = []
        self.states = KeyStates(self.notes)
        self.hosts = HostNames()
        self.heard: list[tuple[str, str]] = []
        self.stamps = SignatureStamps()
        self._records: dict[RecordId, Claim] = {}
        self._worker_records = WorkerRecords()
        self._empty: dict[str, None] = {}
        self._silences = Silences(tolerance, stale_max, self.notes, self._judge_claim, self._drop)

    # What announcers say

    def apply(self, announcement: Announcement, sender: str, now: float, share: int = MAX_RECORDS) -> Result | None:
        """Apply one packet; ``sender`` is its IP, for which ``:port`` stands; workers there may have ``share`` nodes.

        Returns the result for the ack; None when there is nothing to answer (a heartbeat that was overtaken).
        ``PacketError`` when an entry has an address that is none; then nothing of the packet was applied.
        """
        ids = [record_id(announcement.source, entry, sender) for entry in announcement.entries]
        if share < MAX_RECORDS and not self._worker_records.room(share, ids, self._records):
            raise PacketError("too-many", f"workers of {sender} may announce {share} nodes")
        source: Source | None = None
        taken_over = False
        if announcement.source and announcement.instance >= 0:
            source = self._source(announcement.source)
            if announcement.instance < source.instance:
                return "behind"
            taken_over = source.take_over(announcement.instance)
            if taken_over:
                self.notes.append(Note("source", "", text=f"{source.name}: instance {source.instance} is in charge"))
            self._silences.hear(source, now)
        if announcement.op != "nodes":
            if source is None:
                raise PacketError("malformed", f"{announcement.op} without source and instance")
            for name in announcement.lost:
                if (lost := self.sources.get(name)) is not None and lost is not source:
                    self._silences.lose(lost, source.name, now)
            return self._compare(source, announcement, now)
        for record, entry in zip(ids, announcement.entries, strict=True):
            if source is None or source.admits(record, announcement.seq):
                self._apply_entry(source, Claim(record, entry, now, announcement.instance, announcement.seq), now)
        return "full" if taken_over else "applied"

    def fixed(self, entries: Sequence[Entry], now: float) -> None:
        """The nodes of the router's own configuration (source ``static``) are these and no others."""
        self.apply(Announcement(entries=tuple(entries), source=STATIC), "127.0.0.1", now)
        kept = {record_id(STATIC, entry, "127.0.0.1") for entry in entries}
        for record in [record for record in self._records if record.source == STATIC and record not in kept]:
            self._drop(record, now, "not in the configuration any more")

    # What time does

    def expire(self, now: float) -> bool:
        """Drop what was silent too long and forget keys whose grace is over.  Cost: only what leaves, and of that
        ``EXPIRY_SLICE`` claims at a time; true when there is more to do now."""
        left = EXPIRY_SLICE
        while left and (record := self._worker_records.oldest) is not None:
            if self._records[record].seen + self.tolerance > now:
                break
            self._drop(record, now, f"no announcement for {self.tolerance:g} s")
            left -= 1
        for source in list(self.sources.values()):
            if not left:
                return True
            left -= self._silences.age(source, now, left)
            if self._silences.forgotten(source, now):
                del self.sources[source.name]
        for record in self.states.due(now):
            self.states.end(record)
            if record.source == OPERATOR:
                # A controller takes its own back: it and we must agree on what it has announced.
                self._drop(record, now, "its time is over")
        for name in list(self._empty):
            self._forget_if_unknown(self.pools[name], now)
        return not left

    def failed(self, key: str, address: str, now: float) -> bool:
        """A relay could not connect.  A stale node is removed (its address may be somebody else's); True if it was."""
        member = self.member(key, address)
        if member is None or not member.stale:
            return False
        for record in list(member.claims):
            self._drop(record, now, "its controller is silent and it refused a connection")
        return True

    # Names

    @property
    def names(self) -> Collection[str]:
        """``host:port`` of all nodes announced by name."""
        return self.hosts.known

    def resolved(self, name: str, hosts: tuple[str, ...], now: float) -> None:
        """``name`` (``host:port``) now stands for the IPs ``hosts``; an empty tuple: for none."""
        targets = self.hosts.resolve(name, hosts)
        for record in self.hosts.records(name):
            self._claim(self._records[record], targets, now, f"{name} no longer resolves to it")

    # What others ask

    @property
    def changed(self) -> bool:
        """Whether anything is dirty or to be told."""
        return bool(self.dirty_nodes or self.dirty_pools or self.states.dirty or self.notes)

    def member(self, key: str, address: str) -> Member | None:
        """The member of ``key`` at ``address``, if there is one."""
        pool = self.pools.get(key)
        return pool.members.get(address) if pool else None

    def records(self) -> Iterator[Claim]:
        """Every claim, in no particular order: for the snapshot."""
        return iter(self._records.values())

    def restore(self, claim: Claim, now: float) -> None:
        """Put back one claim of a snapshot (``claim.seen`` already in this process' monotonic time)."""
        if claim.targets and not parse_address(claim.id.address).numeric:
            self.hosts.restore(claim.id.address, claim.targets)
        claim.targets = ()
        self._store(self.sources.get(claim.id.source), claim, now)

    # Inside: one entry

    def _apply_entry(self, source: Source | None, claim: Claim, now: float) -> None:
        old = self._records.get(claim.id)
        if claim.entry.gone or self.router_id in claim.entry.via.split(","):
            if source is not None:
                source.bury(claim.id, claim.seq)
            if old is not None:
                self._drop(claim.id, now, "withdrawn")
            return
        if old is None and len(self._records) >= MAX_RECORDS:
            raise PacketError("too-many", f"{MAX_RECORDS} nodes are announced already")
        self._store(source, claim, now)

    def _store(self, source: Source | None, claim: Claim, now: float) -> None:
        record, entry = claim.id, claim.entry
        old = self._records.get(record)
        if old is not None:
            claim.targets = old.targets
        self._records[record] = claim
        if source is not None:
            source.put(claim)
        if entry.state is not None:
            self._hold(record, entry.state, now)
            return
        pool = self.pool(record.key, now)
        pool.only_held = False
        self._vote(pool, record, entry.options)
        if not record.source:
            self._worker_records.heard(record)
        if not record.address or not parse_address(record.address).numeric:
            pool.keepers[record] = None
        if record.address:
            changed = old is None or (old.entry != entry and old.entry.routing != entry.routing)
            if changed and old is not None:
                self.notes.append(Note("node-changed", record.key, record.address, text_of_node(entry)))
            self._claim(claim, self._targets(record), now, "moved", changed=changed)

    def _drop(self, record: RecordId, now: float, reason: str) -> None:
        claim = self._records.pop(record)
        self._worker_records.forget(record)
        if (source := self.sources.get(record.source)) is not None:
            source.take(record)
        self.hosts.take(record)
        pool = self.pools[record.key]
        if claim.entry.state is not None:
            self._release(record, pool, now, reason)
        else:
            pool.keepers.pop(record, None)
            self._claim(claim, (), now, reason)
            self._vote(pool, record, None)
        self._forget_if_unknown(pool, now)

    def _targets(self, record: RecordId) -> tuple[str, ...]:
        if parse_address(record.address).numeric:
            return (record.address,)
        self.hosts.put(record)
        return self.hosts.behind(record.address)

    def _claim(self, claim: Claim, targets: tuple[str, ...], now: float, reason: str, *, changed: bool = False) -> None:
        """Let ``claim`` stand for ``targets`` and no longer for what it stood for before."""
        pool = self.pools[claim.id.key]
        for address in set(claim.targets) - set(targets):
            self._leave(pool, claim, address, now, reason)
        for address in targets:
            member = pool.members.get(address)
            if member is None:
                member = pool.members[address] = Member(address, since=now)
                self.node_count += 1
                pool.empty_since = None
                self._empty.pop(pool.name, None)
                self.notes.append(Note("node-new", pool.name, address, claim.id.source))
                changed = True
            member.claims[claim.id] = claim
            self.heard.append((pool.name, address))
            if member.stale:
                self._judge(member)
            if changed:
                self.dirty_nodes[pool.name, address] = None
        claim.targets = targets

    def _leave(self, pool: AnnouncedPool, claim: Claim, address: str, now: float, reason: str) -> None:
        member = pool.members[address]
        member.claims.pop(claim.id, None)
        self.dirty_nodes[pool.name, address] = None
        if member.claims:
            self._judge(member)
            if member.override is not None and member.override.claims.isdisjoint(member.claims):
                member.override = None
            return
        del pool.members[address]
        self.node_count -= 1
        self.notes.append(Note("node-removed", pool.name, address, reason))
        if not pool.members:
            pool.empty_since = now
            self._empty[pool.name] = None

    # Inside: pools

    def pool(self, name: str, now: float) -> AnnouncedPool:
        """The pool of ``name``; made, and empty since ``now``, if the key was not known."""
        pool = self.pools.get(name)
        if pool is None:
            pool = self.pools[name] = AnnouncedPool(name, self.defaults, empty_since=now)
            self._empty[name] = self.dirty_pools[name] = None
            self.notes.append(Note("pool-new", name))
        return pool

    def _vote(self, pool: AnnouncedPool, record: RecordId, options: KeyOptions | None) -> None:
        before = pool.options
        self.notes += (Note("key-disputed", pool.name, text=text) for text in pool.vote(record, options))
        if (options := pool.options) != before:
            self.dirty_pools[pool.name] = None
        if (sticky := bool(options.cookie)) != pool.sticky:
            pool.sticky = sticky
            self.dirty_nodes.update(((pool.name, address), None) for address in pool.members)

    def _forget_if_unknown(self, pool: AnnouncedPool, now: float) -> None:
        if self.states.records(pool.name) or not pool.deserted(now, self.key_grace):
            return
        del self.pools[pool.name]
        self._empty.pop(pool.name, None)
        self.dirty_pools[pool.name] = None
        self.notes.append(Note("pool-forgotten", pool.name))

    # Inside: states of keys

    def _hold(self, record: RecordId, state: AnnouncedState, now: float) -> None:
        only_held = record.key not in self.pools
        pool = self.pool(record.key, now)
        pool.only_held = only_held or pool.only_held
        self.states.put(record, state, now)

    def _release(self, record: RecordId, pool: AnnouncedPool, now: float, reason: str) -> None:
        self.states.take(record, f"by {record.source}" if reason == "withdrawn" else reason)
        if not pool.members:
            # Its grace begins: who is to serve it may only be starting.
            pool.empty_since = now

    # Inside: sources

    def _source(self, name: str) -> Source:
        source = self.sources.get(name)
        if source is None:
            if len(self.sources) >= MAX_SOURCES:
                raise PacketError("too-many", f"{MAX_SOURCES} sources have announced something already")
            source = self.sources[name] = Source(name)
        return source

    def _compare(self, source: Source, announcement: Announcement, now: float) -> Result | None:
        if announcement.op == "mark":
            for record in source.unmarked(announcement.since):
                self._drop(record, now, "not in the full announcement")
        return source.compare(announcement)

    def _judge_claim(self, claim: Claim) -> None:
        for address in claim.targets:
            self._judge(self.pools[claim.id.key].members[address])

    def _judge(self, member: Member) -> None:
        silent = (self.sources.get(record.source) for record in member.claims)
        member.stale = all(source is not None and source.silent for source in silent)
