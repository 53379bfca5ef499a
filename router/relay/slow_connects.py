"""Requests whose connection to a node is not there at once, looked at with every tick of the loop.

Connections that are there at once, or within a tick or two, cost nothing here.  Where one takes longer than is normal
for the node, what is done depends on whether the node sent anything meanwhile, to other requests:

* It did not, so its machine is dead, or cannot be reached yet: the request goes to another node.  Connections over
  which nothing is sent go on trying in its place, however long the node is ejected for.  When one of them is there the
  node is offered again, and is known to be far away if it is; no request waits for that.
* It did: only the first packet of this connection was lost.  A worker's queue was full, or an overlay network did not
  know yet where the node is.  TCP sends it again after one second, then three; one of ours goes out now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastroute.router.relay.connect_probe import ACCEPTED, ConnectProbe
from fastroute.router.relay.connect_times import connect_limit, learn
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.level import EJECTED, FULL, TRIAL
from fastroute.router.relay.node import Node
from fastroute.router.relay.request import Request
from fastroute.router.relay.request_events import connect_again, connect_failed
from fastroute.router.relay.states import CONNECTING

#: Seconds between first packets to a node that was given up, seconds for which it is tried so, and how many nodes are.
PROBE_INTERVAL: Final = 1.0
PROBE_TIME: Final = 30.0
MAX_PROBES: Final = 64

#: What is to be done about a connect.
_NOTHING: Final = 0
_GIVE_UP: Final = 1
_CONNECT_AGAIN: Final = 2


class SilentNode:
    """A node that was given up, and what tries it since then without a request."""

    __slots__ = ("given_up", "probe", "tried_at")

    def __init__(self, node: Node, now: float) -> None:
        #: When a request gave it up last, and when the present connection was begun.
        self.given_up = self.tried_at = now
        self.probe = ConnectProbe(node)

    def try_again(self, node: Node, now: float) -> None:
        """Another connection, which does not wait for TCP to send a lost packet again."""
        self.probe.close()
        self.probe, self.tried_at = ConnectProbe(node), now


class SlowConnects:
    """The requests that wait for a connection, and the nodes that were given up and may accept one yet."""

    def __init__(self, context: RelayContext, on_fault: Callable[[Request, Exception], None]) -> None:
        self._context, self._on_fault = context, on_fault
        #: Seconds that a connect may take, whatever is normal.
        self._longest = context.connect_timeout
        #: The node that each request is connecting to, how much that had sent when we looked first, and whether the
        #: request connects to it a second time.
        self._requests: dict[Request, tuple[Node, int, bool]] = {}
        #: Nodes that were given up lately.
        self._silent: dict[Node, SilentNode] = {}

    def __len__(self) -> int:
        return len(self._requests) + len(self._silent)

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
        for node, silent in [*self._silent.items()]:
            self._look_at(node, silent, now)

    def close(self) -> None:
        """Try no node any more."""
        for silent in self._silent.values():
            silent.probe.close()
        self._silent.clear()

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
            self._try_without_request(node, now)
        elif due == _CONNECT_AGAIN:
            self._requests[request] = (node, node.tx, True)
            connect_again(request, node)

    def _try_without_request(self, node: Node, now: float) -> None:
        """``node`` was given up just now."""
        silent = self._silent.get(node)
        if silent is not None:
            silent.given_up = now
        elif node.state == EJECTED and len(self._silent) < MAX_PROBES:
            self._silent[node] = SilentNode(node, now)

    def _look_at(self, node: Node, silent: SilentNode, now: float) -> None:
        accepts = silent.probe.result() == ACCEPTED
        out = node.state in (EJECTED, TRIAL) and not node.probation
        if out and not accepts and now - silent.given_up < PROBE_TIME:
            if now - silent.tried_at >= PROBE_INTERVAL:
                silent.try_again(node, now)
            return
        silent.probe.close()
        del self._silent[node]
        if out and accepts:
            learn(node, now - silent.tried_at)
            node.pool.recovered(node, now)
            self._context.node_recovered(node)
            self._context.reports.nodes[node] = None
