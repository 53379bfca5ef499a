"""One request of an HTTP/1.1 client: what is known of it besides its vars, and how its answer is framed.  Pure."""

from __future__ import annotations

from fastroute.router.relay.http.framing import ClientFraming
from fastroute.router.relay.http.request_head import RequestHead
from fastroute.router.relay.http.request_vars import HttpPeer

#: Tells a client that waits for it to send its body.
CONTINUE_100 = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpExchange:
    """What a request has that came through an HTTP front: ``beginning`` of its body came with its ``head``."""

    __slots__ = ("ahead", "beginning", "chunked", "expects", "framing", "head", "head_only", "length", "peer", "safe",
                 "upgrade")  # fmt: skip

    def __init__(self, head: RequestHead, peer: HttpPeer, beginning: bytes, keep: bool) -> None:
        #: None: nobody asks for it any more.
        self.head: RequestHead | None = head
        self.peer = peer
        self.beginning = beginning
        #: The body comes in chunks; else it has ``length`` bytes.
        self.chunked = head.chunked
        self.length = head.length
        #: The client sends its body once it is told to.
        self.expects = head.expects
        self.upgrade = bool(head.upgrade)
        #: No answer to this has a body.
        self.head_only = head.method == b"HEAD"
        #: A GET or HEAD.
        self.safe = self.head_only or head.method == b"GET"
        #: Bytes from the client that are behind this request.
        self.ahead = b""
        self.framing = ClientFraming(keep and head.keep, head.http11)
