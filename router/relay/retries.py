"""Where one request has failed so far, and how it waited.  What is known, no rules (those are in attempts.py)."""

from __future__ import annotations

from fastroute.router.relay.connect_probe import ConnectProbe
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.waiting import Waiter


class Retries:
    """Of one request, made when it fails or waits for the first time: most requests have none."""

    __slots__ = ("excluded", "excluded_life", "failed", "failed_before", "home", "probe", "retried", "session_over",
                 "tried", "waiter", "wanted")  # fmt: skip

    def __init__(self) -> None:
        #: Connects that failed, and how many of them before it waited last.
        self.failed = self.failed_before = 0
        #: The nodes where this request failed, in order, since it waited last.
        self.tried: list[Node] = []
        #: The one of them that closed without a byte, and which life of it that was (Node.lives): it is never asked
        #: again.
        self.excluded: Node | None = None
        self.excluded_life = 0
        #: The request is sent a second time, because a worker closed without a byte.
        self.retried = False
        #: Its place in a queue (None: it has not waited), and the pool for which it waits, or waited last.
        self.waiter: Waiter | None = None
        self.home: Pool | None = None
        #: The node that it waits for, as its client stays with that; None: any will do.
        self.wanted: Node | None = None
        #: It has waited for that node for as long as it may: any will do now.
        self.session_over = False
        #: Tries whether the node that broke off still accepts connections.
        self.probe: ConnectProbe | None = None

    @property
    def first_try(self) -> bool:
        """True while it has only waited since it came, or since it failed."""
        return self.waiter is not None and not self.tried and not self.retried
