"""A request's packet that comes in pieces, or is no packet at all.  Pure.

What can never become a packet is refused as soon as that shows, not when the client gives up.
"""

from __future__ import annotations

from fastroute.router.relay.vars import not_uwsgi
from fastroute.router.wire import HEADER_SIZE, MAX_BLOCK


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
        end = HEADER_SIZE + (self._data[1] | self._data[2] << 8) if size >= HEADER_SIZE else HEADER_SIZE + MAX_BLOCK
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
