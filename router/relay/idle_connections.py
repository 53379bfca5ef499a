"""Connections that workers keep after an answer, and which of them a request may have.  Pure: descriptors are numbers.

Who keeps (``Node.keepalive``):

* ``ALWAYS``: a worker that speaks HTTP/1.1, where the answer itself says so.
* ``NEVER``: a uwsgi worker, as far as anybody knows.  uWSGI closes after each answer, and nothing is spent on it.
* ``PERHAPS``: a uwsgi worker was seen to hold a connection after the client had left.  From now on the ends of its
  answers are looked for.  It may only have been slow to close, so a connection must have waited for ``PROOF`` seconds,
  and is tried with a GET or HEAD.  One such answer proves it: ``ALWAYS``.  A few that were closed at once disprove it:
  ``NEVER``, and not asked again for a while, longer each time.

Which connection (what a worker may have begun is never sent twice, docs/reference/requests.md): the one that waits the
shortest; under ``FRESH`` seconds any request, else only GET and HEAD.  Any byte on a waiting connection, and it is
closed.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.pool import ALWAYS, NEVER, PERHAPS, READY, Node

#: Seconds that a connection may have waited for a request that can't be repeated (Node, gunicorn close after 2 and 5).
FRESH: Final = 1.0
#: Seconds that a connection waits at most.
LONGEST: Final = 30.0
#: Connections that wait for one node, at most; a relay has as many requests at one node at a time, or more.
MOST: Final = 64
#: As long as nothing is proved.
FEW: Final = 4
#: Seconds after which a uwsgi worker that has not closed means to keep.
PROOF: Final = 0.5
#: Seconds (a worker that restarts closes many within one) in which connections were closed before they were used, and
#: none was used in between, until a uwsgi worker counts as one that closes.
CLOSED_AT_ONCE: Final = 8
#: Seconds until such a worker is watched again; doubled each time, up to the last.
FIRST_DOUBT: Final = 5.0
LAST_DOUBT: Final = 3600.0


class IdleConnections:
    """All waiting connections of a relay, ``limit`` at most.  Whoever takes one out closes or uses it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: descriptor -> node and since when it waits; newest last.
        self.waiting: dict[int, tuple[Node, float]] = {}

    def put(self, node: Node, fd: int, now: float) -> bool:
        """``fd`` waits for the next request.  False when there is no room, or no next request: close it."""
        most = MOST if node.keepalive == ALWAYS else FEW
        if len(self.waiting) >= self.limit or len(node.idle) >= most or node.state != READY or not node.keepalive:
            return False
        self.waiting[fd] = node, now
        node.idle.append(fd)
        return True

    def take(self, node: Node, now: float, safe: bool) -> int:
        """A connection for a request; ``safe``: a GET or HEAD without body.  -1 when none may be used."""
        if not node.idle or node.state != READY:
            return -1
        if node.keepalive == ALWAYS:
            fd = node.idle[-1]
            if not safe and now - self.waiting[fd][1] >= FRESH:
                return -1
            node.idle.pop()
        else:
            fd = node.idle[0]
            if not safe or now - self.waiting[fd][1] < PROOF:
                return -1
            del node.idle[0]
        del self.waiting[fd]
        return fd

    def closed(self, fd: int, now: float) -> None:
        """``fd`` waits no more: its worker closed it, or sent what nobody asked for."""
        node, since = self.waiting.pop(fd)
        node.idle.remove(fd)
        if now - since < PROOF:
            closed_at_once(node, now)

    def drop(self, node: Node) -> list[int]:
        """All connections of ``node``, to be closed."""
        fds = [*node.idle]
        node.idle.clear()
        for fd in fds:
            del self.waiting[fd]
        return fds

    def expire(self, now: float) -> list[int]:
        """Those that waited for too long, or whose node takes no requests, to be closed."""
        over = [
            fd
            for fd, (node, since) in self.waiting.items()
            if now - since >= LONGEST or node.state != READY or not node.keepalive
        ]
        for fd in over:
            node, _ = self.waiting.pop(fd)
            node.idle.remove(fd)
        return over

    def close_all(self) -> list[int]:
        """All, to be closed; none is kept from now on."""
        self.limit = 0
        fds = [*self.waiting]
        for node, _ in self.waiting.values():
            node.idle.clear()
        self.waiting.clear()
        return fds


def held(node: Node, now: float) -> None:
    """A uwsgi worker did not close although its client had left, perhaps with the whole answer."""
    if node.keepalive == NEVER and now >= node.watch_again_at:
        node.keepalive = PERHAPS
        node.closed_at_once = 0


def answered(node: Node) -> None:
    """An answer came on a connection that had waited."""
    node.keepalive = ALWAYS
    node.closed_at_once = 0
    node.disproofs = 0


def closed_at_once(node: Node, now: float) -> None:
    """A connection that seemed to be kept was not."""
    if node.protocol != "uwsgi" or node.keepalive == NEVER or (node.keepalive == ALWAYS and now - node.closed_at < 1.0):
        return
    node.closed_at = now
    node.closed_at_once += 1
    if node.keepalive == PERHAPS or node.closed_at_once >= CLOSED_AT_ONCE:
        _disprove(node, now)


def ended_by_closing(node: Node, now: float) -> None:
    """An answer had no other end than the worker's close: some have none, but who never has another keeps nothing."""
    if node.keepalive == PERHAPS:
        node.closed_at_once += 1
        if node.closed_at_once >= CLOSED_AT_ONCE:
            _disprove(node, now)


def _disprove(node: Node, now: float) -> None:
    node.keepalive = NEVER
    node.watch_again_at = now + min(FIRST_DOUBT * 2.0 ** min(node.disproofs, 16), LAST_DOUBT)
    node.disproofs += 1
