"""Requests whose connection to a node is not there at once, looked at with every tick of the loop.

Connections that are there at once, or within a tick or two, cost nothing here.  Where one takes longer than is normal
for the node, what is done depends on whether the node sent anything meanwhile, to other requests:

* It did not, so its machine is dead, or cannot be reached yet: the request goes to another node.  A connection over
  which nothing is sent goes on trying in its place.  When that is there the node is offered again, and is known to be
  far away if it is; no request waits for that.
* It did: only the first packet of this connection was lost.  A worker's queue was full, or an overlay network did not
  know yet where the node is.  TCP sends it again after one second, then three; one of ours goes out now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastroute.router.relay.connect_probe import ACCEPTED, PENDING, ConnectProbe
from fastroute.router.relay.connect_times import connect_limit, learn
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.level import EJECTED, FULL, GONE, TRIAL
from fastroute.router.relay.node import Node
from fastroute.router.relay.request import Request
from fastroute.router.relay.request_events import connect_again, connect_failed
from fastroute.router.relay.states import CONNECTING

#: What is to be done about a connect.
_NOTHING: Final = 0
_GIVE_UP: Final = 1
_CONNECT_AGAIN: Final = 2


class SlowConnects:
    """The requests that wait for a connection, and the nodes that were given up and may accept one yet."""

    def __init__(self, context: RelayContext, on_fault: Callable[[Request, Exception], None]) -> None:
        self._context, self._on_fault = context, on_fault
        #: Seconds that a connect may take, whatever is normal.
        self._longest = context.connect_timeout
        #: The node that each request is connecting to, how much that had sent when we looked first, and whether the
        #: request connects to it a second time.
        self._requests: dict[Request, tuple[Node, int, bool]] = {}
        #: Nodes that were given up, and since when they are tried without a request.
        self._probes: dict[Node, tuple[ConnectProbe, float]] = {}

    def __len__(self) -> int:
        return len(self._requests) + len(self._probes)

    def add(self, request: Request) -> None:
        """``request`` takes its time, perhaps to connect."""
        upstream = request.transfer.upstream
        if request.transfer.state == CONNECTING and upstream is not None and request not in self._requests:
            self._requests[request] = (upstream.node, upstream.node.tx, False)

    def tick(self, now: float) -> None:
        """Act on the connects that take too long by now, and on the nodes that accept connections after all."""
        for request, (node, sent, again) in [*self._requests.items()]:
            transfer = request.transfer
            upstream = transfer.upstream
            if transfer.state != CONNECTING or upstream is None:
                del self._requests[request]
            elif upstream.node is not node:
                self._requests[request] = (upstream.node, upstream.node.tx, False)
            else:
                due = self._due(node, sent, again, now - transfer.last_activity)
                try:
                    self._act(request, node, due)
                except Exception as fault:
                    self._on_fault(request, fault)
        for node, (probe, began) in [*self._probes.items()]:
            self._look_at(node, probe, now - began)

    def close(self) -> None:
        """Try no node any more."""
        for probe, _ in self._probes.values():
            probe.close()
        self._probes.clear()

    def _due(self, node: Node, sent: int, again: bool, seconds: float) -> int:
        """What is to be done about a connect to ``node`` that has taken so long."""
        limit = connect_limit(node, self._longest)
        # From the longest on it is --connect-timeout that ends it, and says so.
        if seconds < limit or limit >= self._longest:
            return _NOTHING
        if node.tx == sent:
            return _GIVE_UP if node.pool.offers_besides(node) else _NOTHING
        return _CONNECT_AGAIN if not again and node.state <= FULL and not node.routers else _NOTHING

    def _act(self, request: Request, node: Node, due: int) -> None:
        now = self._context.now
        if due == _GIVE_UP:
            seconds = now - request.transfer.last_activity
            connect_failed(request, f"no connection within {seconds:.2f} s, which is more than is normal there")
            if node not in self._probes and node.state == EJECTED:
                self._probes[node] = (ConnectProbe(node), now)
        elif due == _CONNECT_AGAIN:
            self._requests[request] = (node, node.tx, True)
            connect_again(request, node)

    def _look_at(self, node: Node, probe: ConnectProbe, seconds: float) -> None:
        """``node`` has been tried for so long without a request."""
        result = probe.result()
        if result == PENDING and seconds < self._longest and node.state != GONE:
            return
        probe.close()
        del self._probes[node]
        if result == ACCEPTED and node.state in (EJECTED, TRIAL) and not node.probation:
            learn(node, seconds)
            node.pool.recovered(node, self._context.now)
            self._context.node_recovered(node)
            self._context.reports.nodes[node] = None
