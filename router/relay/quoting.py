"""Bytes that somebody sent, as messages show them.  Pure."""

from __future__ import annotations

from typing import Final

MAX_QUOTED: Final = 80


def quoted(data: bytes | bytearray, limit: int = MAX_QUOTED) -> str:
    """The first ``limit`` bytes of ``data`` in quotes; what is no printable ASCII is escaped, as in ``'a\\x00b'``."""
    return repr(bytes(data[:limit])).removeprefix("b")
