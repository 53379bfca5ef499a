"""``POST /v1/switch``: a key is served by the containers that it names alone, from the answer on.  An edge.

One change: each router gets it in one message, and gives it to each of its relays as one.  The answer comes once every
router has acked, or after the mode's time-out: it names the routers, and why one of them may not have it.  What can't
be done is refused with the reason, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastroute.controller.decide.messages import Message, OverrideTarget, SwitchRequest
from fastroute.controller.decide.switches import MAX_HOLD
from fastroute.controller.desired import RouteStatus
from fastroute.controller.mode import Mode
from fastroute.controller.override_api import ask_engines
from fastroute.controller.views import View
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import BodyTooLarge, read_body
from fastroute.router.protocol.entry import MAX_SESSIONS
from fastroute.router.protocol.key import KeyProblem, parse_key
from fastroute.router.protocol.node_options import MAX_WEIGHT
from fastroute.router.protocol.override_target import ContainerMatch, match_container
from fastroute.router.runtime.json_text import read_json

#: Seconds between two looks at what the routers have acked.
ACK_POLL_INTERVAL = 0.005
_EXPECTED = 'a JSON object like {"key": "foo.com", "to": ["web-3", "web-4"]} expected'
_NAMES = ("key", "to", "off", "weights", "hold", "sessions")


class SwitchRefused(ValueError):
    """The switch can't be made; ``status`` is the answer's."""

    def __init__(self, text: str, status: int = 409) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class SwitchChange:
    """What a request asks for, as far as it can be read; containers by the names that it has for them."""

    key: str
    to: tuple[str, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    hold: float = 0.0
    #: None: all others.
    off: tuple[str, ...] | None = None
    sessions: float = 0.0


@dataclass(frozen=True, slots=True)
class SwitchedContainers:
    """The containers that a change means, by id: names of those that serve, weights, and who serves no more."""

    to: Mapping[str, str]
    weights: Mapping[str, int]
    off: frozenset[str] | None


def read_switch(body: bytes) -> SwitchChange:
    """The change in the JSON ``body``; :class:`SwitchRefused` when it is not as expected."""
    try:
        request = read_json(body)
    except ValueError:
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("key"), str):
        raise SwitchRefused(_EXPECTED, 400)
    if unknown := sorted(set(request) - set(_NAMES)):
        raise SwitchRefused(f"{str(unknown[0])[:40]!r} is not known here: one of {', '.join(_NAMES)} expected", 400)
    try:
        key = parse_key(request["key"])
    except KeyProblem as problem:
        raise SwitchRefused(str(problem), 400) from None
    weights, hold = request.get("weights", {}), request.get("hold", 0)
    if not isinstance(weights, dict) or not all(
        type(weight) is int and 1 <= weight <= MAX_WEIGHT for weight in weights.values()
    ):
        raise SwitchRefused(f"weights: containers, each with a whole number from 1 to {MAX_WEIGHT}, expected", 400)
    sessions = request.get("sessions", 0)
    for name, value, limit in (("hold", hold, MAX_HOLD), ("sessions", sessions, MAX_SESSIONS)):
        if type(value) not in (int, float) or not 0 <= value <= limit:
            raise SwitchRefused(f"{name}: seconds from 0 to {limit:g} expected", 400)
    to, off = request.get("to", list(weights)), request.get("off")
    if off is not None and not _are_names(off):
        raise SwitchRefused("off: the containers that serve the key no more expected; absent: all others", 400)
    if not _are_names(to) or not to:
        raise SwitchRefused(
            f"to: the containers that serve the key from now on, at least one, expected; {_EXPECTED}", 400
        )
    leaving = None if off is None else tuple(off)
    return SwitchChange(key, tuple(dict.fromkeys(to)), weights, float(hold), leaving, float(sessions))


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def resolve(change: SwitchChange, views: Iterable[View]) -> SwitchedContainers:
    """The containers that ``change`` means; :class:`SwitchRefused` where one of them can't serve the key now."""
    known = list(views)
    if not any(status.key == change.key for view in known for status in view.offer.statuses):
        raise SwitchRefused(f"no labelled container has key {change.key[:80]!r}", 404)
    to = {name: _container(name, known) for name in change.to}
    weights = {_container(name, known).offer.id: weight for name, weight in change.weights.items()}
    ids = {view.offer.id for view in to.values()}
    if foreign := [name for name in change.weights if _container(name, known).offer.id not in ids]:
        raise SwitchRefused(f"container {foreign[0]} has a weight, but is not one of those that serve: add it to 'to'")
    for view in to.values():
        if problem := _unfit(view, change.key, weighted=view.offer.id in weights):
            raise SwitchRefused(f"container {view.offer.name} can't serve {change.key}: {problem}; nothing was changed")
    off = None if change.off is None else frozenset(_container(name, known).offer.id for name in change.off)
    if off is not None and (both := off & ids):
        name = next(view.offer.name for view in to.values() if view.offer.id in both)
        raise SwitchRefused(f"container {name} stands in 'to' and in 'off'; nothing was changed", 400)
    return SwitchedContainers({view.offer.id: view.offer.name for view in to.values()}, weights, off)


