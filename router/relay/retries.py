"""Where one request has failed so far.  Pure: what is known, no rules (those are in attempts.py)."""

from __future__ import annotations

from fastroute.router.relay.node import Node


class Retries:
    """Of one request, made when it fails for the first time: most requests have none."""

    __slots__ = ("excluded", "failed", "retried", "tried")

    def __init__(self) -> None:
        #: Connects that failed.
        self.failed = 0
        #: The nodes where this request failed, in order.
        self.tried: list[Node] = []
        #: The one of them that closed without a byte: it is never asked again.
        self.excluded: Node | None = None
        #: The request is sent a second time, because a worker closed without a byte.
        self.retried = False
