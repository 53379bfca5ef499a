"""The uwsgi packet: a 4-byte header and a block of key/value pairs.  Pure; the only room that knows packet bytes.

Layout (uwsgi protocol, little-endian)::

    u8 modifier1 | u16 size of the block | u8 modifier2 | block
    block = ( u16 key size | key | u16 value size | value )*

Rules of this file:

* Every reader has three outcomes and no fourth: a value; ``WireError`` (the peer broke the format); for
  :func:`packet_size`, ``None`` (more bytes are needed).
* A key of size 0, or a pair that runs past the block, is an error.  An empty value is not.
* Keys may repeat and keep their order: who needs the last (or first) of them says so.
* Bytes in, bytes out: no character set is assumed here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

HEADER_SIZE = 4
#: The format's own limit: the size field has 16 bits.
MAX_BLOCK = 65_535
#: Bytes of the largest packet; what a datagram socket is read with.
MAX_PACKET = HEADER_SIZE + MAX_BLOCK

_HEADER = struct.Struct("<BHB")
_U16 = struct.Struct("<H")

Pairs = list[tuple[bytes, bytes]]


class WireError(ValueError):
    """The peer sent bytes that are not a uwsgi packet; the text says what and at which offset of the block."""


def encode_packet(modifier1: int, modifier2: int, block: bytes) -> bytes:
    """Header and ``block`` as one byte string.  ``WireError`` when the block is over ``MAX_BLOCK`` bytes."""
    if len(block) > MAX_BLOCK:
        raise WireError(f"{len(block)} bytes of vars do not fit into one packet (at most {MAX_BLOCK})")
    return _HEADER.pack(modifier1, len(block), modifier2) + block


def decode_header(data: bytes) -> tuple[int, int, int]:
    """``(modifier1, block size in bytes, modifier2)`` of the first four bytes of ``data``."""
    if len(data) < HEADER_SIZE:
        raise WireError(f"{len(data)} bytes are no uwsgi packet: the header alone has {HEADER_SIZE}")
    modifier1, size, modifier2 = _HEADER.unpack_from(data)
    return modifier1, size, modifier2


def packet_size(data: bytes) -> int | None:
    """Bytes of the whole packet (header and block) that starts ``data``; ``None`` while the header is incomplete."""
    if len(data) < HEADER_SIZE:
        return None
    return HEADER_SIZE + (data[1] | data[2] << 8)


def encode_vars(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The block of ``pairs``, in their order.  ``WireError`` for an empty key or 65,536 bytes and more of one value."""
    parts: list[bytes] = []
    for key, value in pairs:
        if not key:
            raise WireError("a key must not be empty")
        if len(key) > MAX_BLOCK or len(value) > MAX_BLOCK:
            raise WireError(f"key {key[:40]!r}: a key or value has at most {MAX_BLOCK} bytes")
        parts += (_U16.pack(len(key)), key, _U16.pack(len(value)), value)
    return b"".join(parts)


def append_vars(packet: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The whole ``packet`` (header and block) with ``pairs`` behind those it has."""
    modifier1, _, modifier2 = decode_header(packet)
    return encode_packet(modifier1, modifier2, packet[HEADER_SIZE:] + encode_vars(pairs))


def decode_vars(block: bytes) -> Pairs:
    """All pairs of ``block``, in order, repeats included."""
    pairs: Pairs = []
    at, end = 0, len(block)
    while at < end:
        key, at = _string(block, at, end, "key")
        if not key:
            raise WireError(f"empty key at byte {at - 2}")
        value, at = _string(block, at, end, "value")
        pairs.append((key, value))
    return pairs


def _string(block: bytes, at: int, end: int, what: str) -> tuple[bytes, int]:
    if at + 2 > end:
        raise WireError(f"{what} at byte {at}: its size is cut off")
    start = at + 2
    stop = start + (block[at] | block[at + 1] << 8)
    if stop > end:
        raise WireError(f"{what} at byte {at}: {stop - start} bytes announced, {end - start} there")
    return block[start:stop], stop
