"""Connections that workers keep after an answer, and which of them a request may have.  Pure: descriptors are numbers.

Which workers keep them (``Node.keepalive``):

* ``KEEPALIVE``: a worker that speaks HTTP/1.1, where the answer itself says so.
* ``NO_KEEPALIVE``: a uwsgi worker, as far as anybody knows.  uWSGI closes after each answer, so nothing is spent on it.
* ``PERHAPS_KEEPALIVE``: a uwsgi worker that was seen to hold a connection after the client had left.  From then on the
  ends of its answers are looked for.  It may only have been slow to close, so a connection must have waited for
  ``KEEPALIVE_PROOF_TIME`` seconds, and is tried with a GET or HEAD.  One such answer proves it: ``KEEPALIVE``.  A few
  connections that were closed early disprove it: ``NO_KEEPALIVE``, and the worker is not watched again for a while,
  which gets longer each time.

Which connection a request gets (what a worker may have begun is never sent twice, docs/reference/requests.md): the one
that has waited the shortest.  Under ``MAX_IDLE_UNREPEATABLE`` seconds any request may have it, later only GET and HEAD.
A connection on which a byte arrives while it waits is closed (upstream.py says how that is made sure).
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.level import FULL
from fastroute.router.relay.node import KEEPALIVE, NO_KEEPALIVE, PERHAPS_KEEPALIVE, Node
from fastroute.router.runtime.backoff import doubled

#: Seconds that a connection may have waited for a request that can't be repeated (Node, gunicorn close after 2 and 5).
MAX_IDLE_UNREPEATABLE: Final = 1.0
#: Seconds that a connection waits at most.
MAX_IDLE_TIME: Final = 30.0
#: Connections that wait for one node, at most; a relay has as many requests at one node at a time, or more.
MAX_IDLE_PER_NODE: Final = 64
#: The same for a node of which it is not proved yet that it keeps connections.
MAX_IDLE_UNPROVEN: Final = 4
#: Seconds for which a uwsgi worker must have held a connection: one that only was slow has closed it by then.
KEEPALIVE_PROOF_TIME: Final = 0.5
#: Connections closed before they were used, with none used in between, after which a uwsgi worker counts as one that
#: closes.  Those within ``EARLY_CLOSE_INTERVAL`` seconds count as one: a worker that restarts closes all at once.
MAX_EARLY_CLOSES: Final = 8
EARLY_CLOSE_INTERVAL: Final = 1.0
#: Seconds until such a worker is watched again; doubled each time, up to the last.
FIRST_WATCH_PAUSE: Final = 5.0
MAX_WATCH_PAUSE: Final = 3600.0


class IdleConnections:
    """All idle connections of a relay.  The caller closes or uses what it takes out."""

    def __init__(self, limit: int) -> None:
        #: How many there may be.
        self.limit = limit
        #: By descriptor: its node, and the time since which it waits; the newest last.
        self.waiting: dict[int, tuple[Node, float]] = {}

    def put(self, node: Node, fd: int, now: float) -> bool:
        """Keep ``fd`` for the next request.  Returns False when there is no room for it: the caller closes it."""
        max_idle = MAX_IDLE_PER_NODE if node.keepalive == KEEPALIVE else MAX_IDLE_UNPROVEN
        if len(self.waiting) >= self.limit or len(node.idle) >= max_idle or node.state > FULL or not node.keepalive:
            return False
        self.waiting[fd] = node, now
        node.idle.append(fd)
        return True

    def take(self, node: Node, now: float, safe: bool) -> int:
        """Take out a connection for a request; ``safe``: it is a GET or HEAD without body.  -1: none may be used."""
        if not node.idle or node.state > FULL:
            return -1
        if node.keepalive == KEEPALIVE:
            fd = node.idle[-1]
            if not safe and now - self.waiting[fd][1] >= MAX_IDLE_UNREPEATABLE:
                return -1
            node.idle.pop()
        else:
            fd = node.idle[0]
            if not safe or now - self.waiting[fd][1] < KEEPALIVE_PROOF_TIME:
                return -1
            del node.idle[0]
        del self.waiting[fd]
        return fd

    def closed(self, fd: int, now: float) -> None:
        """Take out ``fd``: its worker closed it, or sent something without a request."""
        node, since = self.waiting.pop(fd)
        node.idle.remove(fd)
        if now - since < KEEPALIVE_PROOF_TIME:
            connection_closed_early(node, now)

    def drop(self, node: Node) -> list[int]:
        """Take out all connections of ``node``; the caller closes them."""
        fds = [*node.idle]
        node.idle.clear()
        for fd in fds:
            del self.waiting[fd]
        return fds

    def expire(self, now: float) -> list[int]:
        """Take out those that waited for too long, or whose node takes no requests; the caller closes them."""
        expired = [
            fd
            for fd, (node, since) in self.waiting.items()
            if now - since >= MAX_IDLE_TIME or node.state > FULL or not node.keepalive
        ]
        for fd in expired:
            node, _ = self.waiting.pop(fd)
            node.idle.remove(fd)
        return expired

    def close_all(self) -> list[int]:
        """Take out all; the caller closes them.  None is kept from now on."""
        self.limit = 0
        fds = [*self.waiting]
        for node, _ in self.waiting.values():
            node.idle.clear()
        self.waiting.clear()
        return fds


def connection_held(node: Node, now: float) -> None:
    """Note that a uwsgi worker did not close although the client had left, perhaps with the whole answer."""
    if node.keepalive == NO_KEEPALIVE and now >= node.watch_again_at:
        node.keep_connections(PERHAPS_KEEPALIVE)
        node.early_closes = 0


def reuse_answered(node: Node) -> None:
    """Note that an answer came on a connection that had waited."""
    node.keep_connections(KEEPALIVE)
    node.early_closes = 0
    node.disproofs = 0


def connection_closed_early(node: Node, now: float) -> None:
    """Note that a connection which seemed to be kept was closed by the worker."""
    if (
        node.protocol != "uwsgi"
        or node.keepalive == NO_KEEPALIVE
        or (node.keepalive == KEEPALIVE and now - node.closed_at < EARLY_CLOSE_INTERVAL)
    ):
        return
    node.closed_at = now
    node.early_closes += 1
    if node.keepalive == PERHAPS_KEEPALIVE or node.early_closes >= MAX_EARLY_CLOSES:
        _disprove(node, now)


def answer_ended_by_close(node: Node, now: float) -> None:
    """Note that an answer ended only with the connection.  A worker whose answers all end so keeps no connections."""
    if node.keepalive == PERHAPS_KEEPALIVE:
        node.early_closes += 1
        if node.early_closes >= MAX_EARLY_CLOSES:
            _disprove(node, now)


def _disprove(node: Node, now: float) -> None:
    node.keep_connections(NO_KEEPALIVE)
    node.watch_again_at = now + doubled(FIRST_WATCH_PAUSE, MAX_WATCH_PAUSE, node.disproofs)
    node.disproofs += 1
