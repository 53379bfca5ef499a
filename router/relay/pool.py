"""The nodes of one key: join, change, leave, drain, fail, recover.  Pure; time and chance are handed in.

A node's life here::

    state      offered to   leaves it by
    READY      picker       failed -> EJECTED;  drain -> DRAINING;  gone -> GONE
    EJECTED    nobody       its time is over (or it announced itself) and a request comes, on its first try, or with no
                            node left that is known to be good -> TRIAL
    TRIAL      one request  recovered -> READY;  failed -> EJECTED, longer;  ended without a verdict -> EJECTED, due now
    DRAINING   nobody       put without drain -> READY
    GONE       nobody       never: what joins at the same address while requests are in flight there is the same node

Backup levels: the lowest level that has a node to offer serves.  While none of any level has one (the pool is *dark*),
no node waits longer than ``MAX_DARK_EJECTION`` since its last failure.  Choosing costs O(log n) at most (balance.py).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from fastroute.router.protocol.latency import LatencyCounts
from fastroute.router.protocol.node_options import DEFAULT, KeyOptions, NodeOptions
from fastroute.router.relay.balance import COUNTING, BalancedNode, Picker, new_picker
from fastroute.router.relay.target import AF_UNIX, ConnectTarget, parse_target
from fastroute.router.runtime.backoff import doubled

READY: Final = 0
EJECTED: Final = 1
TRIAL: Final = 2
DRAINING: Final = 3
GONE: Final = 4

#: Where a pool's nodes come from: control's table; ``fastrouter-to`` and the like; ``--fallback``.
ANNOUNCED: Final = 0
MAPPED: Final = 1
FALLBACK: Final = 2

#: Whether a node keeps connections for further requests (idle_connections.py).
NO_KEEPALIVE: Final = 0
PERHAPS_KEEPALIVE: Final = 1
KEEPALIVE: Final = 2

#: Seconds: the first ejection, doubled at each failure in a row, up to the last; times 0.75 to 1.25 by chance.
FIRST_EJECTION: Final = 0.25
MAX_EJECTION: Final = 30.0
#: Seconds that a node stays ejected at most while its pool has no other.
MAX_DARK_EJECTION: Final = 1.0


class Node(BalancedNode):
    """One worker address of one key, with this relay's counters."""

    __slots__ = ("backup", "closed_at", "disproofs", "early_closes", "failed_at", "failures", "idle", "internet",
                 "keepalive", "key", "modifier1", "modifier2", "options", "pool", "protocol", "requests", "routers",
                 "rx", "seen", "state", "streak", "target", "tx", "until", "watch_again_at")  # fmt: skip

    def __init__(self, pool: Pool, address: str) -> None:
        super().__init__(address, 1)
        self.pool = pool
        self.key = pool.key
        self.target: ConnectTarget = parse_target(address)
        self.internet = self.target[0] != AF_UNIX
        #: As control told them; what each request needs of them has an attribute of its own.
        self.options = DEFAULT
        self.backup = self.modifier1 = self.modifier2 = 0
        self.protocol = "uwsgi"
        #: The node is a router: its id, and those of the routers behind it.
        self.routers: list[bytes] = []
        self.state = GONE
        #: Requests that it was sent, and how many of them failed.
        self.requests = self.failures = 0
        #: Bytes that it sent, and bytes that it was sent.
        self.tx = self.rx = 0
        #: Failures in a row, the time of the last one, and the time until which the node is ejected.
        self.streak = 0
        self.failed_at = self.until = 0.0
        #: The snapshot in which control named it last (replica.py).
        self.seen = 0
        #: Whether it keeps connections, and the descriptors of those that wait (idle_connections.py).
        self.keepalive = NO_KEEPALIVE
        self.idle: list[int] = []
        #: How often it closed one early, and when it did so last.
        self.early_closes = 0
        self.closed_at = 0.0
        #: How often it turned out to keep none, and when it may be watched again.
        self.disproofs = 0
        self.watch_again_at = 0.0

    @property
    def ejected(self) -> bool:
        """True while it is not offered because connecting failed."""
        return self.state in (EJECTED, TRIAL)

    def behind(self, routers: list[bytes]) -> bool:
        """True when the way to the worker leads through one of ``routers``."""
        return any(router in routers for router in self.routers)

    def __repr__(self) -> str:
        return f"<Node {self.key} {self.address} state {self.state}>"


class BackupLevel:
    """The nodes of one backup level."""

    __slots__ = ("due", "ejected", "picker")

    def __init__(self, picker: Picker[Node]) -> None:
        #: Those that are offered.
        self.picker = picker
        #: Those that are ejected, in the order in which they failed.
        self.ejected: dict[Node, None] = {}
        #: A heap of the same: the time at which each is due, ``id`` and node; entries may be outdated.
        self.due: list[tuple[float, int, Node]] = []


