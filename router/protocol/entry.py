"""One entry of a subscription packet: a node that joins or leaves, or the state of a key; to and from pairs.  Pure.

Reading is strict: what is out of range is a :class:`PacketError`.  Packets are in :mod:`.subscription`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fastroute.router.config.option_types import duration_or_zero
from fastroute.router.protocol.key import normalise_key
from fastroute.router.protocol.key_state import AnnouncedState, seconds_text, state_of_pairs, state_pairs
from fastroute.router.protocol.node_options import (
    ALL_SETTINGS,
    DEFAULT,
    KEY_SETTINGS,
    NODE_SETTINGS,
    NodeOptions,
    from_wire,
    non_defaults,
    to_wire,
)
from fastroute.router.protocol.wire import Pairs, encode_vars

#: docs/reference/requests.md: a key or address over 255 bytes is refused (the original's buffers have 255, unchecked).
MAX_FIELD = 255
MAX_OWNER = 128
MAX_COUNTER = 2**63 - 1
#: Seconds that the sessions of a node which drains may go on, at most: a day.
MAX_SESSIONS = 86_400.0
#: Settings that uWSGI's packets always have; the rest only where they are not at their default.
_ALWAYS = ("modifier1", "modifier2", "weight")
_SOMETIMES = tuple(row for row in ALL_SETTINGS if row.name not in _ALWAYS)


_BLANK_OR_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
#: Routers that a key may pass from one to the next; more than anybody builds.
MAX_HOPS = 8
_VIA = re.compile(rb"[0-9a-f]{16}(?:,[0-9a-f]{16}){0,%d}" % (MAX_HOPS - 1))


class PacketError(ValueError):
    """A packet that changes nothing.  ``reason`` is one of a few words, fit for a metric's label.

    ``seq``: that of a packet that could be read so far and asks for an ack (-1: it has none); None: it does not ask.
    """

    def __init__(self, reason: str, text: str, seq: int | None = None) -> None:
        super().__init__(text)
        self.reason, self.seq = reason, seq


@dataclass(frozen=True, slots=True)
class Entry:
    """One node that joins or (``gone``) leaves; without ``address``: a key that its source still knows, or holds in a
    ``state``."""

    #: Normalised.
    key: str
    #: As announced.
    address: str = ""
    options: NodeOptions = DEFAULT
    drain: bool = False
    owner: str = ""
    gone: bool = False
    #: These two are for the stats only.
    cores: int = 0
    load: int = 0
    #: The node is a router, and these (boot ids, comma separated) stand between here and the worker, the nearest first.
    via: str = ""
    #: Only without an address.
    state: AnnouncedState | None = None
    #: Seconds for which the node's own clients (``sticky``) still get it while it drains; its source ends it in time.
    sessions: float = 0.0

    @property
    def routing(self) -> tuple[object, ...]:
        """What a relay needs to know of the node itself."""
        return (non_defaults(self.options, NODE_SETTINGS), self.drain, self.sessions, self.via)

    @property
    def for_key(self) -> Entry:
        """The same without the node: its source knows the key and its settings, and has no node there now."""
        options = self.options
        of_key = NodeOptions(**non_defaults(options, KEY_SETTINGS)) if options != DEFAULT else DEFAULT
        return Entry(self.key, options=of_key, owner=self.owner)

    def digest(self) -> int:
        """This entry's share of the digest (docs/reference/wire.md): 64 bits, to be summed modulo 2^64."""
        options = self.options
        # Never more fields: routers that don't know them would never come to the same sum.
        fields: tuple[object, ...] = (
            self.key, self.address, self.owner, max(options.weight, 1), options.backup, int(self.drain),
            options.modifier1, options.modifier2, options.protocol, options.algorithm,
        )  # fmt: skip
        if (state := self.state) is not None:
            # Those routers refuse the entry, so it counts for neither side.
            fields += (state.name, state.message, ",".join(state.allow), f"{state.seconds:.3f}", state.stamp)
        text = "\0".join(map(str, fields)).encode("latin-1", "replace")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def digest_of(entries: Iterable[Entry]) -> int:
    """The digest of a source's entries (docs/reference/wire.md)."""
    return sum(entry.digest() for entry in entries) % 2**64


def encoded_size(entry: Entry) -> int:
    """Bytes that ``entry`` adds to a batch: for filling packets up to a limit."""
    return len(encode_vars([(b"node", encode_vars(entry_pairs(entry, plain=False)))]))


