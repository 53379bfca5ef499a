"""``ramp``: the share of the requests of a node that joined, or is back, grows over a time.  Pure; time is handed in.

While a pool has such nodes, every node's weight counts ``STEPS`` times, and theirs as many times as they are steps on
their way.  Only weights change, so that whatever balances by weight works: nodes that ramp at once share equally, and
the only node of a key gets everything at once.  ``lrc`` balances by the pace, as it knows no weights; ``iphash``
has no ramp, as it would move clients at each step.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.node import Node

STEPS: Final = 64


class Ramps:
    """The nodes of one pool whose share grows, and since when; ``pace`` is that of a node with its whole share."""

    __slots__ = ("_since", "pace")

    def __init__(self) -> None:
        self.pace = 1
        self._since: dict[Node, float] = {}

    def begin(self, node: Node, now: float) -> None:
        """``node`` joined, or is back."""
        node.pace = self.pace
        if self.pace > 1 and node.options.ramp > 0:
            self._since[node] = now
            node.pace = 1

    def end(self, node: Node) -> None:
        """``node`` is not up any more."""
        self._since.pop(node, None)

    def due(self, now: float) -> list[tuple[Node, int]]:
        """The nodes that have another pace by now, with that pace; those with their whole share are forgotten."""
        changed = []
        for node, since in [*self._since.items()]:
            pace = pace_at(now - since, node.options.ramp)
            if pace == STEPS:
                del self._since[node]
            if pace != node.pace:
                changed.append((node, pace))
        return changed


def pace_at(age: float, ramp: float) -> int:
    """How many of ``STEPS`` a node has of its share that joined ``age`` seconds ago; never none."""
    return STEPS if age >= ramp else max(1, int(STEPS * age / ramp))
