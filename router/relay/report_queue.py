"""Which counters still have to be reported to control, and in which order.  Pure.

A node and its key cost relay and control 12 us together, a fifth of a small request: with many keys in use nearly every
request would make rows of its own.  So under load a report has a few, the oldest first; nothing is lost, as the numbers
are absolute.  Who waits for a drain waits for nobody's turn.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from fastroute.router.relay.pool import Node, Pool
from fastroute.router.relay.replica import Replica

#: Nodes, and keys, in a report after which more requests than that came: 10,000 are told in 8 s.
MAX_ROWS_LOADED: Final = 250
#: The same without such load: 10,000 are told in 1.4 s, each report taking some 8 ms.
MAX_ROWS: Final = 1500


class ReportQueue:
    """``nodes`` and ``pools`` are dicts for their order; requests write there."""

    def __init__(self) -> None:
        self.nodes: dict[Node, None] = {}
        self.pools: dict[Pool, None] = {}
        #: The next report has all there is: control is new, or this relay ends.
        self.whole = False
        self._stopping: set[Node] = set()

    def everything(self, replica: Replica) -> None:
        """Perhaps a new control, which knows none of our numbers."""
        self.whole = True
        self.pools.update(dict.fromkeys(replica.pools.values()))
        for pool in (*replica.pools.values(), *replica.static_pools.values()):
            self.nodes.update(dict.fromkeys((*pool.nodes.values(), *pool.leaving.values())))

    def stop(self, replica: Replica, ops: list[Any]) -> bool:
        """``ops``, not yet applied, may stop nodes: those go first until no request is left there.

        True when any has requests, or had some by what control knows: it is to be told before the ops are acked.
        """
        found = False
        for op in ops:
            if len(op) < 3 or not (op[0] == "gone" or (op[0] == "node" and (op[3:4] == [0] or op[5:6] == [1]))):
                continue
            pool = replica.pools.get(str(op[1]).encode("latin-1", "replace"))
            if pool is None:
                continue
            for node in (pool.nodes.get(op[2]), pool.leaving.get(op[2])):
                if node is not None and (node.in_flight or node in self.nodes):
                    self.nodes[node] = None
                    self._stopping.add(node)
                    found = True
        return found

    def rows(self, requests: int) -> int:
        """How many to take when ``requests`` came since the last report."""
        if self.whole:
            self.whole = False
            return len(self.nodes) + len(self.pools)
        return MAX_ROWS_LOADED if requests > MAX_ROWS_LOADED else MAX_ROWS

    def take(self, most: int) -> tuple[list[Node], list[Pool]]:
        """All stopping nodes, then ``most`` others and ``most`` keys; they are told now."""
        nodes = [node for node in self._stopping if node in self.nodes]
        self._stopping = {node for node in self._stopping if node.in_flight}
        for node in nodes:
            del self.nodes[node]
        others, keys = list(islice(self.nodes, most)), list(islice(self.pools, most))
        for node in others:
            del self.nodes[node]
        for key in keys:
            del self.pools[key]
        return nodes + others, keys
