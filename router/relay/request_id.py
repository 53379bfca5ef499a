"""X-Request-ID: passed on by itself, made here when asked for (``--request-id``).  Pure; chance is handed in."""

from __future__ import annotations

import random
import re
from typing import Final

from fastroute.router.relay.vars import variable, with_variable

NAME: Final = b"HTTP_X_REQUEST_ID"
#: What may stand in a header of our own answers.
_PLAIN: Final = re.compile(rb"[!-~]{1,200}")


def with_request_id(packet: bytes, end: int, chance: random.Random) -> tuple[bytes, int, bytes]:
    """``packet`` with an id among its vars, where the vars end, and the id.

    As it was, and no id, when it has one or has no room left.  ``packet[4:end]`` are well-formed vars; what follows
    them (the beginning of a body) stays behind them.
    """
    if variable(packet, end, NAME):
        return packet, end, b""
    made = b"%032x" % chance.getrandbits(128)
    longer, new_end = with_variable(packet, end, NAME, made)
    return longer, new_end, made if new_end != end else b""


def request_id(values: dict[bytes, bytes]) -> str:
    """The id among the vars of a request, by which our own answer to it can be found; empty when there is none."""
    value = values.get(NAME, b"")
    return value.decode("ascii") if _PLAIN.fullmatch(value) else ""
