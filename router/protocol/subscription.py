"""Subscription packets (modifier1 224) to and from dataclasses.  Pure; docs/reference/wire.md is the reference.

Everything an announcer can say is an :class:`Announcement`: entries that join or leave, or a heartbeat or mark about
the source as a whole.  Reading is strict: what is out of range is a :class:`PacketError` with a short ``reason`` (a
counter label) and a text for people.  Unknown names are ignored, so that newer announcers and the original's own fields
pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fastroute.router.protocol.entry import MAX_COUNTER, decode_entry, decode_state_entry, entry_pairs, read_number

# Whoever speaks of packets speaks of their entries, so both names are here as well.
from fastroute.router.protocol.entry import Entry as Entry
from fastroute.router.protocol.entry import PacketError as PacketError
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

_SOURCE = re.compile(rb"[A-Za-z0-9._:@-]{1,64}")
_DIGEST = re.compile(rb"[0-9a-f]{16}")

AnnouncementOp = Literal["nodes", "heartbeat", "mark"]
Result = Literal["applied", "full", "behind", "again", "refused"]


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
    #: Of a heartbeat: sources whose machines are down, as their swarm says.
    lost: tuple[str, ...] = ()


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
    block = encode_vars(entry_pairs(entry, plain=True) + _head_pairs(announcement))
    return encode_packet(SUBSCRIPTION, LEAVE if entry.gone else JOIN, block)


def encode(announcement: Announcement) -> bytes:
    """A batch of entries, a heartbeat or a mark, as one packet for a router that acks."""
    pairs = _head_pairs(announcement)
    if announcement.op != "nodes":
        pairs += [(b"op", announcement.op.encode()), (b"since", b"%d" % announcement.since)]
        pairs += [(b"count", b"%d" % announcement.count), (b"digest", b"%016x" % announcement.digest)]
    if announcement.lost:
        pairs.append((b"lost", ",".join(announcement.lost).encode()))
    pairs += ((b"node", encode_vars(entry_pairs(entry, plain=False))) for entry in announcement.entries)
    return encode_packet(SUBSCRIPTION, JOIN, encode_vars(pairs))


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
            entries = (decode_entry(last, leaving, need_address=True),)
        else:
            blocks = (dict(_nested(value)) for value in nested)
            entries = tuple(
                decode_state_entry(fields)
                if source and b"state" in fields and b"key" not in fields
                else decode_entry(fields, fields.get(b"gone") == b"1", need_address=not source)
                for fields in blocks
            )
    digest = last.get(b"digest", b"0" * 16)
    if not _DIGEST.fullmatch(digest):
        raise PacketError("malformed", f"digest {digest[:40]!r}: 16 hex digits expected")
    return Announcement(
        "nodes" if op == b"nodes" else "heartbeat" if op == b"heartbeat" else "mark",
        entries,
        source.decode(),
        read_number(last, b"instance", -1, MAX_COUNTER),
        read_number(last, b"seq", -1, MAX_COUNTER),
        last.get(b"ack") == b"1",
        read_number(last, b"since", 0, MAX_COUNTER),
        read_number(last, b"count", 0, MAX_COUNTER),
        int(digest, 16),
        last.get(b"session", b"")[:64].decode("latin-1"),
        last.get(b"nonce", b"")[:64].decode("latin-1"),
        read_number(last, b"unix", 0, MAX_COUNTER),
        pairs[-1][1] if pairs and pairs[-1][0] == b"sign" else b"",
        _lost(last.get(b"lost", b"")) if op == b"heartbeat" else (),
    )


def _lost(text: bytes) -> tuple[str, ...]:
    names = text.split(b",") if text else []
    if not all(map(_SOURCE.fullmatch, names)):
        raise PacketError("malformed", f"lost {text[:80]!r}: names of sources expected, comma separated")
    return tuple(name.decode() for name in names)


def _nested(block: bytes) -> Pairs:
    try:
        return decode_vars(block)
    except WireError as error:
        raise PacketError("malformed", f"node: {error}") from None


def _decode_ack(last: dict[bytes, bytes]) -> Ack:
    result = last.get(b"result", b"").decode("latin-1")
    if result not in ("applied", "full", "behind", "again", "refused"):
        raise PacketError("malformed", f"ack with result {result!r}")
    return Ack(
        read_number(last, b"ack", -1, MAX_COUNTER),
        last.get(b"boot", b"").decode("latin-1"),
        result,  # type: ignore[arg-type]  # checked against the literal's values above
        read_number(last, b"instance", -1, MAX_COUNTER),
        read_number(last, b"in_flight", 0, MAX_COUNTER),
        last.get(b"reason", b"").decode("utf-8", "replace"),
        last.get(b"session", b"").decode("latin-1"),
        last.get(b"nonce", b"").decode("latin-1"),
    )
