"""Announcers that speak for many nodes (controllers): records, and the order of one source's packets.  Pure.

docs/reference/wire.md, "Extensions", has the rules; a :class:`Source` holds what is needed to keep them: the instance
in charge, the ``floor`` below which everything is settled, the buried records (so that a late announcement revives
nothing that was withdrawn), and count and digest of all that it announced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fastroute.router.protocol.address import Address, AddressError, join_host_port, parse_address
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError, Result

#: Source of the nodes in the router's own configuration.
STATIC = "static"
#: Source of what people ask of this router itself.
OPERATOR = "operator"
#: Whose attributes win when several claim one node: people over controllers over files over the worker itself.
_RANKS = {"": 0, STATIC: 1, OPERATOR: 3}
_CONTROLLER_RANK = 2
#: Withdrawals remembered until the next comparison; more than any full announcement has.
MAX_BURIED = 100_000


class RecordId(NamedTuple):
    """Who announced what; ``address`` as announced, but ``:port`` already with the announcer's own IP."""

    source: str
    owner: str
    key: str
    address: str

    @property
    def rank(self) -> int:
        """Higher wins."""
        return _RANKS.get(self.source, _CONTROLLER_RANK)


@dataclass(slots=True)
class Claim:
    """One announced entry."""

    id: RecordId
    entry: Entry
    #: Monotonic time of its last announcement.
    seen: float
    #: Its place in the order of its source's packets.
    instance: int = -1
    seq: int = -1
    #: The addresses of the members that it stands for.
    targets: tuple[str, ...] = ()


@dataclass(slots=True)
class Source:
    """State of one source."""

    name: str
    #: The instance in charge, and the highest ``seq`` of its packets.
    instance: int = -1
    seq: int = -1
    #: Packets with a lower ``seq`` change nothing any more.
    floor: int = 0
    digest: int = 0
    #: Monotonic time of its last packet.
    seen: float = 0.0
    #: Whether it has been silent for so long that its nodes are stale.
    silent: bool = False
    #: Entries that have become stale by that and were not looked at yet.
    unjudged: list[RecordId] = field(default_factory=list)
    #: The source that said that the machine of this one is down, until this one is heard again; empty: none.
    lost_by: str = ""
    #: Entries that were known already, as their ack was late or lost.
    repeated: int = 0
    #: Its entries come from a snapshot of a version that knew other settings, so some may be missing although the
    #: digest agrees: it has to announce everything.
    outdated: bool = False
    claims: dict[RecordId, Claim] = field(default_factory=dict)
    buried: dict[RecordId, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of entries the source has announced."""
        return len(self.claims)

    def take_over(self, instance: int) -> bool:
        """A packet of ``instance`` (not older than the one in charge) is here; True when it is a new one."""
        if instance == self.instance:
            return False
        self.instance, self.seq, self.floor = instance, -1, 0
        self.buried.clear()
        return True

    def admits(self, record: RecordId, seq: int) -> bool:
        """Whether a packet of the instance in charge may still change ``record``; if so, its ``seq`` counts as seen."""
        old = self.claims.get(record)
        last = old.seq if old is not None and old.instance == self.instance else -1
        if seq < self.floor or seq <= max(last, self.buried.get(record, -1)):
            self.repeated += 1
            return False
        self.seq = max(self.seq, seq)
        return True

    def bury(self, record: RecordId, seq: int) -> None:
        """``record`` was withdrawn by the packet ``seq``: nothing older revives it."""
        self.buried[record] = seq
        if len(self.buried) > MAX_BURIED:
            # A source that withdraws and never compares.  What is settled too early comes back by a comparison.
            self.floor = max(self.floor, sorted(self.buried.values())[MAX_BURIED // 2])
            self._settle()

    def _settle(self) -> None:
        self.buried = {record: seq for record, seq in self.buried.items() if seq >= self.floor}

    def put(self, claim: Claim) -> None:
        """Remember ``claim``, in place of what the same record said before."""
        self.take(claim.id)
        self.claims[claim.id] = claim
        self.digest = (self.digest + claim.entry.digest()) % 2**64

    def take(self, record: RecordId) -> None:
        """Forget what ``record`` said, if it said anything."""
        if (old := self.claims.pop(record, None)) is not None:
            self.digest = (self.digest - old.entry.digest()) % 2**64

    def unmarked(self, since: int) -> list[RecordId]:
        """A full announcement that began with ``since`` is over: the records that were not in it."""
        self.floor = max(self.floor, since)
        return [record for record, claim in self.claims.items() if claim.instance < self.instance or claim.seq < since]

    def compare(self, announcement: Announcement) -> Result | None:
        """Heartbeat or mark: do count and digest agree?  None when a later packet has changed something already."""
        if announcement.seq < self.seq:
            return None
        if announcement.op == "mark":
            self.outdated = False
        elif self.outdated:
            return "full"
        if (announcement.count, announcement.digest) != (self.count, self.digest):
            return "full"
        if announcement.op == "heartbeat":
            self.floor = max(self.floor, announcement.seq)
        self._settle()
        return "applied"


def record_id(source: str, entry: Entry, sender: str) -> RecordId:
    """Who announced what; ``sender`` is the announcer's IP.  ``PacketError`` for an address that is none of a node."""
    if not entry.address:
        return RecordId(source, entry.owner, entry.key, "")
    address = _node_address(entry.address)
    text = join_host_port(sender, address.port) if address.unspecified else str(address)
    return RecordId(source, entry.owner, entry.key, text)


def _node_address(text: str) -> Address:
    try:
        address = parse_address(text)
    except AddressError as error:
        raise PacketError("bad-address", str(error)) from None
    if address.kind == "fd" or (address.kind == "inet" and address.port == 0):
        raise PacketError("bad-address", f"{text!r}: a node needs a port or a socket path")
    if address.kind == "unix" and not text.startswith(("/", "@")):
        raise PacketError("bad-address", f"{text!r}: a socket path must start with / or @")
    return address
