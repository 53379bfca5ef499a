"""All offers together: one value a setting of a key (the oldest container's), one container an
address.

Docker hands out a freed address at once, so of several containers at one address the one started last has it.  Those
that share a network have the address in common; of them, the one started first has the port.  With ``exclusive``, a key
belongs to one compose project, and stays its own for ``KEY_HOLD_TIME`` seconds after its last container, as a
redeploy needs.

Pure and incremental: a change costs what the keys concerned cost, not what all containers do, so that a removal stays
fast among thousands.  Which changes led here, and in which order, makes no difference to the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, replace
from typing import TypeVar

from fastroute.controller.desired import ContainerRoutes, Route, RouteDiff, RouteKey
from fastroute.router.protocol.node_options import KEY_SETTINGS, non_defaults, text_of, with_key_options

_Warnings = dict[str, list[str]]
_T = TypeVar("_T", bound=Sized)

#: Seconds that a key stays its project's without a container of it that runs.
KEY_HOLD_TIME = 60.0


@dataclass(slots=True)
class _ProjectClaim:
    """Whose key it is; ``until``: without a container of that project, no longer than then."""

    project: str
    until: float | None = None


class Assembly:
    """The desired state that all offers make.  ``routes`` is the whole of it; times are monotonic seconds."""

    def __init__(self, *, exclusive: bool = False) -> None:
        self._exclusive = exclusive
        self._claims: dict[str, _ProjectClaim] = {}
        self.routes: dict[RouteKey, Route] = {}
        self._offers: dict[str, ContainerRoutes] = {}
        self._by_key: dict[str, dict[str, ContainerRoutes]] = {}
        self._by_address: dict[str, dict[str, ContainerRoutes]] = {}
        # By key: its part of the routes, what is odd about it, who lost its address there, and who is refused why.
        self._routes: dict[str, dict[RouteKey, Route]] = {}
        self._warnings: dict[str, _Warnings] = {}
        self._displaced: dict[str, set[str]] = {}
        self._refused: dict[str, dict[str, str]] = {}

    @property
    def warnings(self) -> Mapping[str, tuple[str, ...]]:
        """What people should know, by container id."""
        by_id: dict[str, dict[str, None]] = {}
        for key in sorted(self._warnings):
            for id, texts in self._warnings[key].items():
                by_id.setdefault(id, {}).update(dict.fromkeys(texts))
        return {id: tuple(texts) for id, texts in by_id.items()}

    @property
    def displaced(self) -> frozenset[str]:
        """Containers whose address another one has by now."""
        return frozenset().union(*self._displaced.values())

    @property
    def refused(self) -> Mapping[str, Mapping[str, str]]:
        """Containers that can't have what their labels ask for: by id, key to reason."""
        by_id: dict[str, dict[str, str]] = {}
        for key in sorted(self._refused):
            for id, reason in self._refused[key].items():
                by_id.setdefault(id, {})[key] = reason
        return by_id

    @property
    def due(self) -> float | None:
        """When :meth:`update` has to be called again although no offer changed."""
        return min((claim.until for claim in self._claims.values() if claim.until is not None), default=None)

    def update(self, changes: Mapping[str, ContainerRoutes | None], now: float = 0.0) -> RouteDiff:
        """New offers by container id (``None``: it is gone); returns what changes in the routes."""
        keys = {key for key, claim in self._claims.items() if claim.until is not None and claim.until <= now}
        addresses: set[str] = set()
        for id, offer in changes.items():
            for either in (self._offers.get(id), offer):
                keys.update(_keys(either))
                addresses.update(_addresses(either))
            self._put(id, offer)
        for address in addresses:
            for other in self._by_address.get(address, {}).values():
                keys.update(_keys(other))
        before: dict[RouteKey, Route] = {}
        after: dict[RouteKey, Route] = {}
        for key in keys:
            before.update(self._routes.pop(key, {}))
            after.update(self._assemble(key, now))
        for at in before.keys() - after.keys():
            del self.routes[at]
        self.routes.update(after)
        return RouteDiff.between(before, after)

    def _put(self, id: str, offer: ContainerRoutes | None) -> None:
        old = self._offers.pop(id, None)
        for index, names in ((self._by_key, _keys(old)), (self._by_address, _addresses(old))):
            for name in names:
                del index[name][id]
                if not index[name]:
                    del index[name]
        if offer is not None:
            self._offers[id] = offer
            for index, names in ((self._by_key, _keys(offer)), (self._by_address, _addresses(offer))):
                for name in names:
                    index.setdefault(name, {})[id] = offer

    def _assemble(self, key: str, now: float) -> dict[RouteKey, Route]:
        """The routes of one key; its warnings, who is displaced and who is refused are kept."""
        offers = sorted(self._by_key.get(key, {}).values(), key=lambda offer: (offer.created_ns, offer.id))
        warnings: _Warnings = {}
        refused = self._foreign(key, offers, now) if self._exclusive else {}
        offers = [offer for offer in offers if offer.id not in refused]
        shared = _key_options(key, offers, warnings)
        _warn_of_projects(key, offers, warnings)
        routes: dict[RouteKey, Route] = {}
        displaced: set[str] = set()
        for offer in offers:
            for route in offer.routes:
                if route.entry.key != key:
                    continue
                holder = self._holder(route.entry.address, offer)
                if holder is not offer:
                    displaced.add(offer.id)
                    refused[offer.id] = _taken(route.entry.address, offer, holder)
                    route = Route(route.entry.for_key, route.container)
                if (options := with_key_options(route.entry.options, shared)) != route.entry.options:
                    route = Route(replace(route.entry, options=options), route.container)
                routes[route.id] = route
        _keep(self._routes, key, routes)
        _keep(self._warnings, key, warnings)
        _keep(self._displaced, key, displaced)
        _keep(self._refused, key, refused)
        return routes

    def _holder(self, address: str, offer: ContainerRoutes) -> ContainerRoutes:
        """Whose container's ``address`` is, if ``offer`` says that it is its own."""
        rivals = self._by_address.get(address)
        if not address or rivals is None or len(rivals) == 1:
            return offer
        by_space: dict[str, list[ContainerRoutes]] = {}
        for rival in rivals.values():
            by_space.setdefault(rival.port_namespaces.get(address) or rival.id, []).append(rival)
        newest = max(by_space.values(), key=lambda sharing: max((rival.started_ns, rival.id) for rival in sharing))
        return min(newest, key=lambda rival: (rival.started_ns, rival.id))

    def _foreign(self, key: str, offers: list[ContainerRoutes], now: float) -> dict[str, str]:
        """Who of ``offers`` is refused because ``key`` is another project's."""
        running = [offer for offer in offers if offer.owner]
        claim = self._claims.get(key)
        if claim is not None and not any(offer.project == claim.project for offer in running):
            claim.until = now + KEY_HOLD_TIME if claim.until is None else claim.until
            if claim.until <= now:
                claim = None
        elif claim is not None:
            claim.until = None
        if claim is None:
            self._claims.pop(key, None)
            if not running:
                return {}
            claim = self._claims[key] = _ProjectClaim(running[0].project)
        whose = _project(claim.project)
        first = next((offer.name for offer in running if offer.project == claim.project), "gone since a moment ago")
        reason = f"{key} is served by {whose} (container {first}); with --exclusive-keys by nobody else"
        return {offer.id: reason for offer in offers if offer.project != claim.project}


