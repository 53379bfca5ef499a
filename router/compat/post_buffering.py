"""uWSGI's ``fastrouter-post-buffering``: a body is read whole before a worker is asked, so slow senders hold none.

Up to ``limit`` bytes stay in memory; a larger body waits in a temporary file.  Either way the worker gets it piece by
piece, behind the head.  A body whose length nobody said is not buffered.
"""

from __future__ import annotations

import errno
import os
from io import BytesIO, FileIO
from tempfile import TemporaryFile
from typing import Final

#: Bytes of one piece, and pieces that are read before other requests get their turn.
PIECE: Final = 65_536
PIECES_PER_TURN: Final = 4

#: What :meth:`BufferedBody.read` comes to: the client has not sent all yet; all is here; the client ended its side
#: before, or is gone.
UNFINISHED: Final = 0
WHOLE: Final = 1
CUT_SHORT: Final = 2
CLIENT_GONE: Final = 3


class NoRoom(Exception):
    """There is no room for the body; the text says why."""


class BufferedBody:
    """``beginning`` came with the head, ``left`` bytes are still to come.  Raises ``NoRoom``."""

    def __init__(self, limit: int, beginning: bytes, left: int) -> None:
        in_memory = len(beginning) + left <= limit
        #: Bytes that the client has not sent yet.
        self.left = left
        try:
            self._file: BytesIO | FileIO = BytesIO() if in_memory else TemporaryFile(buffering=0)  # noqa: SIM115  # it outlives this call
        except OSError as error:
            raise NoRoom(str(error)) from None
        self._add(beginning)

    def read(self, fd: int) -> int:
        """Read the next bytes from the client at ``fd``.  Returns one of the constants above; raises ``NoRoom``."""
        for _ in range(PIECES_PER_TURN):
            try:
                data = os.read(fd, min(PIECE, self.left))
            except BlockingIOError:
                return UNFINISHED
            except OSError:
                return CLIENT_GONE
            if not data:
                return CUT_SHORT
            self.left -= len(data)
            self._add(data)
            if not self.left:
                self._file.seek(0)
                return WHOLE
        return UNFINISHED

    def next_piece(self) -> bytes:
        """The next bytes for the worker, once the body is whole; empty when that was all."""
        piece = self._file.read(PIECE)
        if not piece:
            self._file.close()
        return piece

    def _add(self, data: bytes) -> None:
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise NoRoom(str(error)) from None
