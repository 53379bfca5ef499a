"""How much of its nodes' ``max`` a relay that only finishes its requests still needs; control shares out the rest.
Pure.

Requests end, and those that wait leave: a node's share in this relay falls with them, and never rises again.
"""

from __future__ import annotations

from typing import Any

from fastroute.router.relay.level import GONE
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replica import Replica
from fastroute.router.relay.report_queue import ReportQueue


class HeldShares:
    """The shares of a relay's nodes, once the relay is leaving."""

    def __init__(self) -> None:
        #: What control was told of each node of which something is needed.
        self._held: dict[Node, int] = {}
        #: Whether control was told all.
        self._complete = False

    def forget(self) -> None:
        """Control is a new one, which knows nothing of them."""
        self._held = {}
        self._complete = False

    def lower(self, replica: Replica, reports: ReportQueue, more: bool) -> list[list[Any]]:
        """Give back what is needed no more.  Returns what control is to be told (docs/architecture.md), as rows.

        ``more``: more requests may come, on connections that HTTP clients have kept.
        """
        if self._complete:
            # Whatever has begun or ended a request since the last report is still to be reported.
            nodes = {**self._held, **reports.nodes}
        else:
            pools = [*replica.pools.values(), *replica.forgotten.values()]
            nodes = {node: 0 for pool in pools if pool.limits.limited for node in pool.nodes.values()}
        rows: list[list[Any]] = []
        for node in nodes:
            held = _lower(node, more)
            if held != self._held.get(node, 0):
                rows.append([node.pool.name, node.address, held])
            if held:
                self._held[node] = held
            else:
                self._held.pop(node, None)
        return rows

    def completed(self) -> bool:
        """Control was told all that :meth:`lower` returned.  True for the first time."""
        first, self._complete = not self._complete, True
        return first


def _lower(node: Node, more: bool) -> int:
    """Give back what ``node`` needs no more.  Returns how much is used, or will be.

    One request at a time may always go there: it was accepted here, and can go to no other relay.
    """
    pool, share = node.pool, node.options.max
    if not share or node.state == GONE or not isinstance(pool, Pool):
        return 0
    if more and not pool.options.wait:
        # Requests that come could not wait.
        return share
    used = node.in_flight - node.tunnels
    needed = used + (len(pool.waiting.queue) if pool.waiting is not None else 0)
    lower = max(1, min(share, needed))
    if lower != share:
        pool.set_share(node, lower)
    return max(used, min(lower, needed))
