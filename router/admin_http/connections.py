"""Connections to a server of ours that anybody may open: how many there may be, and which one gives way.

A connection that waits for its peer costs a descriptor for as long as the peer likes.  So each wait has a limit, and so
has their number: the newest one is taken, and the one that has waited the longest for its peer is ended.  Pure; the
servers say what their connections wait for.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Literal, Protocol

#: Connections of one server, at most, and taken from its queue in one go.
MAX_CONNECTIONS, ACCEPTS = 256, 32
#: Descriptors that are for neither: sockets, channels, files, and what is accepted before anything is ended.
RESERVED_DESCRIPTORS = 128

#: What a connection waits for, in the order in which they give way: its request, its reader, nothing.
REQUEST, READER, NOTHING = 0, 1, 2

Reason = Literal["slow", "limit"]


class ServerConnection(Protocol):
    """One connection."""

    #: When it began to wait for what it waits for.
    since: float

    @property
    def waits_for(self) -> int:
        """``REQUEST``, ``READER`` or ``NOTHING``."""

    def end(self) -> None:
        """Close it, now."""


class OpenConnections:
    """All connections of one server."""

    def __init__(self, limit: int | None = None) -> None:
        #: Connections at once, at most.
        self.limit = connection_limit() if limit is None else limit
        #: How many were ended by reason: ``slow`` (its peer took too long) or ``limit`` (there were too many).
        self.ended: dict[Reason, int] = {"slow": 0, "limit": 0}
        self._open: dict[ServerConnection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[ServerConnection]:
        return iter(self._open)

    def add(self, connection: ServerConnection) -> None:
        """A new one; if there are too many now, another one is ended."""
        if len(self._open) >= self.limit:
            self._end(min(self._open, key=_gives_way), "limit")
        self._open[connection] = None

    def remove(self, connection: ServerConnection) -> None:
        """It is closed."""
        self._open.pop(connection, None)

    def too_slow(self, connection: ServerConnection) -> None:
        """Its peer took too long."""
        if connection in self._open:
            self._end(connection, "slow")

    def _end(self, connection: ServerConnection, reason: Reason) -> None:
        self.ended[reason] += 1
        del self._open[connection]
        connection.end()


def _gives_way(connection: ServerConnection) -> tuple[int, float]:
    """The order in which connections are ended."""
    return connection.waits_for, connection.since


def connection_limit() -> int:
    """Connections that one of up to three servers may have in a process with this limit of descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft < 0 else max(16, min(MAX_CONNECTIONS, (soft - RESERVED_DESCRIPTORS) // 3))
