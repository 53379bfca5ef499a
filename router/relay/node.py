"""One worker address of one key, with a relay's counters.  Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from fastroute.router.protocol.latency import LatencyCounts
from fastroute.router.protocol.node_options import DEFAULT
from fastroute.router.relay.answer_judge import AnswerJudge
from fastroute.router.relay.level import EJECTED, TRIAL, LevelNode
from fastroute.router.relay.rewriting import Rewriting
from fastroute.router.relay.target import AF_UNIX, ConnectTarget, parse_target

#: Whether a node keeps connections for further requests (idle_connections.py).
NO_KEEPALIVE: Final = 0
PERHAPS_KEEPALIVE: Final = 1
KEEPALIVE: Final = 2

#: The place of 5xx in ``Node.statuses``.
ERRORS: Final = 4
_FIRST_CLASS: Final = ord("1")


class NodePool(ABC):
    """What a node's requests need of its pool; the Pool (pool.py) adds the rest."""

    __slots__ = ("counts", "judge", "key", "name", "rewriting")

    def __init__(self, key: str, name: str) -> None:
        self.key = key
        #: In reports to control.
        self.name = name
        #: The pool must be told when a node's requests in flight change.
        self.counts = False
        #: What is changed in requests to its nodes and in their answers; None, as for most: nothing.
        self.rewriting: Rewriting | None = None
        #: What its nodes have answered lately; None: they are not ejected for it.
        self.judge: AnswerJudge[Node] | None = None

    @abstractmethod
    def changed(self, node: Node) -> None:
        """``node.in_flight`` changed; needed only where ``counts`` is set."""

    @abstractmethod
    def finish(self, node: Node) -> None:
        """A request on ``node`` ended."""

    @abstractmethod
    def failed(self, node: Node, now: float) -> float:
        """Eject ``node``: connecting to it failed.  Returns for how many seconds; 0 when that changes nothing."""

    @abstractmethod
    def recovered(self, node: Node, now: float = 0.0) -> None:
        """Offer ``node`` again: on trial, it accepted a connection."""

    @abstractmethod
    def undecided(self, node: Node, now: float) -> None:
        """An attempt ended before it showed whether ``node`` accepts connections: the next request may try it."""

    @abstractmethod
    def hold(self, node: Node) -> None:
        """The first request connects to ``node``: others go elsewhere until that is decided, if they can."""

    @abstractmethod
    def free(self, node: Node) -> None:
        """``node`` is held no longer, if it was: it accepted a connection."""

    @abstractmethod
    def offers_besides(self, node: Node) -> bool:
        """Whether a request could go to another node than ``node`` now, or wait for one as others do."""

    @abstractmethod
    def choose_past(self, passed: list[bytes], tried: Sequence[Node]) -> Node | None:
        """A node that is none of the routers which a request has ``passed``, and has none of them behind it."""


class Node(LevelNode):
    """One worker address of one key, with this relay's counters."""

    __slots__ = ("back_at", "closed_at", "cold_tx", "connect_deviation", "connect_mean", "disproofs",
                 "early_closes", "failures", "idle",
                 "internet", "keepalive", "key", "left_at", "lives", "modifier1", "modifier2", "options",
                 "passes", "pool", "probation", "protocol", "requests", "routers", "rx", "seen",
                 "seen_answers", "seen_errors", "session", "sessions", "sessions_until", "statuses",
                 "streak", "taken", "target", "timeouts", "times", "tx", "watch_again_at")  # fmt: skip

    def __init__(self, pool: NodePool, address: str) -> None:
        super().__init__(address, 1)
        self.pool = pool
        self.key = pool.key
        self.target: ConnectTarget = parse_target(address)
        self.internet = self.target[0] != AF_UNIX
        #: As control told them, but for ``max``, which is this relay's share.  What each request needs of them has an
        #: attribute of its own.
        self.options = DEFAULT
        #: How much of its ``max`` is other relays', which only finish what they have.
        self.taken = 0
        self.modifier1 = self.modifier2 = 0
        self.protocol = "uwsgi"
        #: The node is a router: its id, and those of the routers behind it.
        self.routers: list[bytes] = []
        #: How much it had sent when it joined, or came back, as long as it has sent no answer since; or -1 (limits.py).
        self.cold_tx = -1
        #: The value of the cookie of those clients that stay with it; empty: there are none.
        self.session = b""
        #: Until then those clients may have it although it drains.
        self.sessions_until = 0.0
        #: Seconds that they have from when that was told; 0: none.
        self.sessions = 0.0
        #: Seconds that connecting to it took where that was not done at once: the average (-1: not known) and
        #: the deviation from it (connect_times.py).
        self.connect_mean = -1.0
        self.connect_deviation = 0.0
        #: Requests that it was sent, and how many of them failed.
        self.requests = self.failures = 0
        #: Requests that it did not answer in time, a 504 each.
        self.timeouts = 0
        #: Answers to its requests by class, 1xx (a tunnel) to 5xx; the 502 or 504 in place of its own counts as 5xx.
        self.statuses = [0, 0, 0, 0, 0]
        #: How many answers, and errors among them, its pool's judge has taken in; it was ejected for those; and when it
        #: came back from that last (0: not lately).
        self.seen_answers = self.seen_errors = 0
        self.probation = False
        self.back_at = 0.0
        #: How long connecting and answering took; made when it takes its first request, if anything is measured.
        self.times: LatencyCounts | None = None
        #: Bytes that it sent, and bytes that it was sent.
        self.tx = self.rx = 0
        #: How often it joined, or could not be reached: who answers there next may be another process.
        self.lives = 0
        #: Monotonic time at which it left last; 0: never.
        self.left_at = 0.0
        #: Failures in a row.
        self.streak = 0
        #: The snapshot in which control named it last (replica.py).
        self.seen = 0
        #: Whether it keeps connections, and the descriptors of those that wait (idle_connections.py).
        self.keepalive = NO_KEEPALIVE
        #: Requests of uwsgi clients go to it as they came, and its answers to them: nothing is read on the way.
        self.passes = pool.rewriting is None
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

    def keep_connections(self, keepalive: int) -> None:
        """From now on it is known that, or whether, it keeps connections."""
        self.keepalive = keepalive
        self.passes = keepalive == NO_KEEPALIVE and self.pool.rewriting is None

    def count_status(self, status: bytes) -> bool:
        """An answer of this node with ``status`` began; one without a status that HTTP knows is in no class.

        Returns whether it is an error for which the node may be ejected."""
        at = status[0] - _FIRST_CLASS if status else -1
        if 0 <= at < len(self.statuses):
            self.statuses[at] += 1
        return at == ERRORS and self.pool.judge is not None

    def behind(self, routers: list[bytes]) -> bool:
        """True when the way to the worker leads through one of ``routers``."""
        return any(router in routers for router in self.routers)

    def __repr__(self) -> str:
        return f"<Node {self.key} {self.address} state {self.state}>"
