"""The nodes of one key: join, change, leave, drain, fail, recover.  Pure; time and chance are handed in.

A node's life here::

    state      offered to   leaves it by
    READY      picker       at its limit -> FULL;  failed -> EJECTED;  drain -> DRAINING;  gone -> GONE
    FULL       nobody       a request ended, or the limit is higher -> READY;  failed, drain, gone as above.  It is also
                            the state of a node that is held: the first request ever connects to it
    EJECTED    nobody       its time is over (or it announced itself) and a request comes, on its first try, or with no
                            node left that is known to be good -> TRIAL
    TRIAL      one request  recovered -> READY;  failed -> EJECTED, longer;  ended without a verdict -> EJECTED, due now
    DRAINING   nobody       put without drain -> READY
    GONE       nobody       never: what joins at the same address while requests are in flight there is the same node

Backup levels: the lowest level that has a READY or a FULL node serves; when all of these are FULL, requests wait for
them.  In a router with a zone each of them is two, its own zone's nodes and the others, and spills over from the first
to the second when those are full.  While no level has one (the pool is *dark*), no node waits longer than
``MAX_DARK_EJECTION`` since its last failure.  Choosing costs O(log n) at most (balance.py).

While requests wait, or the key is paused or under maintenance, the pool is *closed*: it offers nothing to a request
that comes, so that nobody overtakes; only between ``begin_turn`` and ``end_turn`` it does, for whose turn it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fastroute.router.protocol.node_options import DEFAULT, KeyOptions, NodeOptions
from fastroute.router.relay.answer_judge import AnswerJudge
from fastroute.router.relay.balance import COUNTING
from fastroute.router.relay.key_queue import KeyQueue
from fastroute.router.relay.level import (
    DRAINING,
    EJECTED,
    FULL,
    GONE,
    MAX_DARK_EJECTION,
    READY,
    TRIAL,
    LevelNode,
)
from fastroute.router.relay.levels import NodeLevels
from fastroute.router.relay.limits import NodeLimits
from fastroute.router.relay.node import KEEPALIVE, NO_KEEPALIVE, Node, NodePool
from fastroute.router.relay.ramp import STEPS, Ramps
from fastroute.router.relay.rewriting import rewriting_of
from fastroute.router.relay.sessions import Sessions
from fastroute.router.relay.waiting import QueueSchedule, Waiter
from fastroute.router.runtime.backoff import doubled

#: Where a pool's nodes come from: control's table; ``fastrouter-to`` and the like; ``--fallback``.
ANNOUNCED: Final = 0
MAPPED: Final = 1
FALLBACK: Final = 2

#: Seconds: the first ejection, doubled at each failure in a row, up to the last; times 0.75 to 1.25 by chance.
FIRST_EJECTION: Final = 0.25
MAX_EJECTION: Final = 30.0
#: Seconds after which a node that came back from an ejection for its answers is as good as any.
STEADY_TIME: Final = 30.0


class Pool(NodePool):
    """All nodes of ``key`` under one algorithm, and the requests that wait for them."""

    __slots__ = ("_chance", "algorithm", "asks_client", "forgotten", "hits", "leaving", "levels", "limits", "nodes",
                 "options", "origin", "probation", "ramps", "seen", "sessions", "state_seen", "statuses",
                 "waiting")  # fmt: skip

    def __init__(self, key: str, algorithm: str, chance: random.Random, origin: int = ANNOUNCED,
                 name: str = "", zone: str = "") -> None:  # fmt: skip
        super().__init__(key, name or key)
        #: ``ANNOUNCED``, ``MAPPED`` or ``FALLBACK``.
        self.origin = origin
        self.algorithm = algorithm
        self.options = KeyOptions(algorithm=algorithm)
        #: Requests that asked for a node of this pool.
        self.hits = 0
        #: Of those, the ones that the relay answered itself and that are no node's, by class as in ``Node.statuses``.
        self.statuses = [0, 0, 0, 0, 0]
        self.nodes: dict[str, Node] = {}
        #: Nodes that are gone but have requests in flight.
        self.leaving: dict[str, Node] = {}
        self.levels = NodeLevels(self.nodes, algorithm, chance, zone)
        #: The snapshot in which control named it last, and the one in which it named its state (replica.py).
        self.seen = self.state_seen = 0
        #: None: no request has waited yet.
        self.waiting: KeyQueue[Pool] | None = None
        #: Its key is not known any more; some may still wait.
        self.forgotten = False
        self.limits = NodeLimits()
        self.sessions = Sessions()
        #: Nodes that are ejected for their answers.
        self.probation: dict[Node, None] = {}
        self.ramps = Ramps()
        #: Which node a request gets depends on who asks: by ``iphash``, or as clients stay with their node.
        self.asks_client = False
        self._chance = chance
        self.set_algorithm(algorithm)

    def set_options(self, options: KeyOptions) -> None:
        """The key's settings are these from now on."""
        if options.algorithm != self.algorithm:
            self.set_algorithm(options.algorithm)
        if (options.sticky, options.mount) != (self.options.sticky, self.options.mount):
            self.rewriting = rewriting_of(self.key, options)
            for node in [*self.nodes.values(), *self.leaving.values()]:
                node.keep_connections(node.keepalive)
        self.options = options
        self.asks_client = self.algorithm == "iphash" or options.cookie != ""
        if (options.eject == "errors") != (self.judge is not None):
            self._judge_by_answers(options.eject == "errors")

    def set_algorithm(self, algorithm: str) -> None:
        """Balance by ``algorithm`` from now on; nodes keep their state."""
        self.algorithm = algorithm
        if algorithm == "iphash" and self.ramps.pace > 1:
            self._set_pace(1)
        self.asks_client = algorithm == "iphash" or self.options.cookie != ""
        self.levels.set_algorithm(algorithm)
        self._count()

    # Nodes join and leave.

    def put(self, address: str, options: NodeOptions = DEFAULT, draining: bool = False, via: str = "",
            now: float = 0.0) -> Node:  # fmt: skip
        """Add or change the node at ``address``.  Weight 0 drains it.  ``ValueError`` for what is no address."""
        node = self.nodes.get(address)
        if node is None:
            node = self.leaving.pop(address, None) or Node(self, address)
            self.nodes[address] = node
            node.streak = 0
            node.lives += 1
            self._acquit(node)
        draining = draining or options.weight < 1
        if options.ramp and self.ramps.pace == 1 and self.algorithm != "iphash":
            self._set_pace(STEPS)
        place = (max(options.weight, 1) * node.pace, self.levels.number(options), draining)
        node.options = options
        node.modifier1, node.modifier2 = options.modifier1, options.modifier2
        protocol = options.protocol
        node.routers = via.encode().split(b",") if via else []
        if node.protocol != protocol:
            node.protocol = protocol
            node.keep_connections(KEEPALIVE if protocol == "http" else NO_KEEPALIVE)
        if place == (node.weight, node.backup, node.state == DRAINING) and node.state != GONE:
            if options.max or node.limit:
                self._settle(node)
            return node
        before = self._detach(node)
        node.weight, node.backup, _ = place
        if draining:
            node.state = DRAINING
            self._acquit(node)
            self._wake(node)
            self._keep_one(now)
        elif before in (EJECTED, TRIAL):
            self.levels.at(node.backup).eject(node, node.until)
        else:
            if before in (GONE, DRAINING):
                self.ramps.begin(node, now)
                node.weight = max(options.weight, 1) * node.pace
            self._offer(node, cold=before == GONE or not node.tx)
        return node

    def step_ramps(self, now: float) -> None:
        """The shares of nodes that joined lately grow."""
        for node, pace in self.ramps.due(now):
            self._reweigh(node, pace)

    def _set_pace(self, pace: int) -> None:
        """From now on this is the pace of a node that has its whole share."""
        self.ramps = Ramps()
        self.ramps.pace = pace
        for node in self.nodes.values():
            self._reweigh(node, pace)

    def _reweigh(self, node: Node, pace: int) -> None:
        weight = max(node.options.weight, 1) * pace
        if node.state == READY:
            self.levels.at(node.backup).picker.reweigh(node, weight, pace)
        else:
            node.weight, node.pace = weight, pace

    def set_share(self, node: Node, share: int) -> None:
        """This relay's share of the ``max`` of ``node`` is this from now on."""
        node.options = replace(node.options, max=share)
        self._settle(node)

    def gone(self, address: str, now: float = 0.0) -> Node | None:
        """Send no new requests to ``address``.  Returns the node, if it was there."""
        node = self.nodes.pop(address, None)
        if node is not None:
            node.left_at = now
            self._detach(node)
            node.state = GONE
            self.limits.end(node)
            self.sessions.forget(node)
            self.ramps.end(node)
            self._acquit(node)
            self._count()
            if node.in_flight:
                self.leaving[address] = node
            self._wake(node)
            self._keep_one(now)
        return node

    def offers_besides(self, node: Node) -> bool:
        """Whether a request could go to another node than ``node`` now, or wait for one as others do."""
        return self.levels.offers_besides(node) or (self.waited_for and self.levels.live_besides(node))

    def choose_past(self, passed: list[bytes], tried: Sequence[Node]) -> Node | None:
        """A node that is none of the routers which a request has ``passed``, and has none of them behind it."""
        return self.levels.choose_past(passed, tried)

    def keeps_requests(self, tried: Sequence[Node]) -> bool:
        """True when a request waits for this pool rather than go to another: it is closed, or only full."""
        return self.levels.closed or self.levels.full_without(tried)

    # What requests came to.

    def changed(self, node: Node) -> None:
        """``node.in_flight`` changed; needed only where ``counts`` is set."""
        # Most changes of a node with a limit are none of its state.
        if node.limit and ((node.in_flight - node.tunnels >= node.limit) == (node.state == READY) or node.cold_tx >= 0):
            self._settle(node)
        if node.state == READY and self.algorithm in COUNTING:
            self.levels.at(node.backup).picker.changed(node)

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
        if node.state not in (READY, FULL, TRIAL):
            return 0.0
        seconds = self._eject(node, now)
        self._keep_one(now)
        return seconds

    def _eject(self, node: Node, now: float) -> float:
        self._detach(node)
        if node.back_at and now - node.back_at >= STEADY_TIME:
            node.streak = 0
        node.back_at = 0.0
        seconds = doubled(FIRST_EJECTION, MAX_EJECTION, node.streak) * (0.75 + self._chance.random() / 2)
        node.streak += 1
        node.lives += 1
        node.failed_at = now
        if not self.levels.live:
            seconds = min(seconds, MAX_DARK_EJECTION)
        self.levels.at(node.backup).eject(node, now + seconds)
        self._wake(node)
        return seconds

    # What their answers came to.

    def eject_for_answers(self, node: Node, now: float) -> float:
        """Eject ``node``: its answers are errors.  Returns for how many seconds."""
        node.probation = True
        self.probation[node] = None
        if self.judge is not None:
            self.judge.forget(node)
        return self._eject(node, now)

    def passed(self, node: Node, now: float) -> None:
        """Offer ``node``, which was ejected for its answers, again.  If it is soon ejected again, then for longer."""
        streak = node.streak
        self._acquit(node)
        self.recovered(node, now)
        node.streak, node.back_at = streak, now

    def _acquit(self, node: Node) -> None:
        node.probation = False
        self.probation.pop(node, None)

    def _keep_one(self, now: float) -> None:
        """Where no other node is up any more, those that are up but for their answers serve."""
        if self.probation and not self.levels.live:
            for node in [*self.probation]:
                self.passed(node, now)

    def _judge_by_answers(self, judges: bool) -> None:
        """Nodes are ejected for what they answer from now on, or for nothing that they answer."""
        self.judge = AnswerJudge() if judges else None
        for node in [*self.nodes.values(), *self.leaving.values()]:
            node.seen_answers, node.seen_errors = sum(node.statuses), node.statuses[-1]
            if node.probation:
                self.passed(node, 0.0)

    def recovered(self, node: Node, now: float = 0.0) -> None:
        """Offer ``node`` again: on trial, it accepted a connection."""
        node.streak = 0
        self._detach(node)
        if node.options.ramp:
            self.ramps.begin(node, now)
            node.weight = max(node.options.weight, 1) * node.pace
        self._offer(node, cold=True)

    def retry(self, address: str) -> None:
        """The worker at ``address`` says that it is there: if it is ejected, the next request may try it."""
        node = self.nodes.get(address)
        if node is not None and node.state == EJECTED and not node.probation:
            self._detach(node)
            self.levels.at(node.backup).eject(node, 0.0)
            self._wake(node)

    def undecided(self, node: Node, now: float) -> None:
        """An attempt ended before it showed whether ``node`` accepts connections: the next request may try it."""
        if node.state == TRIAL:
            self.levels.at(node.backup).eject(node, now)
            self._wake(node)
        self.free(node)

    def hold(self, node: Node) -> None:
        """The first request connects to ``node``: others go elsewhere until that is decided, if they can."""
        if node.state == READY and self.levels.offers_besides(node):
            self.levels.at(node.backup).hold(node)

    def free(self, node: Node) -> None:
        """``node`` is held no longer, if it was: it accepted a connection."""
        if node.held and self.levels.at(node.backup).free(node):
            self._wake(node)

    # Waiting.

    def make_queue(self, schedule: QueueSchedule[Pool]) -> KeyQueue[Pool]:
        """The key's queue, made when it is needed first."""
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = KeyQueue(self, schedule)
        return waiting

    def leave(self, waiter: Waiter, now: float) -> None:
        """``waiter`` waits no longer."""
        assert self.waiting is not None
        self.waiting.leave(waiter, now)
        self.claim(waiter.wanted, -1)
        if not self.waited_for:
            self.warm_up(idle=True)
        self.end_turn()

    def want(self, waiter: Waiter, wanted: LevelNode | None) -> None:
        """``waiter`` waits for that node now; None: for any."""
        assert self.waiting is not None
        before = waiter.wanted
        self.waiting.queue.want(waiter, wanted)
        self.claim(before, -1)
        self.claim(wanted, 1)

    def lend(self, node: LevelNode) -> None:
        """Offer ``node`` to the one whose turn it is, though others wait for it, until :meth:`claim`."""
        if isinstance(node, Node):
            claimed, node.claimed = node.claimed, 0
            self._settle(node)
            node.claimed = claimed

    def claim(self, node: LevelNode | None, number: int) -> None:
        """So many requests more wait for ``node`` and no other."""
        if isinstance(node, Node):
            node.claimed += number
            self._settle(node)

    @property
    def waited_for(self) -> bool:
        """True while requests wait."""
        return self.waiting is not None and len(self.waiting.queue) > 0

    def begin_turn(self) -> None:
        """The request that is handled next may have a node, though the pool is closed; a paused one offers nothing."""
        self.levels.set_closed(self.waiting is not None and self.waiting.paused)

    def end_turn(self) -> None:
        """Those that come get nothing while the pool is closed."""
        self.levels.set_closed(self.waiting is not None and self.waiting.closed)

    def warm_up(self, idle: bool = False) -> None:
        """Nodes that have answered since they joined may have more requests; ``idle``: those without requests, too."""
        for node in [*self.limits.cold]:
            if idle and not node.in_flight:
                self.limits.spare(node)
            self._settle(node)

    def _wake(self, node: Node) -> None:
        """``node`` may take a request that waits, or will never take one that waits for it."""
        if self.waiting is not None:
            self.waiting.queue.try_again(node)
            self.waiting.wake()

    def _settle(self, node: Node) -> None:
        """The requests of ``node`` changed, or its limit, or it may have answered for the first time."""
        self.limits.update(node)
        self._count()
        if self.levels.at(node.backup).settle(node) or node.state == DRAINING:
            self._wake(node)

    def _count(self) -> None:
        self.counts = self.algorithm in COUNTING or self.limits.limited > 0

    def _offer(self, node: Node, cold: bool) -> None:
        self.limits.begin(node, cold and self.waited_for)
        self._count()
        self.levels.at(node.backup).offer(node)
        self._wake(node)

    def _detach(self, node: Node) -> int:
        """Take ``node`` out of where its state keeps it.  Returns that state."""
        state = node.state
        if state in (READY, FULL, EJECTED):
            self.levels.at(node.backup).detach(node)
        return state