def entry_pairs(entry: Entry, *, plain: bool) -> Pairs:
    key = entry.key.encode("latin-1")
    if entry.state is not None:
        # Under a name of its own: a version that knows no states refuses an entry without ``key``.
        held = [(b"of", key), *state_pairs(entry.state), (b"owner", entry.owner.encode())]
        return held + ([(b"gone", b"1")] if entry.gone else [])
    if not entry.address:
        known = [(b"key", key), *to_wire(entry.options, KEY_SETTINGS), (b"owner", entry.owner.encode())]
        return known + ([(b"gone", b"1")] if entry.gone else [])
    options = entry.options
    pairs: Pairs = [(b"key", key), (b"address", entry.address.encode())]
    pairs += [(b"modifier1", b"%d" % options.modifier1), (b"modifier2", b"%d" % options.modifier2)]
    pairs += [(b"cores", b"%d" % entry.cores), (b"load", b"%d" % entry.load), (b"weight", b"%d" % options.weight)]
    if options != DEFAULT:
        pairs += to_wire(options, _SOMETIMES)
    if entry.owner:
        pairs.append((b"owner", entry.owner.encode()))
    if entry.drain:
        pairs.append((b"drain", b"1"))
        if entry.sessions:
            pairs.append((b"sessions", seconds_text(entry.sessions).encode()))
    if entry.via:
        pairs.append((b"via", entry.via.encode()))
    if entry.gone and not plain:
        pairs.append((b"gone", b"1"))
    return pairs


def decode_state_entry(fields: dict[bytes, bytes]) -> Entry:
    key, owner = _key(fields.get(b"of", b"")), _owner(fields)
    try:
        state = state_of_pairs(fields)
    except ValueError as error:
        raise PacketError("malformed", str(error)) from None
    return Entry(key, owner=owner, gone=fields.get(b"gone") == b"1", state=state)


def _key(raw: bytes) -> str:
    _check_field("key", raw)
    return normalise_key(raw.decode("latin-1"))


def _owner(fields: dict[bytes, bytes]) -> str:
    owner = fields.get(b"owner", b"")
    if len(owner) > MAX_OWNER or _BLANK_OR_CONTROL.search(owner):
        raise PacketError("malformed", f"owner {owner[:80]!r}: up to {MAX_OWNER} bytes without blanks expected")
    return owner.decode("latin-1")


def decode_entry(fields: dict[bytes, bytes], leaving: bool, *, need_address: bool) -> Entry:
    address = fields.get(b"address", b"")
    if need_address or address:
        _check_field("address", address)
    key, owner = _key(fields.get(b"key", b"")), _owner(fields)
    drains = fields.get(b"drain") == b"1"
    try:
        options = from_wire(fields)
    except ValueError as error:
        raise PacketError("malformed", str(error)) from None
    if not options.weight and not drains:
        # The original takes 0 for 1; ours says drain besides.
        options = replace(options, weight=1)
    return Entry(
        key,
        address.decode("latin-1"),
        options,
        drains,
        owner,
        leaving,
        read_number(fields, b"cores", 0, MAX_COUNTER),
        read_number(fields, b"load", 0, MAX_COUNTER),
        _via(fields.get(b"via", b"")),
        sessions=_sessions(fields.get(b"sessions", b"")) if drains else 0.0,
    )


def _sessions(value: bytes) -> float:
    try:
        return min(duration_or_zero(value.decode("latin-1")), MAX_SESSIONS) if value else 0.0
    except ValueError as error:
        raise PacketError("malformed", f"sessions: {error}") from None


def _via(value: bytes) -> str:
    if value and not _VIA.fullmatch(value):
        raise PacketError("malformed", f"via {value[:40]!r}: up to {MAX_HOPS} boot ids (16 hex digits) expected")
    return value.decode()


def _check_field(name: str, value: bytes) -> None:
    if not value:
        raise PacketError(f"bad-{name}", f"{name} is missing or empty")
    if len(value) > MAX_FIELD:
        raise PacketError(f"bad-{name}", f"{name} of {len(value)} bytes (at most {MAX_FIELD}): {value[:40]!r}...")
    if _BLANK_OR_CONTROL.search(value):
        raise PacketError(f"bad-{name}", f"{name} {value!r} has blanks or control characters")


def read_number(fields: dict[bytes, bytes], name: bytes, default: int, limit: int) -> int:
    text = fields.get(name, b"")
    if not text:
        return default
    if not text.isdigit() or len(text) > 19 or int(text) > limit:
        raise PacketError("malformed", f"{name.decode()} {text[:40]!r} is no number from 0 to {limit}")
    return int(text)
