"""Subscription packets (modifier1 224) to and from dataclasses.  Pure; docs/reference/wire.md is the reference.

Everything an announcer can say is an :class:`Announcement`: entries that join or leave, or a heartbeat or mark about
the source as a whole.  Reading is strict: what is out of range is a :class:`PacketError` with a short ``reason`` (a
counter label) and a text for people.  Unknown names are ignored, so that newer announcers and the original's own fields
pass.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from fastroute.router.protocol.key import normalise_key
from fastroute.router.protocol.key_state import AnnouncedState, state_of_pairs, state_pairs
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
from fastroute.router.protocol.wire import (
    HEADER_SIZE,
    Pairs,
    WireError,
    decode_header,
    decode_vars,
    encode_packet,
    encode_vars,
)

SUBSCRIPTION = 224
JOIN, LEAVE, ACK = 0, 1, 2
VERSION = 1
#: docs/reference/requests.md: a key or address over 255 bytes is refused (the original's buffers have 255, unchecked).
MAX_FIELD = 255
MAX_OWNER = 128
_MAX_COUNTER = 2**63 - 1
#: Settings that uWSGI's packets always have; the rest only where they are not at their default.
_ALWAYS = ("modifier1", "modifier2", "weight")
_SOMETIMES = tuple(row for row in ALL_SETTINGS if row.name not in _ALWAYS)

_SOURCE = re.compile(rb"[A-Za-z0-9._:@-]{1,64}")
_BLANK_OR_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
_DIGEST = re.compile(rb"[0-9a-f]{16}")
#: Routers that a key may pass from one to the next; more than anybody builds.
MAX_HOPS = 8
_VIA = re.compile(rb"[0-9a-f]{16}(?:,[0-9a-f]{16}){0,%d}" % (MAX_HOPS - 1))

AnnouncementOp = Literal["nodes", "heartbeat", "mark"]
Result = Literal["applied", "full", "behind", "again", "refused"]


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

    @property
    def routing(self) -> tuple[object, ...]:
        """What a relay needs to know of the node itself."""
        return (non_defaults(self.options, NODE_SETTINGS), self.drain, self.via)

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


@dataclass(frozen=True, slots=True)
class Announcement:
    """One packet of an announcer."""

    op: AnnouncementOp = "nodes"
    entries: tuple[Entry, ...] = ()
    #: Empty: the worker itself.
    source: str = ""
    #: The life of the source; -1: its packets have no order.
    instance: int = -1
    #: The number of the packet; -1: it has none.
    seq: int = -1
    #: The announcer wants an ack.
    ack: bool = False
    #: Of a mark: its source has told all from this seq on (docs/reference/wire.md).
    since: int = 0
    #: Of a heartbeat or mark: how many entries the source has, and their digest.
    count: int = 0
    digest: int = 0
    #: Only read: :mod:`.proof` adds these, with the hmac that makes them mean something.
    session: str = ""
    nonce: str = ""
    #: Only read: uWSGI adds these.  Seconds since the epoch.
    stamp: int = 0
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Ack:
    """A router's answer; see docs/reference/wire.md."""

    #: Of the packet that it answers; -1: that had none.
    seq: int
    boot: str
    result: Result
    instance: int = -1
    in_flight: int = 0
    reason: str = ""
    session: str = ""
    nonce: str = ""


def decode(datagram: bytes) -> Announcement | Ack:
    """What ``datagram`` says; ``PacketError`` when it is no valid subscription packet."""
    try:
        modifier1, size, modifier2 = decode_header(datagram)
        if modifier1 != SUBSCRIPTION or size != len(datagram) - HEADER_SIZE:
            raise PacketError("malformed", f"modifier1 {modifier1}, size {size} in a datagram of {len(datagram)} bytes")
        pairs = decode_vars(datagram, HEADER_SIZE)
    except WireError as error:
        raise PacketError("malformed", str(error)) from None
    last = dict(pairs)
    if modifier2 == ACK:
        return _decode_ack(last)
    try:
        return _decode_announcement(pairs, last, modifier2 != JOIN)
    except PacketError as error:
        if last.get(b"ack") != b"1":
            raise
        seq = last.get(b"seq", b"")
        raise PacketError(error.reason, str(error), int(seq) if seq.isdigit() and len(seq) <= 18 else -1) from None


def decode_ack(datagram: bytes) -> Ack | None:
    """The ack that ``datagram`` is; None for anything else."""
    try:
        message = decode(datagram)
    except PacketError:
        return None
    return message if isinstance(message, Ack) else None


def encode_plain(entry: Entry, announcement: Announcement) -> bytes:
    """``entry`` alone, as the original understands it too; source, instance, seq and ack from ``announcement``."""
    block = encode_vars(_entry_pairs(entry, plain=True) + _head_pairs(announcement))
    return encode_packet(SUBSCRIPTION, LEAVE if entry.gone else JOIN, block)


def encode(announcement: Announcement) -> bytes:
    """A batch of entries, a heartbeat or a mark, as one packet for a router that acks."""
    pairs = _head_pairs(announcement)
    if announcement.op != "nodes":
        pairs += [(b"op", announcement.op.encode()), (b"since", b"%d" % announcement.since)]
        pairs += [(b"count", b"%d" % announcement.count), (b"digest", b"%016x" % announcement.digest)]
    pairs += ((b"node", encode_vars(_entry_pairs(entry, plain=False))) for entry in announcement.entries)
    return encode_packet(SUBSCRIPTION, JOIN, encode_vars(pairs))


