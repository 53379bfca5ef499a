"""The counts of one node and of one key's queues, over all relays.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastroute.router.control.answer_counts import AnswerCounts
from fastroute.router.protocol.latency import WAITED


@dataclass(slots=True)
class NodeCounters:
    """The counts of one node, over all relays."""

    requests: int = 0
    failures: int = 0
    #: Bytes that the node sent, and bytes sent to it (as in uWSGI's stats).
    tx: int = 0
    rx: int = 0
    in_flight: int = 0
    #: Requests that it did not answer in time.
    timeouts: int = 0
    #: How often it was ejected, by one relay or several at once.
    ejections: int = 0
    #: None: it was not sent a request yet.
    answers: AnswerCounts | None = None
    #: Requests that it had when it was announced last.
    announced_at: int = 0
    #: Seconds since the epoch; 0: it has not failed.
    failed_at: float = 0.0
    #: Why it was ejected last.
    reason: str = ""
    #: Relays, as keys: an empty set takes 216 bytes, an empty dict 64.
    ejected_by: dict[int, None] = field(default_factory=dict)

    @property
    def ejected(self) -> bool:
        """True while at least one relay does not offer it requests, because connecting failed, or for its answers."""
        return bool(self.ejected_by)

    @property
    def last_requests(self) -> int:
        """Requests since the node was last announced."""
        return self.requests - self.announced_at


@dataclass(slots=True)
class WaitCounters:
    """Of one key, over all relays: its queues."""

    #: Requests that wait now.
    waiting: int = 0
    #: Requests that found the queue full.
    full: int = 0
    #: How long those waited that wait no more: a row like those of ``LatencyCounts``, by the bounds ``WAITED``.
    waited: list[float] = field(default_factory=lambda: [0] * (len(WAITED) + 2))
