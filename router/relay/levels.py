"""All backup levels of one pool: which node a request gets.  Pure; time and chance are handed in.

The lowest level that has a node which is up serves; in a router with a zone each level is two, its own zone's nodes and
the others, and spills over from the first to the second when those are full.  A level has its nodes by their state
(level.py); which state that is, the pool says.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import inf

from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.relay.balance import new_picker
from fastroute.router.relay.level import FULL, READY, BackupLevel
from fastroute.router.relay.node import Node


class NodeLevels:
    """The levels on which ``nodes``, by address, are balanced by ``algorithm``; ``zone``: where the router stands."""

    __slots__ = ("_algorithm", "_chance", "_levels", "_nodes", "_offered", "_order", "_zone")

    def __init__(self, nodes: dict[str, Node], algorithm: str, chance: random.Random, zone: str) -> None:
        self._nodes, self._algorithm, self._chance = nodes, algorithm, chance
        #: Empty: no node is nearer than another.
        self._zone = zone
        #: Numbers of levels, the one that serves first before others, and the levels themselves.
        self._order: list[int] = []
        self._levels: list[BackupLevel[Node]] = []
        #: The same, or empty while they offer nothing.
        self._offered = self._levels

    @property
    def closed(self) -> bool:
        """True while they offer nothing to a request that comes."""
        return self._offered is not self._levels

    def set_closed(self, closed: bool) -> None:
        """Offer nothing from now on, or offer again."""
        self._offered = [] if closed else self._levels

    @property
    def live(self) -> bool:
        """True while a node is up, offered or not."""
        return any(level.live for level in self._levels)

    def set_algorithm(self, algorithm: str) -> None:
        """Balance by ``algorithm`` from now on; nodes keep their state."""
        self._algorithm = algorithm
        for number, level in zip(self._order, self._levels, strict=True):
            level.picker = new_picker(algorithm, self._chance)
            for node in self._nodes.values():
                if node.state == READY and node.backup == number:
                    level.picker.add(node)

    # A node for a request.

    def choose(self, now: float, client: bytes = b"") -> Node | None:
        """The node for the first try of a request; ``None`` when no node may be tried now."""
        levels, full = self._offered, 0
        for level in levels:
            if level.due and level.due[0][0] <= now:
                trial = level.due_trial(now, ())
                if trial is not None:
                    return trial
            chosen = level.picker.choose(client)
            if chosen is not None:
                return chosen
            full += level.full
            if full and not level.near:
                return self.choose(now, client) if self._free_held() else None
        return self._last_resort(now, ())

    def choose_good(self, tried: Sequence[Node], client: bytes = b"") -> Node | None:
        """For a request that failed at ``tried``: a node known to be good, at none of these addresses, on any level."""
        tried_here = self._own(tried)
        offered, full = [node for node in tried_here if node.state == READY], 0
        for backup, level in zip(self._order, self._offered, strict=False):
            excluded = [node for node in offered if node.backup == backup]
            chosen = level.picker.choose_other(client, excluded) if excluded else level.picker.choose(client)
            if chosen is not None:
                return chosen
            full += level.full - sum(node.state == FULL and node.backup == backup for node in tried_here)
            if full > 0 and not level.near:
                return self.choose_good(tried, client) if self._free_held() else None
        return None

    def choose_trial(self, tried: Sequence[Node], now: float) -> Node | None:
        """For a request that failed at ``tried`` when no good node is left: an ejected one, at none of these addresses.

        The rules of ejection hold: its time is over, or it is the last hope.
        """
        excluded, levels = self._own(tried), self._offered
        for level in levels:
            if level.due and level.due[0][0] <= now:
                trial = level.due_trial(now, excluded)
                if trial is not None:
                    return trial
        return self._last_resort(now, excluded)

    def choose_past(self, passed: list[bytes], tried: Sequence[Node]) -> Node | None:
        """A node that is none of the routers which a request has ``passed``, and has none of them behind it.

        By chance, of the lowest level that has one; looks at every node, so it is for those that met such a router.
        """
        excluded = self._own(tried)
        ahead = [node for node in self._nodes.values() if (node.state == READY or node.held) and node not in excluded]
        ahead = [node for node in ahead if not node.behind(passed)]
        level = min((node.backup for node in ahead), default=0)
        ahead = [node for node in ahead if node.backup == level]
        return self._chance.choices(ahead, [node.weight for node in ahead])[0] if ahead else None

    def offers_besides(self, node: Node) -> bool:
        """Whether a request could go to another node than ``node`` now."""
        return self.available() > (node.state == READY)

    def live_besides(self, node: Node) -> bool:
        """Whether another node than ``node`` is up, offered or not."""
        return sum(level.full + len(level.picker) for level in self._levels) > (node.state in (READY, FULL))

    def full_without(self, tried: Sequence[Node]) -> bool:
        """True when the nodes that serve all have the requests that they may have; ``tried`` are not asked."""
        return any(level.full for level in self._levels) and self._only_full(self._own(tried))

    def next_trial(self) -> float:
        """When an ejected node may be tried next, on those levels that serve."""
        dark = not self.live
        at = inf
        for level in self._levels:
            at = min(at, level.next_trial(dark))
            if level.live and not level.near:
                break
        return at

    def available(self) -> int:
        """How many nodes may be chosen."""
        return sum(len(level.picker) for level in self._levels)

    def _free_held(self) -> bool:
        """No other node may be chosen: offer those, too, to which the first request connects yet.  Returns whether any
        may be chosen now."""
        freed = False
        for level in self._offered:
            for node in [*level.held]:
                level.free(node)
                freed |= node.state == READY
        return freed

    def _last_resort(self, now: float, tried: Sequence[Node]) -> Node | None:
        """A node of any level, none of which has one that is up."""
        for level in self._offered:
            node = level.last_resort(now, tried)
            if node is not None:
                return node
        return None

    def _only_full(self, tried: Sequence[Node]) -> bool:
        """True when those that serve, on the lowest level that has any but ``tried``, are all at their limit."""
        full = 0
        for number, level in zip(self._order, self._levels, strict=True):
            states = [node.state for node in tried if node.backup == number]
            if len(level.picker) > states.count(READY):
                return False
            full += level.full - states.count(FULL)
            if full > 0 and not level.near:
                return True
        return False

    def _own(self, tried: Sequence[Node]) -> list[Node]:
        """This pool's nodes at the addresses of ``tried``: the same worker may be a node of another pool, too."""
        nodes = dict.fromkeys(self._nodes.get(node.address) for node in tried)
        return [node for node in nodes if node is not None]

    # Where a node belongs.

    def at(self, number: int) -> BackupLevel[Node]:
        """The level of that number, made when it is asked for first."""
        for present, level in zip(self._order, self._levels, strict=True):
            if present == number:
                return level
        # A near level comes with the one that it spills over to.
        for new in (number & ~1, number | 1) if self._zone else (number,):
            self._order = sorted([*self._order, new])
            new_level: BackupLevel[Node] = BackupLevel(
                new_picker(self._algorithm, self._chance), near=self._zone != "" and not new & 1
            )
            self._levels.insert(self._order.index(new), new_level)
        return self.at(number)

    def number(self, options: NodeOptions) -> int:
        """Of the level of a node: with a zone, each backup level has two, the even one for nodes of the zone."""
        return 2 * options.backup + (options.zone != self._zone) if self._zone else options.backup
