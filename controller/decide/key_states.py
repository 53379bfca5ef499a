"""The keys that operators hold in a state at this controller: paused, or in maintenance.  Pure.

A key is held whether it has a container or not, until it is released or its time is over; :meth:`HeldKeys.as_json` is
what a state file keeps.  Times are monotonic seconds but for those in that file, which are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from fastroute.controller.desired import Route, RouteKey
from fastroute.router.protocol.key_state import STATE_OWNER, AnnouncedState, state_from_names
from fastroute.router.protocol.subscription import Entry

_VERSION = 1


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One key in a state."""

    key: str
    state: AnnouncedState
    #: None: it has no end.
    until: float | None

    @property
    def route(self) -> Route:
        """What routers are told."""
        return Route(Entry(self.key, owner=STATE_OWNER, state=self.state), "")


class HeldKeys:
    """All of them."""

    def __init__(self) -> None:
        self._by_key: dict[str, HeldKey] = {}

    def __iter__(self) -> Iterator[HeldKey]:
        return iter(list(self._by_key.values()))

    def get(self, key: str) -> HeldKey | None:
        """What ``key`` is held in; None: it serves."""
        return self._by_key.get(key)

    def hold(self, key: str, state: AnnouncedState, now: float) -> HeldKey:
        """Hold ``key`` in ``state``, in place of what it was held in."""
        until = now + state.seconds if state.seconds else None
        self._by_key[key] = held = HeldKey(key, state, until)
        return held

    def release(self, key: str) -> bool:
        """``key`` serves again; False when it did before."""
        return self._by_key.pop(key, None) is not None

    def over(self, now: float) -> list[str]:
        """The keys whose time is over, and that are not released yet."""
        return [held.key for held in self._by_key.values() if held.until is not None and held.until <= now]

    @property
    def due(self) -> float | None:
        """When the next time is over."""
        return min((held.until for held in self._by_key.values() if held.until is not None), default=None)

    @property
    def routes(self) -> dict[RouteKey, Route]:
        """What routers should know."""
        return {held.route.id: held.route for held in self._by_key.values()}

    def as_json(self, now: float, wall: float) -> dict[str, object]:
        """All of it; ``wall`` is ``now`` since the epoch."""
        rows = [
            {"key": held.key, "until": None if held.until is None else wall - now + held.until, **asdict(held.state)}
            for held in self._by_key.values()
        ]
        return {"version": _VERSION, "keys": rows}

    def restore(self, kept: object, now: float, wall: float) -> list[str]:
        """What :meth:`as_json` returned, but for what is over; returns why a part of it is not used."""
        if kept is None:
            return []
        if not isinstance(kept, dict) or kept.get("version") != _VERSION or not isinstance(kept.get("keys"), list):
            return [f"version {_VERSION} with a list of keys expected"]
        problems: list[str] = []
        for row in kept["keys"]:
            try:
                key, until = str(row["key"]), row["until"]
                until = None if until is None else now + float(until) - wall
                state = state_from_names(row)
            except (KeyError, TypeError, ValueError) as problem:
                problems.append(f"{row!r:.80}: {problem!r}")
                continue
            if until is None or until > now:
                self._by_key[key] = HeldKey(key, state, until)
        return problems
