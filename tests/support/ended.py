"""A request that has ended, as the access log gets it, without the relay that carried it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

from fastroute.router.relay.logged import Logged, Shown
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.sides import LINGER

#: The vars of logged.Shown, in its order.
NAMES = (b"REMOTE_ADDR", b"REMOTE_USER", b"REQUEST_METHOD", b"REQUEST_URI", b"SERVER_PROTOCOL", b"HTTP_REFERER",
         b"HTTP_USER_AGENT", b"HTTP_X_REQUEST_ID")  # fmt: skip
#: An answered request.
ANSWERED: dict[str, object] = {
    "asked": b"foo.com", "status": b"200", "fault": "", "tx": 43, "rx": 745, "end": 1, "attempts": 0, "again": False,
    "connect_time": 0.0, "answer_time": 0.0123, "began": 100.0, "seen": 100.0134, "state": LINGER, "down": b"",
    "worker_eof": False, "client_eof": False,
}  # fmt: skip


def ended_request(address: str = "", shown: Mapping[bytes, bytes] | None = None, **values: Any) -> Logged:
    """:data:`ANSWERED` but for ``values``; ``address`` is of the node that was tried last, ``shown`` are its vars."""
    one = Logged()
    one.node = Pool("foo.com", "wrr", random.Random()).put(address) if address else None
    one.shown = cast(Shown, tuple((shown or {}).get(name, b"") for name in NAMES))
    for name, value in {**ANSWERED, **values}.items():
        setattr(one, name, value)
    return one
