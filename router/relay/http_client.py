"""A client's connection at an HTTP front, which stays while one request after the other comes on it.

While a request is under way, the connection is the request's (request.py, transfer.py), which hands it back with the
bytes that it read behind its own end: the next request begins there.
"""

from __future__ import annotations

import socket
from typing import Any

from fastroute.router.relay.connection import Connection
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.partial_head import PartialHead
from fastroute.router.relay.http.request_vars import UNIX_CLIENT, HttpPeer


class HttpClient:
    """A connection that waits for a request, or has one under way."""

    __slots__ = ("ahead", "connection", "partial", "peer", "served", "since")

    def __init__(self, connection: Connection, peer: HttpPeer, now: float) -> None:
        self.connection = connection
        self.peer = peer
        #: Bytes that were read behind the last request; at most one chunk.
        self.ahead = b""
        #: The head that is coming in; None: none has begun.
        self.partial: PartialHead | None = None
        #: Monotonic time since which it waits for a request, or for the rest of a head.
        self.since = now
        #: It has had a request.
        self.served = False


class HttpListener:
    """What is known of all clients of one listening socket."""

    def __init__(self, listener: socket.SocketType, context: RelayContext) -> None:
        self._context = context
        self._inet = listener.family in (socket.AF_INET, socket.AF_INET6)
        self._port = b"%d" % listener.getsockname()[1] if self._inet else b""

    def peer_of(self, address: Any) -> HttpPeer:
        """Who has connected, by the ``address`` that accept gave."""
        context = self._context
        if not self._inet:
            return HttpPeer(UNIX_CLIENT, b"", b"", True, context.proxies, context.merges_slashes)
        host = str(address[0]).removeprefix("::ffff:")
        trusted = context.trusted.trusts(host)
        port = b"%d" % address[1]
        return HttpPeer(host.encode(), port, self._port, trusted, context.proxies, context.merges_slashes)
