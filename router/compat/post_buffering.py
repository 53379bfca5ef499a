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

#: Bytes of one piece.
PIECE: Final = 65_536


class BufferedBody:
    """``beginning`` came with the head, ``left`` bytes are still to come.  ``OSError``: there is no room for it."""

    def __init__(self, limit: int, beginning: bytes, left: int) -> None:
        in_memory = len(beginning) + left <= limit
        self._file: BytesIO | FileIO = BytesIO() if in_memory else TemporaryFile(buffering=0)  # noqa: SIM115  # it outlives this call
        self.add(beginning)

    def add(self, data: bytes) -> None:
        """The next bytes of the body, from the client."""
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def whole(self) -> None:
        """All of it is here: :meth:`next_piece` begins at the beginning."""
        self._file.seek(0)

    def next_piece(self) -> bytes:
        """The next bytes for the worker; empty when that was all."""
        piece = self._file.read(PIECE)
        if not piece:
            self._file.close()
        return piece
