"""Which requests give way when descriptors run short: those that wait for their client, the longest first.

A client that sends nothing, or holds its last byte back, or reads nothing, costs a descriptor for as long as its
time-out allows; others must not pay for it.  First come those that have no worker yet, then those that keep one busy.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastroute.router.relay.sides import BODY, HEAD, LINGER, RELAY, Sides

#: Seconds before a connection without a whole packet counts as one that waits: nginx sends all of it at once.
NEW: Final = 0.1
#: Seconds without a byte before a request whose packet is whole does.
SILENT: Final = 1.0
#: The share that gives way at once (one of so many), so that looking at all of them is worth it; and the least number.
SHARE: Final = 8
LEAST: Final = 16


def longest_waiting(sessions: Iterable[Sides], now: float) -> list[Sides]:
    """Those to be ended, of all ``sessions`` that epoll watches the client of."""
    waiting: list[tuple[bool, float, int, Sides]] = []
    for session in sessions:
        if session.state == HEAD:
            # From its beginning: a byte now and then is no packet.
            if not session.packet and session.began + NEW <= now:
                waiting.append((False, session.began, session.cfd, session))
        elif session.state == LINGER:
            waiting.append((False, session.seen, session.cfd, session))
        elif session.seen + SILENT <= now and _waits_for_client(session):
            waiting.append((True, session.seen, session.cfd, session))
    waiting.sort()
    return [session for _, _, _, session in waiting[: max(LEAST, len(waiting) // SHARE)]]


def _waits_for_client(session: Sides) -> bool:
    if session.state == BODY:
        return True
    if session.state != RELAY:
        return False
    if session.down:
        return True
    return not session.started and session.body_left > 0 and not session.up and not session.client_eof
