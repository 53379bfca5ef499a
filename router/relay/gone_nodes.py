"""Requests at nodes that have left: asks TCP whether anybody is there still.

A worker that is stopped finishes what it has, and its kernel answers for it meanwhile.  But where a container's network
went before the reset of a connection could arrive, nobody answers ever, and only ``--timeout`` would end the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastroute.router.relay.rawsocket import end_when_deaf
from fastroute.router.relay.request import Request
from fastroute.router.relay.states import RELAYING
from fastroute.router.relay.upstream import UpstreamConnection

#: Seconds of silence after which TCP is asked.
SILENCE_LIMIT: Final = 1.0


def watch_gone_nodes(
    requests: Iterable[Request], watched: set[UpstreamConnection], now: float
) -> set[UpstreamConnection]:
    """Let TCP end the connections over which ``requests`` wait for a node that has left, if nobody is at the other end.

    ``watched`` are those of the last call, and the result those of this one.
    """
    silent: set[UpstreamConnection] = set()
    for request in requests:
        transfer = request.transfer
        upstream = transfer.upstream
        if upstream is None or upstream.node.left_at < request.sent_at or transfer.state != RELAYING:
            continue
        if upstream in watched:
            silent.add(upstream)
        elif now - transfer.last_activity >= SILENCE_LIMIT and upstream.node.internet and upstream.node.left_at:
            end_when_deaf(upstream.fd)
            silent.add(upstream)
    return silent
