"""X-Request-ID: passed on by itself, made here when asked for (``--request-id``).  Pure; chance is handed in."""

from __future__ import annotations

import random
import re
from typing import Final

from fastroute.router.relay.request import variable
from fastroute.router.wire import HEADER_SIZE, MAX_BLOCK

NAME: Final = b"HTTP_X_REQUEST_ID"
_SIZE: Final = 32
_PREFIX: Final = b"%c\0%b%c\0" % (len(NAME), NAME, _SIZE)
#: What may stand in a header of our own answers.
_PLAIN: Final = re.compile(rb"[!-~]{1,200}")


def with_request_id(
    packet: bytes, end: int, chance: random.Random, shown: dict[bytes, bytes] | None
) -> tuple[bytes, int]:
    """``packet`` with an id among its vars, and where the vars end.  As it was when it has one, or has no room left.

    ``packet[4:end]`` are well-formed vars; what follows them (the beginning of a body) stays behind them.
    An id that was made is put into ``shown``, too.
    """
    size = end - HEADER_SIZE + len(_PREFIX) + _SIZE
    if size > MAX_BLOCK or variable(packet, end, NAME):
        return packet, end
    made = b"%032x" % chance.getrandbits(128)
    if shown is not None:
        shown[NAME] = made
    head = b"%c%c%c%c" % (packet[0], size & 255, size >> 8, packet[3])
    return head + packet[HEADER_SIZE:end] + _PREFIX + made + packet[end:], size + HEADER_SIZE


def header_of(packet: bytes, end: int) -> str:
    """The header line by which our own answer to this request can be found, empty when there is none."""
    found = variable(packet, end, NAME) if end else b""
    return f"X-Request-ID: {found.decode('ascii')}\r\n" if _PLAIN.fullmatch(found) else ""
