"""What happened lately, for ``/v1/events`` and ``fastroute-ctl events``: a bounded ring and its followers.  Pure.

A follower that does not read costs bounded memory: past ``MAX_BEHIND`` events it loses the oldest, and can say how
many.  What strangers' packets cause has a small ring of its own: a flood leaves all other events where they are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: Events kept for who asks later, and for a follower that lags.
MAX_EVENTS = 1_000
MAX_BEHIND = 1_000
#: Kinds that anybody can cause who may send a datagram; and how many of them are kept.
FROM_STRANGERS = frozenset({"subscription-refused", "subscriptions-dropped"})
MAX_FROM_STRANGERS = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One event.  ``id`` counts up from 1; ``time`` is seconds since the epoch; ``fields`` are JSON values."""

    id: int
    time: float
    kind: str
    fields: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As it goes out."""
        return {"id": self.id, "time": self.time, "kind": self.kind, **self.fields}


@dataclass(slots=True, eq=False)
class Follower:
    """Somebody who wants every event from now on.  ``lost`` counts those dropped because it was slow."""

    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_BEHIND))
    lost: int = 0

    def take(self) -> list[Event]:
        """All events since the last call."""
        taken = list(self.events)
        self.events.clear()
        return taken


class Journal:
    """The ring.  Not thread-safe: one loop or one thread adds and reads."""

    def __init__(self) -> None:
        self._ring: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._strangers: deque[Event] = deque(maxlen=MAX_FROM_STRANGERS)
        self._followers: list[Follower] = []
        self._last = 0

    def __iter__(self) -> Iterator[Event]:
        return iter(sorted([*self._ring, *self._strangers], key=lambda event: event.id))

    def add(self, kind: str, **fields: Any) -> None:
        """Remember that ``kind`` happened, now."""
        self._last += 1
        event = Event(self._last, time.time(), kind, fields)
        self._keep(event)
        for follower in self._followers:
            if len(follower.events) == MAX_BEHIND:
                follower.lost += 1
            follower.events.append(event)

    def dump(self) -> list[list[Any]]:
        """All as JSON types, for the next control."""
        return [[event.id, event.time, event.kind, event.fields] for event in self]

    def restore(self, rows: list[list[Any]]) -> None:
        """Go on from what :meth:`dump` wrote."""
        for row in rows:
            event = Event(*row)
            self._keep(event)
            self._last = max(self._last, event.id)

    def follow(self) -> Follower:
        """A new follower; give it back to :meth:`leave`."""
        follower = Follower()
        self._followers.append(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """``follower`` wants no more."""
        self._followers.remove(follower)

    def _keep(self, event: Event) -> None:
        (self._strangers if event.kind in FROM_STRANGERS else self._ring).append(event)
