"""What happened lately: a bounded log of events, and the readers who follow it.  The router and the controller have
one.

Any thread adds, any thread reads.  A reader who is slower than the events come costs bounded memory: beyond ``MAX_LAG``
it loses the oldest events, and is told how many.  Events that strangers' packets cause have room of their own, so that
a flood of them displaces no other event.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

#: Events that are remembered for readers who come later.
MAX_EVENTS = 2_000
#: Events that wait for one reader.
MAX_LAG = 5_000
#: Events of the flood kinds that are remembered.
MAX_FLOOD = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    #: Counts up from 1.
    id: int
    #: Seconds since the epoch.
    time: float
    kind: str
    #: JSON values by name.
    fields: dict[str, Any]

    @property
    def text(self) -> str:
        """The event in words."""
        return str(self.fields.get("text", ""))


class Follower:
    """A reader who gets every event from now on; ``wake`` is called, by the thread that adds, when the first one waits.

    ``wake`` must not block.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._lost = 0

    def add(self, event: Event) -> None:
        """One more event."""
        with self._lock:
            self._events.append(event)
            first = len(self._events) == 1
            if len(self._events) > MAX_LAG:
                self._events.popleft()
                self._lost += 1
        if first:
            self._wake()

    def take(self) -> tuple[list[Event], int]:
        """All events since the last call, and how many older ones were lost before them."""
        with self._lock:
            events, lost = list(self._events), self._lost
            self._events.clear()
            self._lost = 0
        return events, lost


class EventLog:
    """The last events.

    ``flood_kinds``: the kinds that anybody can cause who may send a datagram; the last ``MAX_FLOOD`` of them are
    remembered, beside ``MAX_EVENTS`` others.
    """

    def __init__(self, flood_kinds: Collection[str] = ()) -> None:
        self._flood_kinds = frozenset(flood_kinds)
        self._lock = threading.Lock()
        self._ring: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._flood: deque[Event] = deque(maxlen=MAX_FLOOD)
        self._followers: list[Follower] = []
        self._last_id = 0

    def add(self, kind: str, **fields: Any) -> Event:
        """Remember that ``kind`` happened, now."""
        with self._lock:
            self._last_id += 1
            event = Event(self._last_id, time.time(), kind, fields)
            self._remember(event)
            for follower in self._followers:
                follower.add(event)
        return event

    def recent(self) -> list[Event]:
        """All events that are remembered, the oldest first."""
        with self._lock:
            events = [*self._ring, *self._flood]
        return sorted(events, key=lambda event: event.id) if self._flood else events

    def follow(self, wake: Callable[[], object]) -> Follower:
        """A new follower; :meth:`leave` ends it."""
        follower = Follower(wake)
        with self._lock:
            self._followers.append(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """``follower`` gets no more events."""
        with self._lock:
            self._followers.remove(follower)

    def dump(self) -> list[list[Any]]:
        """All events as JSON types, for the next process."""
        return [[event.id, event.time, event.kind, event.fields] for event in self.recent()]

    def restore(self, rows: list[list[Any]]) -> None:
        """Go on from what :meth:`dump` returned."""
        with self._lock:
            for row in rows:
                event = Event(*row)
                self._remember(event)
                self._last_id = max(self._last_id, event.id)

    def _remember(self, event: Event) -> None:
        (self._flood if event.kind in self._flood_kinds else self._ring).append(event)