def _keep(parts: dict[str, _T], key: str, part: _T) -> None:
    """What is empty is not kept: keys come and go."""
    parts.pop(key, None)
    if part:
        parts[key] = part


def _taken(address: str, offer: ContainerRoutes, holder: ContainerRoutes) -> str:
    if offer.port_namespaces.get(address) and offer.port_namespaces.get(address) == holder.port_namespaces.get(address):
        return f"{address} is container {holder.name}'s already, which shares the network with it"
    return f"its address {address} is container {holder.name}'s by now"


def _project(name: str) -> str:
    return f"compose project {name}" if name else "containers outside compose"


def _key_options(key: str, offers: list[ContainerRoutes], warnings: _Warnings) -> dict[str, object]:
    """Each setting of the key as the oldest container says it which does, those that serve before those that don't."""
    spoken: dict[str, list[tuple[bool, object, ContainerRoutes]]] = {}
    for offer in offers:
        for route in offer.routes:
            if route.entry.key == key:
                for name, value in non_defaults(route.entry.options, KEY_SETTINGS).items():
                    spoken.setdefault(name, []).append((not route.entry.address, value, offer))
    return {name: _winner(key, name, values, warnings) for name, values in spoken.items()}


def _winner(key: str, name: str, values: list[tuple[bool, object, ContainerRoutes]], warnings: _Warnings) -> object:
    _, value, winner = min(values, key=lambda row: row[0])
    for _, other, offer in values:
        if other != value:
            text = f"{name} of {key}: {text_of(value)} by container {winner.name} wins over {text_of(other)}"
            text += f" by container {offer.name}"
            _warn(warnings, winner, text)
            _warn(warnings, offer, text)
    return value


def _warn_of_projects(key: str, offers: list[ContainerRoutes], warnings: _Warnings) -> None:
    """Once for each two projects: it is about them, not about how many containers they have."""
    first: dict[str, ContainerRoutes] = {}
    for offer in offers:
        if offer.project and any(route.entry.key == key and route.entry.address for route in offer.routes):
            first.setdefault(offer.project, offer)
    serving = list(first.values())
    for first_offer, other in ((serving[0], other) for other in serving[1:]):
        text = f"{key} is served by two compose projects, {first_offer.project} (container {first_offer.name})"
        text += f" and {other.project} (container {other.name})"
        _warn(warnings, first_offer, text)
        _warn(warnings, other, text)


def _warn(warnings: _Warnings, offer: ContainerRoutes, text: str) -> None:
    texts = warnings.setdefault(offer.id, [])
    if text not in texts:
        texts.append(text)


def _keys(offer: ContainerRoutes | None) -> set[str]:
    return {route.entry.key for route in offer.routes} if offer else set()


def _addresses(offer: ContainerRoutes | None) -> set[str]:
    return {route.entry.address for route in offer.routes if route.entry.address} if offer else set()
