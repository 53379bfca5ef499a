"""How many requests the nodes of one pool may have at once.  Pure.

What a node was told (``max``, this relay's share of it) is its limit.  A node without one has ``COLD_LIMIT`` from the
time when it joins, or comes back, while requests wait for it, until its first answer: what waits would flood it.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.level import NO_SLOTS
from fastroute.router.relay.node import Node

COLD_LIMIT: Final = 16
#: ``Node.cold_tx`` of nodes that have no such limit.
NOT_COLD: Final = -1


class NodeLimits:
    """The limits of the nodes of one pool."""

    __slots__ = ("cold", "limited")

    def __init__(self) -> None:
        #: How many nodes have a limit.
        self.limited = 0
        #: Those that have one because they have not answered yet.
        self.cold: list[Node] = []

    def begin(self, node: Node, cold: bool) -> None:
        """``node`` is up from now on; ``cold``: it is new, and requests wait for it."""
        self._warm(node)
        if cold and not node.options.max:
            node.cold_tx = node.tx
            self.cold.append(node)
        self.update(node)

    def end(self, node: Node) -> None:
        """``node`` is gone."""
        self._warm(node)
        self._set(node, 0)

    def update(self, node: Node) -> None:
        """What ``node`` was told changed, or it may have answered."""
        if node.cold_tx != NOT_COLD and (node.options.max or node.cold_tx != node.tx):
            self._warm(node)
        self._set(node, node.options.max or (COLD_LIMIT if node.cold_tx != NOT_COLD else 0))

    def spare(self, node: Node) -> None:
        """Nobody waits any more: ``node`` needs no limit for being cold."""
        self._warm(node)
        self.update(node)

    def _warm(self, node: Node) -> None:
        if node.cold_tx != NOT_COLD:
            node.cold_tx = NOT_COLD
            self.cold.remove(node)

    def _set(self, node: Node, limit: int) -> None:
        self.limited += (limit != 0) - (node.limit != 0)
        node.limit = limit


def share_of(limit: int, index: int, processes: int, taken: int = 0) -> int:
    """The share of the relay ``index`` among ``processes`` in a node's ``max``: together no more than that, unless
    that is less than one each.  0: no limit.

    ``taken``: so many are in flight in relays that only finish what they have; ``NO_SLOTS`` if nothing is left.
    """
    if not limit:
        return 0
    left = max(0, limit - taken)
    share = left // processes + (index < left % processes)
    return share or (NO_SLOTS if taken else 1)