class Pool:
    """All nodes of ``key`` under one algorithm."""

    __slots__ = ("_chance", "_order", "algorithm", "counts", "hits", "key", "leaving", "levels", "name", "nodes",
                 "options", "origin", "seen", "times")  # fmt: skip

    def __init__(self, key: str, algorithm: str, chance: random.Random, origin: int = ANNOUNCED,
                 name: str = "") -> None:  # fmt: skip
        self.key = key
        #: In reports to control.
        self.name = name or key
        #: ``ANNOUNCED``, ``MAPPED`` or ``FALLBACK``.
        self.origin = origin
        self.algorithm = algorithm
        self.options = KeyOptions(algorithm=algorithm)
        #: Requests that asked for a node of this pool.
        self.hits = 0
        self.nodes: dict[str, Node] = {}
        #: Nodes that are gone but have requests in flight.
        self.leaving: dict[str, Node] = {}
        #: By backup level, in the order of ``_order``, which has their numbers.
        self.levels: list[BackupLevel] = []
        #: The algorithm must be told when a node's requests in flight change.
        self.counts = False
        #: The snapshot in which control named it last (replica.py).
        self.seen = 0
        self.times: LatencyCounts | None = None
        self._chance = chance
        self._order: list[int] = []
        self.set_algorithm(algorithm)

    def set_options(self, options: KeyOptions) -> None:
        """The key's settings are these from now on."""
        if options.algorithm != self.algorithm:
            self.set_algorithm(options.algorithm)
        self.options = options

    def set_algorithm(self, algorithm: str) -> None:
        """Balance by ``algorithm`` from now on; nodes keep their state."""
        self.algorithm = algorithm
        for number, level in enumerate(self.levels):
            picker: Picker[Node] = new_picker(algorithm, self._chance)
            for node in self.nodes.values():
                if node.state == READY and node.backup == self._order[number]:
                    picker.add(node)
            level.picker = picker
        self.counts = algorithm in COUNTING

    def timed(self) -> LatencyCounts:
        """Where this key's connect and answer times are counted; made at the first request."""
        times = self.times
        if times is None:
            times = self.times = LatencyCounts()
        return times

    def put(self, address: str, options: NodeOptions = DEFAULT, draining: bool = False, via: str = "") -> Node:
        """Add or change the node at ``address``.  Weight 0 drains it.  ``ValueError`` for what is no address."""
        node = self.nodes.get(address)
        if node is None:
            node = self.leaving.pop(address, None) or Node(self, address)
            self.nodes[address] = node
            node.streak = 0
        draining = draining or options.weight < 1
        place = (max(options.weight, 1), options.backup, draining)
        node.options = options
        node.modifier1, node.modifier2 = options.modifier1, options.modifier2
        protocol = options.protocol
        node.routers = via.encode().split(b",") if via else []
        if node.protocol != protocol:
            node.protocol = protocol
            node.keepalive = KEEPALIVE if protocol == "http" else NO_KEEPALIVE
        if place == (node.weight, node.backup, node.state == DRAINING) and node.state != GONE:
            return node
        before = self._detach(node)
        node.weight, node.backup, _ = place
        if draining:
            node.state = DRAINING
        elif before in (EJECTED, TRIAL):
            self._eject(node, node.until)
        else:
            self._offer(node)
        return node

    def gone(self, address: str) -> Node | None:
        """Send no new requests to ``address``.  Returns the node, if it was there."""
        node = self.nodes.pop(address, None)
        if node is not None:
            self._detach(node)
            node.state = GONE
            if node.in_flight:
                self.leaving[address] = node
        return node

    def choose(self, now: float, client: bytes = b"") -> Node | None:
        """The node for the first try of a request; ``None`` when no node may be tried now."""
        for level in self.levels:
            if level.due and level.due[0][0] <= now:
                trial = self._due(level, now, ())
                if trial is not None:
                    return trial
            chosen = level.picker.choose(client)
            if chosen is not None:
                return chosen
        return self._last_resort(now, ())

    def choose_good(self, tried: Sequence[Node], client: bytes = b"") -> Node | None:
        """For a request that failed at ``tried``: a node known to be good, at none of these addresses, on any level."""
        offered = [node for node in self._own(tried) if node.state == READY]
        for backup, level in zip(self._order, self.levels, strict=True):
            excluded = [node for node in offered if node.backup == backup]
            chosen = level.picker.choose_other(client, excluded) if excluded else level.picker.choose(client)
            if chosen is not None:
                return chosen
        return None

    def choose_trial(self, tried: Sequence[Node], now: float) -> Node | None:
        """For a request that failed at ``tried`` when no good node is left: an ejected one, at none of these addresses.

        The rules of ejection hold: its time is over, or it is the last hope.
        """
        excluded = self._own(tried)
        for level in self.levels:
            if level.due and level.due[0][0] <= now:
                trial = self._due(level, now, excluded)
                if trial is not None:
                    return trial
        return self._last_resort(now, excluded)

    def choose_past(self, passed: list[bytes], tried: Sequence[Node]) -> Node | None:
        """A node that is none of the routers which a request has ``passed``, and has none of them behind it.

        By chance, of the lowest level that has one; looks at every node, so it is for those that met such a router.
        """
        excluded = self._own(tried)
        ahead = [node for node in self.nodes.values() if node.state == READY and node not in excluded]
        ahead = [node for node in ahead if not node.behind(passed)]
        level = min((node.backup for node in ahead), default=0)
        ahead = [node for node in ahead if node.backup == level]
        return self._chance.choices(ahead, [node.weight for node in ahead])[0] if ahead else None

    def changed(self, node: Node) -> None:
        """``node.in_flight`` changed; needed only where ``counts`` is set."""
        if node.state == READY:
            self._level(node.backup).picker.changed(node)

    def finish(self, node: Node) -> None:
        """A request on ``node`` ended."""
        node.in_flight -= 1
        if self.counts:
            self.changed(node)
        if node.state == GONE and not node.in_flight and self.leaving.get(node.address) is node:
            del self.leaving[node.address]

    def failed(self, node: Node, now: float) -> float:
        """Eject ``node``: connecting to it failed.  Returns for how many seconds; 0 when that changes nothing."""
        node.failures += 1
        if node.state not in (READY, TRIAL):
            return 0.0
        self._detach(node)
        seconds = doubled(FIRST_EJECTION, MAX_EJECTION, node.streak) * (0.75 + self._chance.random() / 2)
        node.streak += 1
        node.failed_at = now
        if not any(len(level.picker) for level in self.levels):
            seconds = min(seconds, MAX_DARK_EJECTION)
        self._eject(node, now + seconds)
        return seconds

    def recovered(self, node: Node) -> None:
        """Offer ``node`` again: on trial, it accepted a connection."""
        node.streak = 0
        self._detach(node)
        self._offer(node)

    def retry(self, address: str) -> None:
        """The worker at ``address`` says that it is there: if it is ejected, the next request may try it."""
        node = self.nodes.get(address)
        if node is not None and node.state == EJECTED:
            self._detach(node)
            self._eject(node, 0.0)

    def undecided(self, node: Node, now: float) -> None:
        """An attempt ended before it showed whether ``node`` accepts connections: the next request may try it."""
        if node.state == TRIAL:
            self._eject(node, now)

    def available(self) -> int:
        """Nodes that are offered now, on all levels."""
        return sum(len(level.picker) for level in self.levels)

    def _own(self, tried: Sequence[Node]) -> list[Node]:
        """This pool's nodes at the addresses of ``tried``: the same worker may be a node of another pool, too."""
        nodes = dict.fromkeys(self.nodes.get(node.address) for node in tried)
        return [node for node in nodes if node is not None]

    def _due(self, level: BackupLevel, now: float, tried: Sequence[Node]) -> Node | None:
        """An ejected node whose time is over, now on trial; entries that are no longer true are dropped."""
        trial, put_aside = None, []
        while trial is None and level.due and level.due[0][0] <= now:
            entry = heappop(level.due)
            until, _, node = entry
            if node in level.ejected and node.until == until:
                if node in tried:
                    put_aside.append(entry)
                else:
                    trial = self._try(level, node)
        for entry in put_aside:
            heappush(level.due, entry)
        return trial

    def _last_resort(self, now: float, tried: Sequence[Node]) -> Node | None:
        for level in self.levels:
            for node in level.ejected:
                if node in tried:
                    continue
                if now >= node.failed_at + MAX_DARK_EJECTION:
                    return self._try(level, node)
                break
        return None

    def _try(self, level: BackupLevel, node: Node) -> Node:
        del level.ejected[node]
        node.state = TRIAL
        return node

    def _offer(self, node: Node) -> None:
        node.state = READY
        self._level(node.backup).picker.add(node)

    def _eject(self, node: Node, until: float) -> None:
        level = self._level(node.backup)
        node.state = EJECTED
        node.until = until
        level.ejected[node] = None
        heappush(level.due, (until, id(node), node))
        if len(level.due) > 2 * len(level.ejected) + 64:
            level.due = sorted((other.until, id(other), other) for other in level.ejected)

    def _detach(self, node: Node) -> int:
        """Take ``node`` out of where its state keeps it.  Returns that state."""
        if node.state == READY:
            self._level(node.backup).picker.remove(node)
        elif node.state == EJECTED:
            del self._level(node.backup).ejected[node]
        return node.state

    def _level(self, backup: int) -> BackupLevel:
        for number, level in zip(self._order, self.levels, strict=True):
            if number == backup:
                return level
        self._order = sorted([*self._order, backup])
        self.levels.insert(self._order.index(backup), BackupLevel(new_picker(self.algorithm, self._chance)))
        return self._level(backup)
