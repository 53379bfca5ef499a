"""uWSGI's ``fastrouter-post-buffering``: a body is read whole before a worker is asked, so slow senders hold none.

Up to ``limit`` bytes stay in memory; a larger body waits in a temporary file.  Either way the worker gets it piece by
piece, behind the head.  A body whose length nobody said is not buffered.
"""

from __future__ import annotations

import errno
import os
from io import BytesIO, FileIO
from tempfile import TemporaryFile

from fastroute.router.relay.body_buffer import PIECE, WHOLE, NoRoom, read_pieces


class BufferedBody:
    """``beginning`` came with the head, ``left`` bytes are still to come.  Raises ``NoRoom``."""

    def __init__(self, limit: int, beginning: bytes, left: int) -> None:
        in_memory = len(beginning) + left <= limit
        #: Bytes that the client has not sent yet.
        self.left = left + len(beginning)
        try:
            self._file: BytesIO | FileIO = BytesIO() if in_memory else TemporaryFile(buffering=0)  # noqa: SIM115  # it outlives this call
        except OSError as error:
            raise NoRoom(str(error)) from None
        self.add(beginning)

    @property
    def wanted(self) -> int:
        """Bytes that may be read at once; 0: the body is whole."""
        return min(PIECE, self.left)

    def read(self, fd: int) -> int:
        """Read the next bytes from the client at ``fd``.  Returns a constant of body_buffer.py; raises ``NoRoom``."""
        outcome = read_pieces(fd, self)
        if outcome == WHOLE:
            self._file.seek(0)
        return outcome

    def next_piece(self) -> bytes:
        """The next bytes for the worker, once the body is whole; empty when that was all."""
        return self._file.read(PIECE)

    def close(self) -> None:
        """Give up the temporary file."""
        self._file.close()

    def add(self, data: bytes) -> None:
        """Keep the next bytes."""
        self.left -= len(data)
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise NoRoom(str(error)) from None
