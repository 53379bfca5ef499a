"""What nginx should serve: the desired states of all sources together, and keys that left a moment ago.  Pure.

A key that loses its last container is still known for ``KEY_GRACE`` seconds (503, not 404), like the router's
``--key-grace``: a container that is recreated is gone for a moment.  What a source wanted in the life before of this
controller counts until that source is heard, or all are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastroute.controller.desired import Desired, Route, RouteKey
from fastroute.controller.nginx_mode.nginx_config import AbsentContainer
from fastroute.controller.nginx_mode.reload_schedule import Urgency
from fastroute.controller.views import View

#: Seconds for which a key without containers is still known.
KEY_GRACE = 60.0


class DesiredRoutes:
    """The desired routes of all sources; ``parts`` is how many there are, ``stored`` are those of the life before, by
    source.  Times are monotonic seconds."""

    def __init__(self, parts: int = 0, stored: Mapping[str, Desired] | None = None) -> None:
        self._stored = dict(stored or {})
        self._parts: dict[int, Desired] = {}
        self._sources: dict[int, str] = {}
        self._left: dict[str, tuple[Route, float]] = {}
        self.expected = parts

    @property
    def complete(self) -> bool:
        """Every source has said something: what nginx serves from before may be replaced."""
        return len(self._parts) >= self.expected

    def put(self, part: int, source: str, desired: Desired, now: float) -> Urgency:
        """The new desired state of one source, and what of it nginx must know soon: nodes that no request should go to
        any more (``removal``), or keys that have no live node left (``urgent``)."""
        before = self.routes(now)
        live = _live(before)
        self._parts[part], self._sources[part] = desired, source
        self._stored.pop(source, None)
        if self.complete:
            self._stored.clear()
        keys = {key for key, _, _ in self._merged()}
        for route in before.values():
            if route.entry.key not in keys and route.entry.key not in self._left:
                self._left[route.entry.key] = (Route(route.entry.for_key, route.container), now + KEY_GRACE)
        for key in keys & self._left.keys():
            del self._left[key]
        left = _live(self._merged())
        if {key for key, _ in live} - {key for key, _ in left}:
            return "urgent"
        return "removal" if live - left else "none"

    def routes(self, now: float) -> dict[RouteKey, Route]:
        """All routes, with those keys that left a moment ago."""
        left = {route.id: route for route, until in self._left.values() if until > now}
        return {**self._merged(), **left}

    def expire(self, now: float) -> bool:
        """Forget keys whose time is over; true if there were any."""
        over = [key for key, (_, until) in self._left.items() if until <= now]
        for key in over:
            del self._left[key]
        return bool(over)

    @property
    def next_expiry(self) -> float | None:
        """When the next key is to be forgotten."""
        return min((until for _, until in self._left.values()), default=None)

    @property
    def sources(self) -> dict[str, Desired]:
        """What each source wants, those included that are not heard yet."""
        return self._stored | {self._sources[number]: part for number, part in self._parts.items()}

    def by_source(self, served: Desired) -> list[tuple[Desired, str]]:
        """``served``, split by source; a key that no source has any more is under the empty name."""
        owners = {(key, owner): source for source, part in self.sources.items() for key, _, owner in part}
        by_source: dict[str, dict[RouteKey, Route]] = {}
        for at, route in served.items():
            by_source.setdefault(owners.get((at[0], at[2]), ""), {})[at] = route
        return [(by_source[source], source) for source in sorted(by_source)]

    def _merged(self) -> dict[RouteKey, Route]:
        parts = [*self._stored.values(), *(self._parts[number] for number in sorted(self._parts))]
        return {at: route for part in parts for at, route in part.items()}


def _live(routes: Mapping[RouteKey, Route]) -> set[tuple[str, str]]:
    """Keys and addresses of the nodes that take new requests."""
    return {(key, address) for (key, address, _), route in routes.items() if address and not route.entry.drain}


def absences(views: Iterable[View], routes: Mapping[RouteKey, Route]) -> dict[str, tuple[AbsentContainer, ...]]:
    """The containers that are not in, by key ("" if their labels name none that counts), and why."""
    serving = {(key, address, route.container) for (key, address, _), route in routes.items() if address}
    absent_by_key: dict[str, list[AbsentContainer]] = {}
    for view in sorted(views, key=lambda view: (view.offer.name, view.offer.id)):
        offer = view.offer
        for status in offer.statuses:
            if (status.key, status.address, offer.name) not in serving:
                absent_by_key.setdefault(status.key, []).append(
                    AbsentContainer(offer.name, status.state, status.reason)
                )
        if not offer.statuses:
            absent_by_key.setdefault("", []).append(AbsentContainer(offer.name, offer.state, view.reason))
    return {key: tuple(dict.fromkeys(absent)) for key, absent in absent_by_key.items()}
