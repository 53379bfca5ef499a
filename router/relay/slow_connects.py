"""Requests whose connection to a node is not there at once, looked at with every tick of the loop.

Connections that are there at once, or within a tick or two, cost nothing here.
"""

from __future__ import annotations

from fastroute.router.relay.connect_times import connect_limit
from fastroute.router.relay.node import Node
from fastroute.router.relay.request import Request
from fastroute.router.relay.request_events import connect_failed
from fastroute.router.relay.states import CONNECTING


class SlowConnects:
    """The requests that wait for a connection; ``longest``: seconds that a connect may take, whatever is normal."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        #: The node that each request is connecting to, and how much that had sent when we looked first.
        self._requests: dict[Request, tuple[Node, int]] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: Request) -> None:
        """``request`` takes its time, perhaps to connect."""
        upstream = request.transfer.upstream
        if request.transfer.state == CONNECTING and upstream is not None and request not in self._requests:
            self._requests[request] = (upstream.node, upstream.node.tx)

    def take_due(self, now: float) -> list[Request]:
        """Those that take too long by now, at nodes that sent nothing meanwhile, and could go to another node; the
        rest stays, unless it is there."""
        due = []
        for request, (node, sent) in [*self._requests.items()]:
            transfer = request.transfer
            upstream = transfer.upstream
            if transfer.state != CONNECTING or upstream is None:
                del self._requests[request]
            elif upstream.node is not node:
                self._requests[request] = (upstream.node, upstream.node.tx)
            elif (
                node.tx == sent
                # From ``longest`` on it is --connect-timeout that ends it, and says so.
                and now - transfer.last_activity >= (limit := connect_limit(node, self._longest))
                and limit < self._longest
                and node.pool.offers_besides(node)
            ):
                due.append(request)
        return due


def give_up_connecting(request: Request, now: float) -> None:
    """Treat the connect of ``request`` as failed: its node seems not to be there."""
    seconds = now - request.transfer.last_activity
    connect_failed(request, f"no connection within {seconds:.2f} s, which is more than is normal there")