def _container(name: str, views: Sequence[View]) -> View:
    matches: dict[ContainerMatch, list[View]] = {match: [] for match in ContainerMatch}
    for view in views:
        matches[match_container(name, view.offer.id, view.offer.name)].append(view)
    candidates = matches[ContainerMatch.EXACT] or matches[ContainerMatch.PREFIX]
    if not candidates:
        raise SwitchRefused(f"no labelled container is called {name[:80]!r}; nothing was changed", 404)
    if len(candidates) > 1:
        names = ", ".join(sorted(view.offer.name for view in candidates)[:4])
        raise SwitchRefused(f"{name[:80]!r} is not one container: {names}; nothing was changed", 400)
    return candidates[0]


def _unfit(view: View, key: str, *, weighted: bool) -> str:
    """Why the container can't serve ``key`` now; empty: it can."""
    statuses = [status for status in view.offer.statuses if status.key == key]
    if not statuses:
        keys = ", ".join(dict.fromkeys(status.key for status in view.offer.statuses))
        return f"its labels name {keys}" if keys else f"it is {view.offer.state} ({view.offer.reason})"
    if not any(status.serves for status in statuses):
        return f"it is not ready: {view.offer.state} ({view.offer.reason})"
    if not weighted and not any(_label_weight(view, status) for status in statuses):
        return "its label says weight 0; a weight for it in 'weights' counts more"
    return ""


def _label_weight(view: View, status: RouteStatus) -> int:
    specs = (spec for spec in view.facts.labels.routes if status.key in spec.keys and status.port == spec.port)
    return max((spec.options.weight for spec in specs), default=0)


async def switch(
    request: Request, posts: Sequence[Callable[[Message], None]], views: Callable[[], Iterable[View]], mode: Mode
) -> Response:
    """Do what ``request`` asks for; the answer to the operator."""
    try:
        change = read_switch(await read_body(request))
        containers = resolve(change, views())
    except BodyTooLarge as error:
        return JSONResponse({"error": str(error)}, 400)
    except SwitchRefused as refused:
        return JSONResponse({"error": str(refused)}, refused.status)
    try:
        targets = await ask_engines(
            posts,
            lambda answer: SwitchRequest(
                change.key,
                frozenset(containers.to),
                containers.weights,
                change.hold,
                answer,
                containers.off,
                change.sessions,
            ),
        )
    except TimeoutError:
        return JSONResponse({"error": "the controller is busy; ask again"}, 503)
    lacking = await _settled(mode, targets)
    return JSONResponse(_answer(change, containers, targets, lacking))


async def _settled(mode: Mode, targets: Sequence[OverrideTarget]) -> dict[str, str]:
    """The routers, each with the reason why it has not acked; once all have, or it takes too long."""
    names = {(target.key, target.address, target.owner) for target in targets}
    for _ in range(int(mode.ack_timeout / ACK_POLL_INTERVAL)):
        if not any((lacking := mode.lacking(names)).values()):
            return lacking
        await asyncio.sleep(ACK_POLL_INTERVAL)
    return mode.lacking(names)


def _answer(
    change: SwitchChange,
    containers: SwitchedContainers,
    targets: Sequence[OverrideTarget],
    lacking: Mapping[str, str],
) -> dict[str, Any]:
    to, off = containers.to, containers.off
    others = {target.container for target in targets if off is None or target.owner.partition("@")[0] in off}
    return {
        "key": change.key,
        "to": sorted(to.values()),
        "off": sorted(others - set(to.values())),
        "weights": {to[id]: weight for id, weight in sorted(containers.weights.items())},
        "hold": change.hold,
        "sessions": change.sessions,
        "acked": not any(lacking.values()),
        "routers": [{"router": router, "problem": problem or None} for router, problem in lacking.items()],
    }
