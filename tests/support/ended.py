"""A request that has ended, as the access log gets it, without the relay that carried it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

from fastroute.router.relay.access_line import Logged
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.sides import LINGER

#: An answered request.
ANSWERED: dict[str, object] = {
    "shown": None, "asked": b"foo.com", "node": None, "status": b"200", "fault": "", "tx": 43, "rx": 745, "end": 1,
    "attempts": 0, "again": False, "connect_time": 0.0, "answer_time": 0.0123, "began": 100.0, "seen": 100.0134,
    "state": LINGER, "down": b"", "worker_eof": False, "client_eof": False,
}  # fmt: skip


def ended_request(address: str = "", **values: Any) -> Logged:
    """:data:`ANSWERED` but for ``values``; ``address`` is of the node that was tried last."""
    node = Pool("foo.com", "wrr", random.Random()).put(address) if address else None
    return cast(Logged, SimpleNamespace(**{**ANSWERED, "node": node, **values}))
