"""``POST /v1/drain``, ``/v1/undrain`` and ``/v1/weight``: what operators want, told to the deciding threads.  An edge.

The answer comes when the sinks know, with the requests that still run on each node as far as the routers told by then;
``null`` where that is not known (a router that does not ack, nginx).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from fastroute.controller.decide.messages import Message, OverrideAnswer, OverrideRequest, OverrideTarget
from fastroute.controller.decide.overrides import AS_LABELLED
from fastroute.controller.views import InFlight
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import read_body
from fastroute.router.control.table.overrides import read_change
from fastroute.router.protocol.override_target import AmbiguousTarget

#: Seconds for the deciding threads, which answer within milliseconds.
DECISION_TIMEOUT = 5.0
#: Seconds for the routers' numbers of running requests, and between two looks at them.
COUNT_TIMEOUT, COUNT_POLL_INTERVAL = 2.0, 0.02


@dataclass(frozen=True, slots=True)
class OverrideChange:
    """A checked request; ``drain`` and ``weight`` are those of an
    :class:`~fastroute.controller.decide.messages.OverrideRequest`."""

    target: str
    drain: bool | None = None
    weight: int | None = None
    sessions: float = 0.0


async def read_override_change(request: Request) -> OverrideChange:
    """The change in ``request``, in the router's own words; ``ValueError`` says what is wrong with it."""
    target, change = read_change(request.url.path.rpartition("/")[2], await read_body(request))
    if change.verb != "weight":
        return OverrideChange(target, drain=change.verb == "drain", sessions=change.sessions)
    return OverrideChange(target, weight=AS_LABELLED if change.weight is None else change.weight)


async def operate(
    change: OverrideChange, posts: Sequence[Callable[[Message], None]], in_flight: Callable[[], InFlight | None]
) -> Response:
    """Tell every engine; the answer to the operator.  ``in_flight`` returns None where nobody counts requests."""
    try:
        targets = await ask_engines(
            posts, lambda answer: OverrideRequest(change.target, change.drain, change.weight, answer, change.sessions)
        )
    except AmbiguousTarget as error:
        return JSONResponse({"error": str(error)}, 400)
    except TimeoutError:
        return JSONResponse({"error": "the controller is busy; ask again"}, 503)
    if not targets:
        return JSONResponse({"error": f"no labelled container that runs is or has {change.target[:80]!r}"}, 404)
    numbers = in_flight()
    if numbers is not None and (change.drain or change.weight == 0):
        numbers = await _count(targets, in_flight)
    rows = [
        {
            "key": target.key,
            "address": target.address or None,
            "container": target.container,
            "in_flight": (numbers or {}).get((target.key, target.address, target.owner)),
        }
        for target in targets
    ]
    return JSONResponse({"targets": rows})


async def ask_engines(
    posts: Sequence[Callable[[Message], None]], make: Callable[[Callable[[OverrideAnswer], None]], Message]
) -> list[OverrideTarget]:
    """Tell every engine what ``make`` returns for its answer; the routes that it meant, once the sinks know."""
    loop, waiting = asyncio.get_running_loop(), []
    for post in posts:
        answered: asyncio.Future[OverrideAnswer] = loop.create_future()

        def answer(result: OverrideAnswer, answered: asyncio.Future[OverrideAnswer] = answered) -> None:
            loop.call_soon_threadsafe(lambda: None if answered.done() else answered.set_result(result))

        post(make(answer))
        waiting.append(answered)
    async with asyncio.timeout(DECISION_TIMEOUT):
        answers = await asyncio.gather(*waiting)
    if problem := next((answer for answer in answers if isinstance(answer, AmbiguousTarget)), None):
        raise problem
    return [target for answer in answers if not isinstance(answer, AmbiguousTarget) for target in answer]


async def _count(targets: Sequence[OverrideTarget], in_flight: Callable[[], InFlight | None]) -> InFlight:
    """Wait until the routers have counted what still runs, but not for long."""
    names = {(target.key, target.address, target.owner) for target in targets if target.address}
    for _ in range(int(COUNT_TIMEOUT / COUNT_POLL_INTERVAL)):
        numbers = in_flight() or {}
        if names <= numbers.keys():
            return numbers
        await asyncio.sleep(COUNT_POLL_INTERVAL)
    return in_flight() or {}
