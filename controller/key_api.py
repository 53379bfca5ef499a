"""``POST /v1/pause``, ``/v1/resume`` and ``/v1/maintenance`` at the controller: told to all its routers.  An edge.

The answer comes when every router has acked, or after :data:`ACK_TIMEOUT`: it names the routers, and of those that have
not acked the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response

from fastroute.controller.decide.key_states import HeldKey
from fastroute.controller.key_holder import KeyHolder
from fastroute.controller.views import key_without_nodes
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import BodyTooLarge, read_body
from fastroute.router.protocol.key import KeyProblem, parse_key
from fastroute.router.protocol.key_state import SERVING, StateProblem, read_state_change
from fastroute.router.runtime.logs import timestamp

#: Seconds for the acks of all routers, which answer within milliseconds, and between two looks at them.
ACK_TIMEOUT, ACK_POLL_INTERVAL = 2.0, 0.01
#: What nginx mode says, which can hold no key.
_REFUSED = {
    "pause": "nginx mode has no queue in which requests could wait, so it can't pause a key: that needs router mode",
    "resume": "nginx mode can't pause a key or put it in maintenance, so there is nothing to resume",
    "maintenance": "nginx mode can't put a key in maintenance: that needs router mode, or a template of your own"
    " (docs/nginx-mode.md)",
}


async def change_key(request: Request, holder: KeyHolder | None, known: Callable[[str], bool]) -> Response:
    """Do what ``request`` asks for; ``known`` tells whether a key has a container or a static node."""
    verb, wall = request.url.path.rpartition("/")[2], time.time()
    try:
        change = read_state_change(verb, await read_body(request), int(wall * 1000))
        key = parse_key(change.key)
    except (StateProblem, KeyProblem, BodyTooLarge) as error:
        return JSONResponse({"error": str(error)}, 400)
    if holder is None:
        return JSONResponse({"error": _REFUSED[verb]}, 409)
    held: HeldKey | None = None
    if change.state is not None:
        held = holder.hold(key, change.state)
    elif not holder.release(key) and not known(key):
        return JSONResponse({"error": f"no container has key {key[:80]!r}, and it is held in no state"}, 404)
    routers = [{"router": router, "problem": problem or None} for router, problem in (await _settled(holder)).items()]
    return JSONResponse({"key": key, **key_state(held, time.monotonic(), time.time()), "routers": routers})


async def _settled(holder: KeyHolder) -> dict[str, str]:
    """The routers, each with the reason why it has not acked; once all have, or it takes too long."""
    for _ in range(int(ACK_TIMEOUT / ACK_POLL_INTERVAL)):
        if not any((routers := holder.routers()).values()):
            return routers
        await asyncio.sleep(ACK_POLL_INTERVAL)
    return holder.routers()


def key_state(held: HeldKey | None, now: float, wall: float) -> dict[str, object]:
    """What an operator holds a key in, as in a status; ``now`` is monotonic, ``wall`` the same since the epoch."""
    return {
        "state": SERVING if held is None else held.state.name,
        "until": None if held is None or held.until is None else timestamp(wall - now + held.until),
        "message": "" if held is None else held.state.message,
        "allow": [] if held is None else list(held.state.allow),
    }


def with_states(
    rows: Iterable[dict[str, object]], held: Iterable[HeldKey], now: float, wall: float
) -> list[dict[str, object]]:
    """``rows`` of keys with their states; keys that are held and have no container are added."""
    states = {each.key: each for each in held}
    known = {str(row["key"]): row for row in rows} | {
        key: key_without_nodes(key) for key in states.keys() - {row["key"] for row in rows}
    }
    return [{**known[key], **key_state(states.get(key), now, wall)} for key in sorted(known)]
