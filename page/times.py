"""Times that routers and controllers write.  Pure."""

from __future__ import annotations

import datetime


def seconds_of(time: str | float) -> float:
    """Seconds since the epoch: a router says them as a number, a controller in RFC 3339; ``ValueError`` otherwise."""
    if isinstance(time, str):
        return datetime.datetime.fromisoformat(time).timestamp()
    return float(time)
