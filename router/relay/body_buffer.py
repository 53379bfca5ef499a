"""What is common to bodies that are read whole before a worker is asked."""

from __future__ import annotations

import os
from typing import Final, Protocol

#: Bytes of one piece, and pieces that are read before other requests get their turn.
PIECE: Final = 65_536
PIECES_PER_TURN: Final = 4

#: What :func:`read_pieces` comes to: the client has not sent all yet; all is here; the client ended its side before, or
#: is gone.
UNFINISHED: Final = 0
WHOLE: Final = 1
CUT_SHORT: Final = 2
CLIENT_GONE: Final = 3


class NoRoom(Exception):
    """There is no room for the body; the text says why."""


class GrowingBody(Protocol):
    """What the pieces of a body go to."""

    @property
    def wanted(self) -> int:
        """Bytes that the next piece may have; 0: the body is whole."""
        ...

    def add(self, data: bytes) -> None:
        """Keep the next bytes; raises what says why they can't be kept."""
        ...


def read_pieces(fd: int, body: GrowingBody) -> int:
    """Read the next bytes of ``body`` from the client at ``fd``.  Returns a constant from above; raises as ``add``."""
    for _ in range(PIECES_PER_TURN):
        if not body.wanted:
            break
        try:
            data = os.read(fd, body.wanted)
        except BlockingIOError:
            return UNFINISHED
        except OSError:
            return CLIENT_GONE
        if not data:
            return CUT_SHORT
        body.add(data)
    return UNFINISHED if body.wanted else WHOLE
