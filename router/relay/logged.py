"""What of a request goes into its line of the access log: the part of a session that the log knows.  Pure.

A class of its own, so that a compiled log reads the fields of a session as a session does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastroute.router.relay.pool import Node

#: Values of REMOTE_ADDR, REMOTE_USER, REQUEST_METHOD, REQUEST_URI, SERVER_PROTOCOL, HTTP_REFERER, HTTP_USER_AGENT and
#: HTTP_X_REQUEST_ID; empty: not there.
Shown = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]

NOTHING: Final[Shown] = (b"", b"", b"", b"", b"", b"", b"", b"")


class Logged:
    """A request's fields for the log, set by whoever carries it.

    ``shown``: its vars.  ``status`` that the client got, and in ``fault`` why it is not the worker's.  ``tx``, ``rx``:
    bytes of the answer, and of the request as the worker got it.  ``connect_time``, ``answer_time``: seconds, negative
    when it did not come to that; ``began``, ``seen``: monotonic.  ``end``: where its vars end, 0 before they came.
    """

    __slots__ = ("again", "answer_time", "asked", "attempts", "began", "client_eof", "connect_time", "down", "end",
                 "fault", "node", "rx", "seen", "shown", "state", "status", "tx", "worker_eof")  # fmt: skip

    shown: Shown
    asked: bytes
    #: The last one tried.
    node: Node | None
    status: bytes
    fault: str
    tx: int
    rx: int
    end: int
    attempts: int
    again: bool
    connect_time: float
    answer_time: float
    began: float
    seen: float
    state: int
    down: bytes
    worker_eof: bool
    client_eof: bool
