"""Which containers serve a key alone: what ``POST /v1/switch`` asked for.  Pure.

A switch names the containers that serve its key; those that had the key beside them when it was asked for are off, like
drained ones, whatever happens to them, until they are gone.  Containers that come later serve, or with ``hold`` wait
for the next switch: that is how new ones start without a request before all of them are ready.  A switch ends when
nothing of it is left to say, or when all that it named are gone: no key is left without a container by it.

It stands over drains and weights, which are as they were once it ends; what an operator asks of one container later
counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastroute.controller.decide.route_override import KeyPort, OverrideMap, RouteOverride
from fastroute.router.protocol.entry import MAX_SESSIONS
from fastroute.router.protocol.node_options import MAX_WEIGHT

#: Seconds that containers which come later may be held back, at most; whoever wants more asks again in time.
MAX_HOLD = 3600.0


@dataclass(slots=True)
class Switch:
    """The switch of one key, as far as it is about containers of one engine."""

    key: str
    #: The containers that serve, and those that don't: ids.
    to: set[str]
    off: set[str] = field(default_factory=set)
    #: Weights by id, of some of those that serve.
    weights: dict[str, int] = field(default_factory=dict)
    #: Other engines have containers that serve.
    elsewhere: bool = False
    #: Seconds for which containers that come later are held back, from when it was asked for (or the controller
    #: started) on.
    hold: float = 0.0
    #: When that ends (monotonic); None: it was read from a file, and the time was not looked at since.
    until: float | None = 0.0
    #: Seconds for which clients that stay with those that are off (``sticky``) still get them, and when that ends.
    sessions: float = 0.0
    sessions_until: float | None = 0.0

    @property
    def over(self) -> bool:
        """Whether it says nothing any more, or only that nobody serves."""
        return not (self.off or self.weights or self.hold) or not (self.to or self.elsewhere)

    def of(self, id: str) -> tuple[str, int | None]:
        """Why container ``id`` gets no requests (empty: it does), and its weight (None: its own)."""
        if id in self.off:
            return f"{self.key} was switched to other containers", None
        if id in self.to:
            return "", self.weights.get(id)
        return f"waits until {self.key} is switched to it" if self.hold else "", None


class SwitchStore:
    """The switches of one engine, by key."""

    def __init__(self, saved: object = None) -> None:
        self._by_key = {switch.key: switch for switch in _switches(saved)}
        #: Something changed that the state file does not have yet.
        self.changed = False

    def get(self, key: str) -> Switch | None:
        """The switch of ``key``."""
        return self._by_key.get(key)

    def over(self, id: str, places: Iterable[KeyPort], overrides: OverrideMap) -> OverrideMap:
        """What holds for container ``id`` with routes at ``places``: ``overrides``, and above them its switches."""
        if not self._by_key:
            return overrides
        steered = dict(overrides)
        for place in places:
            if (switch := self._by_key.get(place[0])) is None:
                continue
            why, weight = switch.of(id)
            override = steered.get(place, RouteOverride())
            sessions = switch.sessions if why else override.sessions
            weight = override.weight if weight is None else weight
            steered[place] = replace(override, switch=why, weight=weight, sessions=sessions)
        return steered

    def put(self, switch: Switch) -> None:
        """``switch`` stands, in place of the one of its key."""
        self._by_key[switch.key] = switch
        self.changed = True
        self._end([switch.key])

    def steered(self, id: str, keys: Iterable[str], drain: bool | None, weight: int | None) -> set[str]:
        """An operator wants container ``id`` itself undrained, or with another weight: that counts.  Returns the keys
        whose switch ended by it."""
        for key in keys:
            if (switch := self._by_key.get(key)) is None:
                continue
            if drain is False:
                switch.off.discard(id)
                switch.to.add(id)
                self.changed = True
            if weight is not None and switch.weights.pop(id, None) is not None:
                self.changed = True
        return self._end(keys)

    def gone(self, id: str) -> set[str]:
        """Container ``id`` exists no more.  Returns the keys whose switch ended by it."""
        touched: list[str] = []
        for switch in self._by_key.values():
            if id in switch.to or id in switch.off:
                switch.to.discard(id)
                switch.off.discard(id)
                switch.weights.pop(id, None)
                self.changed = True
                touched.append(switch.key)
        return self._end(touched)

    def expire(self, now: float) -> set[str]:
        """The keys whose later containers are held back no longer, or whose old ones keep no client any more."""
        released: set[str] = set()
        for switch in self._by_key.values():
            if switch.until is None or switch.sessions_until is None:
                switch.until, switch.sessions_until = now + switch.hold, now + switch.sessions
            if switch.hold and switch.until <= now:
                switch.hold = 0.0
                released.add(switch.key)
            if switch.sessions and switch.sessions_until <= now:
                switch.sessions = 0.0
                released.add(switch.key)
        self.changed = self.changed or bool(released)
        self._end(released)
        return released

    @property
    def due(self) -> float | None:
        """When :meth:`expire` has to be called next."""
        ends = ((switch.hold, switch.until) for switch in self._by_key.values())
        session_ends = ((switch.sessions, switch.sessions_until) for switch in self._by_key.values())
        times = (-math.inf if until is None else until for seconds, until in (*ends, *session_ends) if seconds)
        return min(times, default=None)

    def ids(self) -> set[str]:
        """Containers that any of them names."""
        return {id for switch in self._by_key.values() for id in (*switch.to, *switch.off)}

    def as_json(self) -> list[dict[str, object]]:
        """The switches as the state file keeps them."""
        return [
            {
                "key": switch.key,
                "to": sorted(switch.to),
                "off": sorted(switch.off),
                "weights": switch.weights,
                "elsewhere": switch.elsewhere,
                "hold": switch.hold,
                "sessions": switch.sessions,
            }
            for switch in self._by_key.values()
        ]

    def _end(self, keys: Iterable[str]) -> set[str]:
        ended = {key for key in keys if (switch := self._by_key.get(key)) is not None and switch.over}
        for key in ended:
            del self._by_key[key]
        return ended


def _switches(saved: object) -> list[Switch]:
    """The switches in ``saved`` (as :meth:`SwitchStore.as_json` made it); rows that can't be read are left out."""
    rows = saved if isinstance(saved, list) else []
    return [
        Switch(
            row["key"], set(row["to"]), set(row["off"]), dict(row["weights"]), row["elsewhere"],
            row["hold"], None, row["sessions"], None,
        )
        for row in rows
        if isinstance(row, dict) and _well_formed(row)
    ]  # fmt: skip


def _well_formed(row: Mapping[str, Any]) -> bool:
    ids = (row.get("to"), row.get("off"))
    weights, hold, sessions = row.get("weights"), row.get("hold"), row.get("sessions")
    return (
        isinstance(row.get("key"), str)
        and all(isinstance(part, list) and all(isinstance(id, str) for id in part) for part in ids)
        and isinstance(weights, dict)
        and all(type(weight) is int and 1 <= weight <= MAX_WEIGHT for weight in weights.values())
        and isinstance(row.get("elsewhere"), bool)
        and isinstance(hold, int | float)
        and 0 <= hold <= MAX_HOLD
        and isinstance(sessions, int | float)
        and 0 <= sessions <= MAX_SESSIONS
    )
