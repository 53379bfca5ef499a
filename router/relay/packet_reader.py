"""The packet of a request, as it comes: whole at once nearly always, sometimes in pieces, sometimes no packet at all.

What can never become a packet is refused as soon as that shows, not when the client gives up.
"""

from __future__ import annotations

import os

from fastroute.router.relay.request import not_uwsgi
from fastroute.router.relay.sides import CHUNK
from fastroute.router.relay.stream import Stream
from fastroute.router.wire import HEADER_SIZE


class PacketReader(Stream):
    """State HEAD: reads until the vars are there, then :meth:`on_packet`."""

    __slots__ = ()

    def on_packet(self, packet: bytes, end: int) -> None:
        """``packet`` has all vars, in ``packet[4:end]``, and perhaps the beginning of the body."""
        raise NotImplementedError

    def refuse(self, kind: str, text: str) -> None:
        """Answer ``kind`` ourselves and end the connection."""
        raise NotImplementedError

    def on_head(self) -> None:
        """Read; go on as soon as the packet is whole."""
        try:
            data = os.read(self.cfd, CHUNK)
        except BlockingIOError:
            self.arm()
            return
        except OSError:
            self.close()
            return
        self.seen = self.relay.now
        size = len(data)
        if self.partial is not None or size < HEADER_SIZE:
            self._more(data)
            return
        end = HEADER_SIZE + (data[1] | data[2] << 8)
        if size < end or end > self.relay.max_packet:
            self._more(data)
            return
        self.on_packet(data, end)

    def _more(self, data: bytes) -> None:
        """The slow way: the packet comes in pieces, or is refused before it is whole."""
        if not data:
            self.client_eof = True
            if self.partial is None:
                self.close()
            else:
                self.refuse_packet("bad-request", f"the connection ended after {len(self.partial)} bytes of a packet")
            return
        if self.partial is None:
            self.partial = bytearray()
        before = len(self.partial)
        self.partial += data
        size = len(self.partial)
        end = HEADER_SIZE + (self.partial[1] | self.partial[2] << 8) if size >= HEADER_SIZE else CHUNK
        if size >= end and end <= self.relay.max_packet:
            packet = bytes(self.partial)
            self.partial = None
            self.on_packet(packet, end)
            return
        # Checked when the size has doubled, so that a packet in single bytes costs no more than a whole one.
        problem = not_uwsgi(self.partial, end) if before.bit_length() != size.bit_length() else ""
        if problem:
            self.refuse_packet("bad-request", problem)
        elif size >= HEADER_SIZE and end > self.relay.max_packet:
            limit = self.relay.max_packet - HEADER_SIZE
            self.refuse_packet("too-large", f"{end - HEADER_SIZE} bytes of vars, and --buffer-size allows {limit}")
        else:
            self.arm()

    def refuse_packet(self, kind: str, text: str) -> None:
        """Refuse before the packet is whole: nobody knows how much is still to come."""
        self.relay.requests += 1
        self.body_left = 1
        self.refuse(kind, text)
