"""The nodes of one backup level: those that are offered, those at their limit, those that are ejected and when each of
them may be tried.  Pure; time is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, TypeVar

from fastroute.router.relay.picker import BalancedNode, Picker

#: States of a node; the table is in pool.py.
READY: Final = 0
FULL: Final = 1
EJECTED: Final = 2
TRIAL: Final = 3
DRAINING: Final = 4
GONE: Final = 5

#: The limit of a node that may have no request now: other relays have all that its ``max`` allows.
NO_SLOTS: Final = -1

#: Seconds that a node stays ejected at most while its pool has no other.
MAX_DARK_EJECTION: Final = 1.0


class LevelNode(BalancedNode):
    """What a backup level knows of a node; the pool's Node adds the rest."""

    __slots__ = ("backup", "claimed", "failed_at", "held", "limit", "state", "tunnels", "until")

    def __init__(self, address: str, weight: int) -> None:
        super().__init__(address, weight)
        self.state = GONE
        #: The number of its level.
        self.backup = 0
        #: Requests that it may have at once (0: any number; NO_SLOTS: none), and how many of those that it has count no
        #: more.
        self.limit = self.tunnels = 0
        #: Requests that wait for this node and no other: it is offered to nobody else meanwhile.
        self.claimed = 0
        #: A request connects to it, the first one ever: it is offered to nobody else meanwhile.
        self.held = False
        #: The time of the last failed connect, and the time until which the node is ejected.
        self.failed_at = self.until = 0.0

    @property
    def has_room(self) -> bool:
        """True while it may have another request."""
        return self.limit == 0 or self.limit > self.in_flight - self.tunnels

    @property
    def at_limit(self) -> bool:
        """True while it has all the requests that it may have, or those that wait for it will fill it."""
        return self.held or self.claimed > 0 or not self.has_room


N = TypeVar("N", bound=LevelNode)


class BackupLevel(Generic[N]):
    """The nodes of one backup level; where the router has a zone, those of it, or the others."""

    __slots__ = ("due", "ejected", "full", "held", "near", "picker")

    def __init__(self, picker: Picker[N], near: bool = False) -> None:
        #: The next level has the nodes of other zones: they are asked when these are full.
        self.near = near
        #: Those that are offered.
        self.picker = picker
        #: How many would be, if they had not all the requests that they may have.
        self.full = 0
        #: Those of them that are held.
        self.held: dict[N, None] = {}
        #: Those that are ejected, in the order in which they failed.
        self.ejected: dict[N, None] = {}
        #: A heap of the same: the time at which each is due, ``id`` and node; entries may be outdated.
        self.due: list[tuple[float, int, N]] = []

    @property
    def live(self) -> bool:
        """True while a node is up, offered or not."""
        return self.full > 0 or len(self.picker) > 0

    def offer(self, node: N) -> None:
        """``node`` is up."""
        if node.at_limit:
            node.state = FULL
            self.full += 1
        else:
            node.state = READY
            self.picker.add(node)

    def settle(self, node: N) -> bool:
        """The requests, the claims or the limit of ``node`` changed.  Returns True when one that waits may have it."""
        if node.state == READY and node.at_limit:
            self.picker.remove(node)
            node.state = FULL
            self.full += 1
        elif node.state == FULL and not node.at_limit:
            self.full -= 1
            node.state = READY
            self.picker.restore(node)
            return True
        return node.claimed > 0 and node.has_room

    def hold(self, node: N) -> None:
        """Offer ``node``, which is up, to nobody else until :meth:`free`."""
        node.held = True
        self.held[node] = None
        self.settle(node)

    def free(self, node: N) -> bool:
        """``node`` is held no longer.  Returns True when one that waits may have it."""
        if not node.held:
            return False
        node.held = False
        del self.held[node]
        return self.settle(node)

    def eject(self, node: N, until: float) -> None:
        """``node`` is not offered until then."""
        node.state = EJECTED
        node.until = until
        self.ejected[node] = None
        heappush(self.due, (until, id(node), node))
        if len(self.due) > 2 * len(self.ejected) + 64:
            self.due = sorted((other.until, id(other), other) for other in self.ejected)

    def detach(self, node: N) -> None:
        """Take ``node`` out of where its state keeps it."""
        if node.held:
            node.held = False
            del self.held[node]
        if node.state == READY:
            self.picker.remove(node)
        elif node.state == FULL:
            self.full -= 1
        elif node.state == EJECTED:
            del self.ejected[node]

    def due_trial(self, now: float, tried: Sequence[N]) -> N | None:
        """An ejected node whose time is over, now on trial; entries that are no longer true are dropped."""
        trial, put_aside = None, []
        while trial is None and self.due and self.due[0][0] <= now:
            entry = heappop(self.due)
            until, _, node = entry
            if node in self.ejected and node.until == until:
                if node in tried:
                    put_aside.append(entry)
                else:
                    trial = self._try(node)
        for entry in put_aside:
            heappush(self.due, entry)
        return trial

    def last_resort(self, now: float, tried: Sequence[N]) -> N | None:
        """The node that failed first, now on trial, if that is long enough ago for a pool that has no other."""
        for node in self.ejected:
            if node in tried:
                continue
            if now >= node.failed_at + MAX_DARK_EJECTION:
                return self._try(node)
            break
        return None

    def next_trial(self, dark: bool) -> float:
        """When an ejected node may be tried next; ``dark``: the pool has no node that is up."""
        at = self.due[0][0] if self.due else inf
        if dark and self.ejected:
            at = min(at, next(iter(self.ejected)).failed_at + MAX_DARK_EJECTION)
        return at

    def _try(self, node: N) -> N:
        del self.ejected[node]
        node.state = TRIAL
        return node
