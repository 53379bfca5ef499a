"""A request that has ended, as the access log gets it, without the relay that carried it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from fastroute.router.relay.access_line import AccessRecord
from fastroute.router.relay.vars import LogVars

#: The vars of vars.LogVars, in its order.
NAMES = (b"REMOTE_ADDR", b"REMOTE_USER", b"REQUEST_METHOD", b"REQUEST_URI", b"SERVER_PROTOCOL", b"HTTP_REFERER",
         b"HTTP_USER_AGENT", b"HTTP_X_REQUEST_ID", b"HTTP_X_REQUEST_START")  # fmt: skip
#: An answered request.
ANSWERED: dict[str, Any] = {
    "key": b"foo.com", "status": b"200", "fault": "", "sent": 43, "received": 745, "tries": 1, "connect_time": 0.0,
    "answer_time": 0.0123, "ended": 100.0134, "total_time": 0.0134, "sent_at": 100.0011, "waited": -1.0,
}  # fmt: skip


def ended_request(node: str = "", log_vars: Mapping[bytes, bytes] | None = None, **values: Any) -> AccessRecord:
    """:data:`ANSWERED` but for ``values``; ``node`` is the address that was tried last."""
    ordered = cast(LogVars, tuple((log_vars or {}).get(name, b"") for name in NAMES))
    return AccessRecord(log_vars=ordered, node=node, **{**ANSWERED, **values})
