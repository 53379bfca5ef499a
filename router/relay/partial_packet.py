"""A request's packet that comes in pieces, or turns out not to be one.  Pure.

What can never become a packet is refused as soon as that shows, not when the client gives up.
"""

from __future__ import annotations

import re
from typing import Final

from fastroute.router.protocol.wire import HEADER_SIZE, MAX_PACKET, packet_size, vars_problem

_HTTP: Final = re.compile(rb"[A-Z]{3,10} [^\r\n ]{1,8000} HTTP/1\.[01]\r?\n")
_TLS: Final = re.compile(rb"\x16\x03[\x00-\x04]")


class BadPacket(ValueError):
    """These bytes will never be a packet that is accepted.  ``kind`` as in replies.py; the text says why."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class PartialPacket:
    """The beginning of a packet of at most ``limit`` bytes, header and vars."""

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._limit = limit

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """The next bytes; empty ones are the end of file.

        Returns the packet, perhaps with the beginning of a body behind it, and where its vars end; an empty packet
        while some is still missing.  Raises ``BadPacket``.
        """
        before = len(self._data)
        if not data:
            raise BadPacket("bad-request", f"the connection ended after {before} bytes of a packet")
        self._data += data
        size = len(self._data)
        end = packet_size(self._data) or MAX_PACKET
        if end <= size and end <= self._limit:
            return bytes(self._data), end
        # Looked at when the size has doubled, so that a packet in single bytes costs no more than a whole one.
        problem = not_uwsgi(self._data, end) if before.bit_length() != size.bit_length() else ""
        if problem:
            raise BadPacket("bad-request", problem)
        if size >= HEADER_SIZE and end > self._limit:
            limit = self._limit - HEADER_SIZE
            raise BadPacket("too-large", f"{end - HEADER_SIZE} bytes of vars, and --buffer-size allows {limit}")
        return b"", end


def not_uwsgi(data: bytes | bytearray, end: int) -> str:
    """Why ``data``, the beginning of a packet whose vars end at ``end``, will never become one; empty while it may."""
    if _HTTP.match(data):
        return "this is an HTTP request, and a uwsgi packet is expected here (nginx: uwsgi_pass, not proxy_pass)"
    if _TLS.match(data):
        return "this is TLS, and a uwsgi packet is expected here"
    problem = vars_problem(data, HEADER_SIZE, end)
    return f"not uwsgi: {problem}" if problem else ""
