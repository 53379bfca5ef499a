"""A body in chunks, read whole because its worker has to know how long it is: uwsgi says so before the body.

Up to ``MEMORY`` bytes stay in memory; a larger body waits in a temporary file, as it does in nginx.
"""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import Final

from fastroute.router.relay.body_buffer import PIECE, WHOLE, NoRoom, read_pieces
from fastroute.router.relay.http.chunks import Dechunker

#: Bytes of a body that stay in memory, and of the largest one.
MEMORY: Final = 65_536
MAX_BODY: Final = 1 << 30


class BodyTooLong(Exception):
    """The body is over ``MAX_BODY`` bytes."""


class SpooledChunks:
    """``beginning`` came with the head.  Raises ``NoRoom``, ``BodyTooLong``, and ``BadChunks`` (chunks.py)."""

    def __init__(self, beginning: bytes) -> None:
        self._reader = Dechunker()
        self._file = SpooledTemporaryFile(MEMORY)  # noqa: SIM115  # it outlives this call
        #: Bytes that the client has not sent yet: 1 while nobody knows, then 0.
        self.left = 1
        #: Bytes of the body.
        self.size = 0
        #: What came behind it.
        self.ahead = b""
        if beginning:
            try:
                self.add(beginning)
            except Exception:
                self.close()
                raise

    @property
    def wanted(self) -> int:
        """Bytes that may be read at once; 0: the body is whole."""
        return PIECE if self.left else 0

    def read(self, fd: int) -> int:
        """Read the next bytes from the client at ``fd``.  Returns a constant of body_buffer.py; raises as above."""
        outcome = read_pieces(fd, self)
        if outcome == WHOLE:
            self._file.seek(0)
        return outcome

    def next_piece(self) -> bytes:
        """The next bytes for the worker, once the body is whole; empty when that was all."""
        piece: bytes = self._file.read(PIECE)
        return piece

    def close(self) -> None:
        """Give up the temporary file."""
        self._file.close()

    def add(self, data: bytes) -> None:
        """Keep the payload of the next bytes."""
        payload = self._reader.feed(data)
        self.size += len(payload)
        if self.size > MAX_BODY:
            raise BodyTooLong
        try:
            self._file.write(payload)
        except OSError as error:
            raise NoRoom(str(error)) from None
        if self._reader.over:
            self.left = 0
            self.ahead = data[len(data) - self._reader.excess :]
