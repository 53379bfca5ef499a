"""Bytes that may not stand in a line of a head.  Pure."""

from __future__ import annotations

from typing import Final

#: All others as they are, and these as LF: a translation without deletions is a loop of a few steps a byte, in C.
_MARKED: Final = bytes(byte if byte == 9 or 32 <= byte != 127 else 10 for byte in range(256))


def control_bytes(data: bytes) -> int:
    """How many there are in ``data``: control characters but tabs, so that each end of a line has two."""
    return data.translate(_MARKED).count(b"\n")
