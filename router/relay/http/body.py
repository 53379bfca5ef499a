"""A request's body on its way to an HTTP/1.1 worker: exactly what the head announced, not a byte more.  Pure."""

from __future__ import annotations

from fastroute.router.relay.http.chunks import Dechunker

_LAST = b"0\r\n\r\n"


class Body:
    """``left``: bytes that are still to come, 1 while nobody knows; 0: the worker has, or will have, all of it.

    ``excess``: bytes at the end of what was fed last that are behind the body's end.
    """

    __slots__ = ("excess", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.excess = 0

    def feed(self, data: bytes) -> bytes:
        """What goes to the worker for ``data``, which the client sent; what is behind the body's end does not."""
        if len(data) > self.left:
            self.excess = len(data) - self.left
            data = data[: self.left]
        self.left -= len(data)
        return data


class ChunkedBody(Body):
    """A body in chunks: read strictly and written anew, so that what goes on is exactly what was understood."""

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        super().__init__(1)
        self._reader = Dechunker()

    def feed(self, data: bytes) -> bytes:
        """As :meth:`Body.feed`; ``BadChunks`` (chunks.py) when the client's bytes are not in this coding."""
        if not self.left:
            self.excess = len(data)
            return b""
        payload = self._reader.feed(data)
        chunk = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
        if not self._reader.over:
            return chunk
        self.left = 0
        self.excess = self._reader.excess
        return chunk + _LAST