def encoded_size(entry: Entry) -> int:
    """Bytes that ``entry`` adds to a batch: for filling packets up to a limit."""
    return len(encode_vars([(b"node", encode_vars(_entry_pairs(entry, plain=False)))]))


def encode_ack(ack: Ack) -> bytes:
    """``ack`` as a packet."""
    pairs = [
        (b"version", b"%d" % VERSION),
        (b"ack", b"" if ack.seq < 0 else b"%d" % ack.seq),
        (b"boot", ack.boot.encode()),
        (b"result", ack.result.encode()),
    ]
    if ack.instance >= 0:
        pairs.append((b"instance", b"%d" % ack.instance))
    if ack.in_flight:
        pairs.append((b"in_flight", b"%d" % ack.in_flight))
    if ack.reason:
        pairs.append((b"reason", ack.reason.encode()))
    return encode_packet(SUBSCRIPTION, ACK, encode_vars(pairs))


def digest_of(entries: Iterable[Entry]) -> int:
    """The digest of a source's entries (docs/reference/wire.md)."""
    return sum(entry.digest() for entry in entries) % 2**64


def _head_pairs(announcement: Announcement) -> Pairs:
    pairs: Pairs = [(b"version", b"%d" % VERSION)]
    if announcement.source:
        pairs.append((b"source", announcement.source.encode()))
    if announcement.instance >= 0:
        pairs.append((b"instance", b"%d" % announcement.instance))
    if announcement.seq >= 0:
        pairs.append((b"seq", b"%d" % announcement.seq))
    if announcement.ack:
        pairs.append((b"ack", b"1"))
    return pairs


def _entry_pairs(entry: Entry, *, plain: bool) -> Pairs:
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
    if entry.via:
        pairs.append((b"via", entry.via.encode()))
    if entry.gone and not plain:
        pairs.append((b"gone", b"1"))
    return pairs


def _decode_announcement(pairs: Pairs, last: dict[bytes, bytes], leaving: bool) -> Announcement:
    source = last.get(b"source", b"")
    if source and not _SOURCE.fullmatch(source):
        raise PacketError("malformed", f"source {source[:80]!r}: 1 to 64 of A-Z a-z 0-9 . _ : @ - expected")
    op = last.get(b"op", b"nodes")
    if op not in (b"nodes", b"heartbeat", b"mark"):
        raise PacketError("malformed", f"op {op[:40]!r} is not known")
    entries: tuple[Entry, ...] = ()
    if op == b"nodes":
        nested = [value for name, value in pairs if name == b"node"]
        if b"key" in last or b"address" in last or not nested:
            entries = (_decode_entry(last, leaving, need_address=True),)
        else:
            blocks = (dict(_nested(value)) for value in nested)
            entries = tuple(
                _decode_state_entry(fields)
                if source and b"state" in fields and b"key" not in fields
                else _decode_entry(fields, fields.get(b"gone") == b"1", need_address=not source)
                for fields in blocks
            )
    digest = last.get(b"digest", b"0" * 16)
    if not _DIGEST.fullmatch(digest):
        raise PacketError("malformed", f"digest {digest[:40]!r}: 16 hex digits expected")
    return Announcement(
        "nodes" if op == b"nodes" else "heartbeat" if op == b"heartbeat" else "mark",
        entries,
        source.decode(),
        _number(last, b"instance", -1, _MAX_COUNTER),
        _number(last, b"seq", -1, _MAX_COUNTER),
        last.get(b"ack") == b"1",
        _number(last, b"since", 0, _MAX_COUNTER),
        _number(last, b"count", 0, _MAX_COUNTER),
        int(digest, 16),
        last.get(b"session", b"")[:64].decode("latin-1"),
        last.get(b"nonce", b"")[:64].decode("latin-1"),
        _number(last, b"unix", 0, _MAX_COUNTER),
        pairs[-1][1] if pairs and pairs[-1][0] == b"sign" else b"",
    )


def _nested(block: bytes) -> Pairs:
    try:
        return decode_vars(block)
    except WireError as error:
        raise PacketError("malformed", f"node: {error}") from None


def _decode_state_entry(fields: dict[bytes, bytes]) -> Entry:
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


def _decode_entry(fields: dict[bytes, bytes], leaving: bool, *, need_address: bool) -> Entry:
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
        _number(fields, b"cores", 0, _MAX_COUNTER),
        _number(fields, b"load", 0, _MAX_COUNTER),
        _via(fields.get(b"via", b"")),
    )


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


def _number(fields: dict[bytes, bytes], name: bytes, default: int, limit: int) -> int:
    text = fields.get(name, b"")
    if not text:
        return default
    if not text.isdigit() or len(text) > 19 or int(text) > limit:
        raise PacketError("malformed", f"{name.decode()} {text[:40]!r} is no number from 0 to {limit}")
    return int(text)


def _decode_ack(last: dict[bytes, bytes]) -> Ack:
    result = last.get(b"result", b"").decode("latin-1")
    if result not in ("applied", "full", "behind", "again", "refused"):
        raise PacketError("malformed", f"ack with result {result!r}")
    return Ack(
        _number(last, b"ack", -1, _MAX_COUNTER),
        last.get(b"boot", b"").decode("latin-1"),
        result,  # type: ignore[arg-type]  # checked against the literal's values above
        _number(last, b"instance", -1, _MAX_COUNTER),
        _number(last, b"in_flight", 0, _MAX_COUNTER),
        last.get(b"reason", b"").decode("utf-8", "replace"),
        last.get(b"session", b"").decode("latin-1"),
        last.get(b"nonce", b"").decode("latin-1"),
    )
