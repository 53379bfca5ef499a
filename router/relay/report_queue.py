"""Which counters still have to be reported to control, and in which order.  Pure.

A node and its key cost relay and control 12 us together, a fifth of a small request: with many keys in use nearly every
request would make rows of its own.  So under load a report has a few, the oldest first; nothing is lost, as the numbers
are absolute.  Nodes that drain go first: somebody may be waiting for them.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replica import Replica, stops

#: Nodes, and keys, in a report after which more requests than that came: 10,000 are told in 8 s.
MAX_ROWS_LOADED: Final = 250
#: The same without such load: 10,000 are told in 1.4 s, each report taking some 8 ms.
MAX_ROWS: Final = 1500


class ReportQueue:
    """The nodes and pools whose counters have changed since they were reported."""

    def __init__(self) -> None:
        #: In the order in which they changed (dicts keep it); requests write here.
        self.nodes: dict[Node, None] = {}
        self.pools: dict[Pool, None] = {}
        #: The next report has all there is: control is new, or this relay ends.
        self.whole = False
        self._stopping: set[Node] = set()

    def everything(self, replica: Replica) -> None:
        """Report all counters: control may be a new one, which knows none of them."""
        self.whole = True
        self.pools.update(dict.fromkeys(replica.pools.values()))
        for pool in (*replica.pools.values(), *replica.static_pools.values()):
            self.nodes.update(dict.fromkeys((*pool.nodes.values(), *pool.leaving.values())))

    def stop(self, replica: Replica, ops: list[Any]) -> bool:
        """Put nodes that are stopped by ``ops``, which are not applied yet, first until they have no request left.

        Returns True when one of them has requests, or has some as far as control knows: then a report must be sent
        before the ops are acknowledged.
        """
        any_busy = False
        for op in ops:
            if len(op) < 3 or not (op[0] == "gone" or (op[0] == "node" and stops(op))):
                continue
            pool = replica.pools.get(str(op[1]).encode("latin-1", "replace"))
            if pool is None:
                continue
            for node in (pool.nodes.get(op[2]), pool.leaving.get(op[2])):
                if node is None:
                    continue
                if node.in_flight or node in self.nodes:
                    self.nodes[node] = None
                    self._stopping.add(node)
                    any_busy = True
                elif op[0] == "gone" and node.requests + node.failures:
                    # So that control learns that these numbers go on no more; the same address may begin anew.
                    self.nodes[node] = None
        return any_busy

    def rows(self, requests: int) -> int:
        """How many to report when ``requests`` came since the last report."""
        if self.whole:
            self.whole = False
            return len(self.nodes) + len(self.pools)
        return MAX_ROWS_LOADED if requests > MAX_ROWS_LOADED else MAX_ROWS

    def take(self, limit: int) -> tuple[list[Node], list[Pool]]:
        """Take out all stopping nodes, ``limit`` other nodes and ``limit`` pools, to be reported now."""
        nodes = [node for node in self._stopping if node in self.nodes]
        self._stopping = {node for node in self._stopping if node.in_flight}
        for node in nodes:
            del self.nodes[node]
        others, keys = list(islice(self.nodes, limit)), list(islice(self.pools, limit))
        for node in others:
            del self.nodes[node]
        for key in keys:
            del self.pools[key]
        return nodes + others, keys
