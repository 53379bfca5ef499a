"""All offers together: one algorithm a key (the oldest container's), one container an address (the one started last).

Pure and incremental: a change costs what the keys concerned cost, not what all containers do, so that a removal stays
fast among thousands.  Which changes led here, and in which order, makes no difference to the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastroute.controller.desired import Offer, Route, RouteKey
from fastroute.controller.plan import Plan, plan

_Warnings = dict[str, list[str]]


class Assembly:
    """The desired state that all offers make.  ``routes`` is the whole of it."""

    def __init__(self) -> None:
        self.routes: dict[RouteKey, Route] = {}
        self._offers: dict[str, Offer] = {}
        self._by_key: dict[str, dict[str, Offer]] = {}
        self._by_address: dict[str, dict[str, Offer]] = {}
        # By key: its part of the routes, what is odd about it, and who lost its address there.
        self._routes: dict[str, dict[RouteKey, Route]] = {}
        self._warnings: dict[str, _Warnings] = {}
        self._displaced: dict[str, set[str]] = {}

    @property
    def warnings(self) -> Mapping[str, tuple[str, ...]]:
        """What people should know, by container id."""
        found: dict[str, dict[str, None]] = {}
        for key in sorted(self._warnings):
            for id, texts in self._warnings[key].items():
                found.setdefault(id, {}).update(dict.fromkeys(texts))
        return {id: tuple(texts) for id, texts in found.items()}

    @property
    def displaced(self) -> frozenset[str]:
        """Containers whose address another one has by now."""
        return frozenset().union(*self._displaced.values())

    def update(self, changes: Mapping[str, Offer | None]) -> Plan:
        """New offers by container id (``None``: it is gone); returns what changes in the routes."""
        keys: set[str] = set()
        addresses: set[str] = set()
        for id, offer in changes.items():
            for one in (self._offers.get(id), offer):
                keys.update(_keys(one))
                addresses.update(_addresses(one))
            self._put(id, offer)
        for address in addresses:
            for other in self._by_address.get(address, {}).values():
                keys.update(_keys(other))
        before: dict[RouteKey, Route] = {}
        after: dict[RouteKey, Route] = {}
        for key in keys:
            before.update(self._routes.pop(key, {}))
            after.update(self._assemble(key))
        for at in before.keys() - after.keys():
            del self.routes[at]
        self.routes.update(after)
        return plan(before, after)

    def _put(self, id: str, offer: Offer | None) -> None:
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

    def _assemble(self, key: str) -> dict[RouteKey, Route]:
        """The routes of one key; its warnings and who is displaced are kept."""
        offers = sorted(self._by_key.get(key, {}).values(), key=lambda offer: (offer.created_ns, offer.id))
        warnings: _Warnings = {}
        algorithm = _algorithm(key, offers, warnings)
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
                    text = f"its address {route.entry.address} is container {holder.name}'s by now"
                    _warn(warnings, offer, text)
                    route = Route(replace(route.entry, address="", weight=1, drain=False), route.container)
                if route.entry.algorithm != algorithm:
                    route = Route(replace(route.entry, algorithm=algorithm), route.container)
                routes[route.id] = route
        self._keep(key, routes, warnings, displaced)
        return routes

    def _holder(self, address: str, offer: Offer) -> Offer:
        """Docker hands out a freed address at once, so the last start counts."""
        rivals = self._by_address.get(address)
        if not address or rivals is None or len(rivals) == 1:
            return offer
        return max(rivals.values(), key=lambda rival: (rival.started_ns, rival.id))

    def _keep(self, key: str, routes: dict[RouteKey, Route], warnings: _Warnings, displaced: set[str]) -> None:
        """What is empty is not kept: keys come and go."""
        if routes:
            self._routes[key] = routes
        self._warnings.pop(key, None)
        if warnings:
            self._warnings[key] = warnings
        self._displaced.pop(key, None)
        if displaced:
            self._displaced[key] = displaced


def _algorithm(key: str, offers: list[Offer], warnings: _Warnings) -> str:
    """The algorithm of the oldest container which names one, those that serve before those that don't."""
    named = [
        (not route.entry.address, route.entry.algorithm, offer)
        for offer in offers
        for route in offer.routes
        if route.entry.algorithm and route.entry.key == key
    ]
    if not named:
        return ""
    _, word, winner = min(named, key=lambda one: one[0])
    for _, other, offer in named:
        if other != word:
            text = f"algorithm of {key}: {word} by container {winner.name} wins over {other} by container {offer.name}"
            _warn(warnings, winner, text)
            _warn(warnings, offer, text)
    return word


def _warn_of_projects(key: str, offers: list[Offer], warnings: _Warnings) -> None:
    """Once for each two projects: it is about them, not about how many containers they have."""
    first: dict[str, Offer] = {}
    for offer in offers:
        if offer.project and any(route.entry.key == key and route.entry.address for route in offer.routes):
            first.setdefault(offer.project, offer)
    serving = list(first.values())
    for one, other in ((serving[0], other) for other in serving[1:]):
        text = f"{key} is served by two compose projects, {one.project} (container {one.name})"
        text += f" and {other.project} (container {other.name})"
        _warn(warnings, one, text)
        _warn(warnings, other, text)


def _warn(warnings: _Warnings, offer: Offer, text: str) -> None:
    texts = warnings.setdefault(offer.id, [])
    if text not in texts:
        texts.append(text)


def _keys(offer: Offer | None) -> set[str]:
    return {route.entry.key for route in offer.routes} if offer else set()


def _addresses(offer: Offer | None) -> set[str]:
    return {route.entry.address for route in offer.routes if route.entry.address} if offer else set()
