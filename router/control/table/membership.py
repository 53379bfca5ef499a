"""A pool as control knows it: its members, the claims that keep them, and what people are told of changes.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from fastroute.router.control.table.key_votes import SAYS_NOTHING, KeyVotes
from fastroute.router.control.table.sources import Claim, RecordId
from fastroute.router.protocol.node_options import KeyOptions, NodeOptions, overlaid
from fastroute.router.protocol.subscription import Entry


@dataclass(frozen=True, slots=True)
class Override:
    """What an operator changed of a node."""

    #: Those that the node had then: the change ends with the last of them.
    claims: frozenset[RecordId]
    drain: bool = False
    #: None: not changed.
    weight: int | None = None
    #: With ``drain``: seconds for which the node's own clients still get it.
    sessions: float = 0.0


@dataclass(slots=True)
class Member:
    """One node of a pool."""

    #: A numeric address, or a path.
    address: str
    #: What keeps it: it leaves with the last one.
    claims: dict[RecordId, Claim] = field(default_factory=dict)
    stale: bool = False
    since: float = 0.0
    override: Override | None = None
    #: Whether it is this router itself; no relay knows it then (own_nodes.py).
    own: bool = False

    @property
    def chief(self) -> Claim:
        """The claim whose attributes count: the highest rank, and a fixed order among equals, so that none flaps."""
        if len(self.claims) == 1:
            return next(iter(self.claims.values()))
        return max(self.claims.values(), key=lambda claim: (claim.id.rank, claim.id))

    @property
    def entry(self) -> Entry:
        """The attributes that count: options, drain, via, cores, load."""
        return self.chief.entry

    @property
    def options(self) -> NodeOptions:
        """The settings that count, with what an operator changed."""
        options = self.entry.options
        return options if options.weight == self.weight else replace(options, weight=self.weight)

    @property
    def weight(self) -> int:
        """The operator's, else the announced one; 0: no new requests."""
        changed = self.override.weight if self.override else None
        return self.entry.options.weight if changed is None else changed

    @property
    def draining(self) -> bool:
        """No new requests: an operator or the announcer drains it, or its weight is 0."""
        if (self.override is not None and self.override.drain) or not self.weight:
            return True
        entry = self.entry
        return entry.drain and entry.options.weight > 0

    @property
    def sessions(self) -> float:
        """Seconds for which the node's own clients still get it while it drains, from when that began."""
        if self.override is not None and self.override.drain:
            return self.override.sessions
        return self.entry.sessions if self.draining else 0.0

    @property
    def last_seen(self) -> float:
        """Monotonic time of the last packet that named this node."""
        return max(claim.seen for claim in self.claims.values())


@dataclass(slots=True)
class AnnouncedPool:
    """A known key.  ``empty_since`` is when its last member left (or it was made), None while it has members."""

    name: str
    #: The router's own settings, for what no node says.
    defaults: KeyOptions
    members: dict[str, Member] = field(default_factory=dict)
    #: As keys: an empty set takes 216 bytes, an empty dict 64.
    keepers: dict[RecordId, None] = field(default_factory=dict)
    votes: KeyVotes = field(default_factory=KeyVotes)
    #: What the votes said when the last who announced something here left, until the next one comes: requests that come
    #: while a single worker is replaced wait as it said.
    last_options: KeyOptions = SAYS_NOTHING
    empty_since: float | None = None
    #: Clients stay with their node: relays are told the value of each node's cookie.
    sticky: bool = False
    #: It is known for nothing but a state that it was put in (key_states.py), and is forgotten with that: whoever
    #: serves its requests otherwise (a wildcard, say) shall have them again.
    only_held: bool = False

    @property
    def options(self) -> KeyOptions:
        """What the votes say, setting by setting, else the router's own."""
        return self.votes.options(overlaid(self.defaults, self.last_options))

    def deserted(self, now: float, grace: float) -> bool:
        """Whether nobody is there or knows the key, for ``grace`` seconds; at once, if it was held and no more."""
        if self.members or self.keepers or self.empty_since is None:
            return False
        return self.only_held or now - self.empty_since >= grace

    def vote(self, record: RecordId, options: KeyOptions | None) -> list[str]:
        """``record`` says this of the key from now on; None: it has left, and the last one's word stays.  Returns
        sentences about what it disagrees on since."""
        if options is not None:
            self.last_options = SAYS_NOTHING
            return self.votes.put(record, options)
        if not self.members and not self.keepers:
            self.last_options = self.votes.options(SAYS_NOTHING)
        self.votes.forget(record)
        return []


def text_of_node(entry: Entry) -> str:
    """What people are told of a node that has changed."""
    options = entry.options
    drained = "drained" if entry.drain else "not drained"
    return f"weight {options.weight}, backup {options.backup}, {drained}"


def uwsgi_hash(key: str) -> int:
    """The bucket that uWSGI's FastRouter logs for a key (djb33x of its bytes, 65,535 buckets): foo.com is 11571."""
    value = 5381
    for byte in key.encode("latin-1", "replace"):
        value = (value * 33 ^ byte) & 0xFFFFFFFF
    return value % 65_535


NoteKind = Literal[
    "pool-new", "pool-forgotten", "key-paused", "key-maintenance", "key-resumed", "key-disputed",
    "node-new", "node-removed", "node-changed", "source", "stale",
]  # fmt: skip


class Note(NamedTuple):
    """Something that people want to know: for the log and the events."""

    kind: NoteKind
    key: str
    address: str = ""
    text: str = ""

    @property
    def sentence(self) -> str:
        """The line of the log that operators grep for (docs/reference/router.md)."""
        match self.kind:
            case "pool-new":
                return f"new pool: {self.key} (hash key: {uwsgi_hash(self.key)})"
            case "pool-forgotten":
                return f"pool forgotten: {self.key}"
            case "key-paused" | "key-maintenance" | "key-resumed":
                state = {"key-paused": "paused", "key-maintenance": "in maintenance"}.get(self.kind, "serves again")
                return f"{self.key} => {state} ({self.text})"
            case "node-new":
                return f"{self.key} => new node: {self.address}"
            case "node-removed":
                return f"{self.key} => node removed: {self.address} ({self.text})"
            case "node-changed":
                return f"{self.key} => node changed: {self.address} ({self.text})"
            case "key-disputed":
                return f"{self.key}: {self.text}; one key has one"
            case _:
                return self.text
