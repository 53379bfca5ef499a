"""Whether a request goes to the node with which its client stays (``sticky``), waits for that, or to any.

* The node is up, or drains and still has time for its sessions: the request goes there. While the node has as many
  requests as it may, or the key is paused, the request waits: in the queue of the key, but for that node alone, so that
  nobody who comes later gets that node, and nobody else waits for it. HAProxy does so; nginx and Traefik send it
  elsewhere at once, where the client's session may not be known.
* It has waited for as long as it may, or may not wait: it goes to any node, which is its client's from then on.
* There is no such node (it left, is ejected, or the cookie is forged): the same.
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.cookies import SessionCookie
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.request import Request

TAKE_ANY: Final = 0
TAKE_OWN: Final = 1
AWAIT_OWN: Final = 2


def choose_session(request: Request, pool: Pool, cookie: SessionCookie) -> tuple[int, Node | None]:
    """``TAKE_ANY``, or what to do and the client's node."""
    context, retries, waiting = request.context, request.retries, pool.waiting
    if retries is not None and retries.session_over:
        return TAKE_ANY, None
    values = cookie.values(request.packet, request.end)
    node = pool.sessions.find(values, context.now) if values else None
    if node is None:
        return TAKE_ANY, None
    closed = pool.levels.closed and not (waiting is not None and waiting.passes(request.client_address))
    its_turn = retries is not None and retries.waiter is not None and retries.waiter.entry != 0
    if not closed and node.has_room and (its_turn or not node.claimed):
        return TAKE_OWN, node
    wait = context.wait if pool.options.wait is None else pool.options.wait
    return (AWAIT_OWN, node) if wait > 0 or closed else (TAKE_ANY, None)
