"""The nodes of a key by the values of the cookies with which clients stay with their node.  Pure.

A client has at most a few values (cookies.py).  It goes to the first of their nodes that takes its requests; one that
has all the requests that it may have takes them later.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastroute.router.relay.level import DRAINING, FULL, READY
from fastroute.router.relay.node import Node


class Sessions:
    """The sessions of the nodes of one pool."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        #: By value; several where one container is several nodes.
        self._nodes: dict[bytes, dict[Node, None]] = {}

    def put(self, node: Node, value: bytes) -> None:
        """The clients of ``node`` have ``value`` from now on; empty: it has none."""
        if node.session != value:
            self.forget(node)
            node.session = value
        if value:
            self._nodes.setdefault(value, {})[node] = None

    def forget(self, node: Node) -> None:
        """``node`` is gone."""
        nodes = self._nodes.get(node.session)
        if nodes is not None:
            nodes.pop(node, None)
            if not nodes:
                del self._nodes[node.session]

    def find(self, values: Sequence[bytes], now: float) -> Node | None:
        """The node of a client with these ``values``, now or as soon as it has fewer requests; None: it has none."""
        nodes = [node for value in values for node in self._nodes.get(value, ()) if serves_sessions(node, now)]
        free = [node for node in nodes if node.has_room]
        return next(iter(free or nodes), None)


def serves_sessions(node: Node, now: float) -> bool:
    """Whether ``node`` has the requests of its clients: it is up, or drains and still has time for them."""
    return node.state in (READY, FULL) or (node.state == DRAINING and now < node.sessions_until)
