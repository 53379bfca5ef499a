"""What operators want otherwise than labels say: drained nodes, other weights.  Pure.

An override belongs to one start of one container (its owner) and one of its routes, named by key and port, as its
address may change while it lives.  It holds until it is undone or that start ends, through restarts of the controller:
:meth:`OverrideStore.as_json` is what a state file keeps.  Switches of whole keys (:mod:`.switches`) stand above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.messages import OverrideTarget
from fastroute.controller.decide.route_override import KeyPort, OverrideMap, RouteOverride
from fastroute.controller.decide.switches import Switch, SwitchStore
from fastroute.controller.desired import ContainerRoutes, RouteStatus
from fastroute.router.protocol.node_options import MAX_WEIGHT
from fastroute.router.protocol.override_target import AmbiguousTarget, ContainerMatch, match_container, node_forms

_VERSION = 1
#: The weight in a request that undoes an earlier one.
AS_LABELLED = -1


class OverrideStore:
    """All overrides of one engine.  ``kept`` is what the last :class:`~.messages.Keep` order of the controller's last
    life had in it; ``changed``: something has to be kept."""

    def __init__(self, kept: object = None) -> None:
        self._by_id: dict[str, tuple[str, dict[KeyPort, RouteOverride]]] = {}
        self.switches = SwitchStore(kept.get("switches") if isinstance(kept, dict) else None)
        self.changed = False
        #: When the sessions of drained routes end; None: the time was not looked at since they were drained.
        self._session_ends: dict[tuple[str, KeyPort], float | None] = {}
        self._answers: list[m.Order] = []
        for row in _rows(kept):
            self._put(row[0], (row[1], row[2]), row[3])
            if row[3].sessions:
                self._session_ends[row[0].partition("@")[0], (row[1], row[2])] = None

    def of(self, id: str, owner: str) -> OverrideMap:
        """The overrides of this start of container ``id``, by key and port."""
        known = self._by_id.get(id)
        return known[1] if known and known[0] == owner else {}

    def take(
        self,
        request: m.OverrideRequest | m.SwitchRequest,
        offers: Iterable[ContainerRoutes],
        now: float,
        write: m.Write,
    ) -> dict[str, str]:
        """What an operator wants of ``offers``: done at once, answered after the sink knows.  Returns the ids of the
        containers concerned, with the cause to evaluate them again; ``write`` takes what the event log should say."""
        if isinstance(request, m.SwitchRequest):
            return self._switch(request, offers, now, write)
        return self._override(request, offers, write)

    def _override(
        self, request: m.OverrideRequest, offers: Iterable[ContainerRoutes], write: m.Write
    ) -> dict[str, str]:
        try:
            matches = _find(request.target, offers)
        except AmbiguousTarget as error:
            self._answers.append(m.AnswerOperator(request.answer, error))
            return {}
        weight = "as labelled" if request.weight == AS_LABELLED else request.weight
        effect = {True: "drain", False: "undrain", None: f"weight {weight}"}[request.drain]
        effect += f", its sessions {request.sessions:g} s later" if request.sessions else ""
        targets: list[OverrideTarget] = []
        ended: set[str] = set()
        for offer, statuses in matches:
            places = [(status.key, status.port) for status in statuses]
            self.change(offer.id, offer.owner, places, request.drain, request.weight, request.sessions)
            ended |= self.switches.steered(offer.id, [key for key, _ in places], request.drain, request.weight)
            targets += [OverrideTarget(offer.owner, offer.name, status.key, status.address) for status in statuses]
            keys = ", ".join(dict.fromkeys(status.key for status in statuses))
            write(m.WriteEvent("operator", f"{effect}: {keys}", offer.name, offer.id))
        self._answers.append(m.AnswerOperator(request.answer, targets))
        return (_causes(ended, offers) if ended else {}) | {offer.id: f"operator: {effect}" for offer, _ in matches}

    def _switch(
        self, request: m.SwitchRequest, offers: Iterable[ContainerRoutes], now: float, write: m.Write
    ) -> dict[str, str]:
        key, targets = request.key, list[OverrideTarget]()
        switch = Switch(key, set(), hold=request.hold, until=now + request.hold)
        switch.sessions, switch.sessions_until = request.sessions, now + request.sessions
        for offer in offers:
            if not (statuses := [status for status in offer.statuses if status.key == key]):
                continue
            serves = offer.id in request.to
            leaves = not serves and (request.off is None or offer.id in request.off)
            (switch.off if leaves else switch.to).add(offer.id)
            overrides, places = self.of(offer.id, offer.owner), [(key, status.port) for status in statuses]
            if serves and any(overrides[place].drains for place in places if place in overrides):
                self.change(offer.id, offer.owner, places, False, None)
            if serves and offer.id in request.weights:
                switch.weights[offer.id] = request.weights[offer.id]
            targets += [OverrideTarget(offer.owner, offer.name, key, status.address) for status in statuses]
            if offer.owner and (serves or leaves):
                text = f"switch: {key} {'to' if serves else 'away from'} it"
                write(m.WriteEvent("operator", text, offer.name, offer.id, key))
        switch.elsewhere = bool(request.to - switch.to)
        self.switches.put(switch)
        self._answers.append(m.AnswerOperator(request.answer, targets))
        return _causes({key}, offers)

    def gone(self, id: str, offers: Callable[[], Iterable[ContainerRoutes]]) -> dict[str, str]:
        """Container ``id`` exists no more; returns whom that concerns, with the cause."""
        self.alive(id, "")
        ended = self.switches.gone(id)
        return _causes(ended, offers()) if ended else {}

    def expire(self, now: float, offers: Callable[[], Iterable[ContainerRoutes]]) -> dict[str, str]:
        """What was asked for until now ends; returns whom that concerns, with the cause."""
        released = self.switches.expire(now)
        causes = _causes(released, offers()) if released else {}
        return causes | dict.fromkeys(self._end_sessions(now), "operator: the time of its sessions is over")

    def _end_sessions(self, now: float) -> list[str]:
        """The containers that have no sessions any more."""
        ended: list[str] = []
        for (id, place), until in [*self._session_ends.items()]:
            owner, places = self._by_id.get(id, ("", dict[KeyPort, RouteOverride]()))
            override = places.get(place)
            if override is None or not override.sessions:
                del self._session_ends[id, place]
            elif until is None:
                self._session_ends[id, place] = now + override.sessions
            elif until <= now:
                del self._session_ends[id, place]
                self._put(owner, place, replace(override, sessions=0.0))
                self.changed = True
                ended.append(id)
        return ended

    @property
    def due(self) -> float | None:
        """When :meth:`expire` has to be called next."""
        ends = (-math.inf if until is None else until for until in self._session_ends.values())
        return min((at for at in (self.switches.due, *ends) if at is not None), default=None)

    def steering(self, id: str, owner: str, places: Iterable[KeyPort]) -> OverrideMap:
        """What holds for the routes of this start of container ``id``, switches counted in."""
        return self.switches.over(id, places, self.of(id, owner))

    def orders(self) -> list[m.Order]:
        """What has to be kept, and the answers to operators."""
        orders, self._answers = self._answers, []
        if self.changed or self.switches.changed:
            self.changed = self.switches.changed = False
            orders.insert(0, m.Keep(self.as_json()))
        return orders

    def change(
        self,
        id: str,
        owner: str,
        places: Iterable[KeyPort],
        drain: bool | None,
        weight: int | None,
        sessions: float = 0.0,
    ) -> None:
        """Drain or undrain, or set the weight of routes; None: that stays as it is."""
        known = self.of(id, owner)
        for place in places:
            override = known.get(place, RouteOverride())
            if drain is not None:
                # A weight of 0 drains, so undraining ends it, too.
                left = None if not drain and override.weight == 0 else override.weight
                override = replace(override, drain=drain, weight=left, sessions=sessions)
                if sessions:
                    self._session_ends[id, place] = None
            if weight is not None:
                override = replace(override, weight=None if weight == AS_LABELLED else weight)
            self._put(owner, place, override)
        self.changed = True

    def alive(self, id: str, owner: str) -> None:
        """Container ``id`` was looked at: it runs as ``owner`` (empty: it does not run)."""
        known = self._by_id.get(id)
        if known and known[0] != owner:
            del self._by_id[id]
            self.changed = True

    def ids(self) -> set[str]:
        """Containers that have any, or that a switch names."""
        return self._by_id.keys() | self.switches.ids()

    def as_json(self) -> dict[str, object]:
        """What has to be kept, for ``kept`` of the next start."""
        rows = [
            {"owner": owner, "key": key, "port": port, "drain": override.drain, "weight": override.weight}
            | ({"sessions": override.sessions} if override.sessions else {})
            for owner, places in self._by_id.values()
            for (key, port), override in places.items()
        ]
        switches = self.switches.as_json()
        return {"version": _VERSION, "overrides": rows, **({"switches": switches} if switches else {})}

    def _put(self, owner: str, place: KeyPort, override: RouteOverride) -> None:
        id = owner.partition("@")[0]
        known = self._by_id.get(id)
        places = known[1].copy() if known and known[0] == owner else {}
        if override:
            places[place] = override
        else:
            places.pop(place, None)
        if places:
            self._by_id[id] = owner, places
        else:
            self._by_id.pop(id, None)


def _find(target: str, offers: Iterable[ContainerRoutes]) -> list[tuple[ContainerRoutes, list[RouteStatus]]]:
    """The offers of containers that run, with those of their routes that ``target`` means."""
    running = [offer for offer in offers if offer.owner and offer.statuses]
    matches: dict[ContainerMatch, list[ContainerRoutes]] = {match: [] for match in ContainerMatch}
    for offer in running:
        matches[match_container(target, offer.id, offer.name)].append(offer)
    named = matches[ContainerMatch.EXACT] or matches[ContainerMatch.PREFIX]
    if len(named) > 1:
        raise AmbiguousTarget(target, (f"{offer.name} ({offer.id[:12]})" for offer in named))
    if named:
        return [(named[0], list(named[0].statuses))]
    for form in node_forms(target):
        routes = [(offer, [row for row in offer.statuses if form.means(row.key, row.address)]) for offer in running]
        if routes := [(offer, statuses) for offer, statuses in routes if statuses]:
            return routes
    return []


def _causes(keys: set[str], offers: Iterable[ContainerRoutes]) -> dict[str, str]:
    """The containers whose routes a change of the switches of ``keys`` concerns."""
    return {
        offer.id: f"operator: switch of {status.key}"
        for offer in offers
        for status in offer.statuses
        if status.key in keys
    }


def _rows(kept: object) -> list[tuple[str, str, int, RouteOverride]]:
    """What of ``kept`` can be read: a file may be old, or somebody else's."""
    rows = []
    if isinstance(kept, dict) and kept.get("version") == _VERSION and isinstance(kept.get("overrides"), list):
        for row in kept["overrides"]:
            if isinstance(row, dict) and _well_formed(row):
                rows.append((row["owner"], row["key"], row["port"], _override_of(row)))
    return rows


def _override_of(row: Mapping[str, Any]) -> RouteOverride:
    sessions = row.get("sessions", 0.0)
    return RouteOverride(
        row["drain"], row["weight"], sessions=float(sessions) if isinstance(sessions, int | float) else 0.0
    )


def _well_formed(row: Mapping[str, Any]) -> bool:
    weight = row.get("weight")
    return (
        isinstance(row.get("owner"), str)
        and isinstance(row.get("key"), str)
        and type(row.get("port")) is int
        and isinstance(row.get("drain"), bool)
        and (weight is None or (type(weight) is int and 0 <= weight <= MAX_WEIGHT))
    )
