"""The chunked coding, undone as it comes.  Pure.

Strict: lines end with CR LF, a size is 1 to 15 hex digits, extensions and trailers are read, checked and dropped.
Memory is bounded by one line; a payload is passed on, never kept.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.relay.quoting import quoted

#: Bytes of a chunk's first line, extensions included (Node and nginx allow as much or less).
MAX_LINE: Final = 1024
#: Bytes of all trailers.
MAX_TRAILERS: Final = 16_384

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n")

# What the next line is.
_SIZE_LINE: Final = 0
_PAYLOAD_END: Final = 1
_TRAILER_LINE: Final = 2
_NONE: Final = 3


class BadChunks(ValueError):
    """The bytes are not in the chunked coding; the text says what was found."""


class Dechunker:
    """``over``: the last chunk and its trailers were seen.  ``excess``: bytes behind it, which belong to nobody."""

    __slots__ = ("_left", "_line", "_next", "_trailers", "excess", "over")

    def __init__(self) -> None:
        self.over = False
        self.excess = 0
        self._left = 0
        self._line = b""
        self._next = _SIZE_LINE
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        """The payload in ``data``, the next piece of the body.  ``BadChunks``: nothing more may be fed."""
        size = len(data)
        if self._left > size:
            self._left -= size
            return data
        payload: list[bytes] = []
        at = 0
        while at < size:
            if self.over:
                self.excess += size - at
                break
            if self._left:
                payload.append(data[at : at + self._left])
                taken = len(payload[-1])
                at += taken
                self._left -= taken
                continue
            stop = data.find(b"\n", at) + 1
            self._line += data[at : stop or size]
            if len(self._line) > MAX_LINE:
                raise BadChunks(f"a line of over {MAX_LINE} bytes between chunks")
            if not stop:
                break
            at = stop
            line, self._line = self._line, b""
            self._on_line(line)
        return b"".join(payload)

    def _on_line(self, line: bytes) -> None:
        if self._next == _SIZE_LINE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise BadChunks(f"{quoted(line, 40)} is no size of a chunk")
            self._left = int(match[1], 16)
            self._next = _PAYLOAD_END if self._left else _TRAILER_LINE
        elif self._next == _PAYLOAD_END:
            if line != b"\r\n":
                raise BadChunks(f"{quoted(line, 40)} where a chunk ends")
            self._next = _SIZE_LINE
        elif line == b"\r\n":
            self.over = True
            self._next = _NONE
        else:
            self._trailers += len(line)
            if self._trailers > MAX_TRAILERS:
                raise BadChunks(f"over {MAX_TRAILERS} bytes of trailers")
            if _TRAILER.fullmatch(line) is None:
                raise BadChunks(f"{quoted(line, 40)} is no trailer")
