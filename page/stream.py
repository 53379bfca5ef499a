"""The stream of one browser: what the view that it looks at needs, first all of it, then each change.  An edge.

A browser that is slower than the changes come gets fewer of them: each piece is made when the one before has gone.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastroute.page.deltas import SentTable, SentValues
from fastroute.page.event_history import FleetEvent
from fastroute.page.fleet import MAX_NAME_DELAY, Fleet, FleetPicture

#: Seconds between two pieces, at least; and at most, as a sign of life.
PIECE_INTERVAL, MAX_PIECE_INTERVAL = 1.0, 5.0
#: Events in one piece, and of those before it that the overview gets.
MAX_EVENTS, MAX_OVERVIEW_EVENTS = 500, 300
#: What can be looked at.
VIEWS = ("overview", "key", "containers", "events", "admins")


class BrowserStream:
    """The stream of one browser that looks at ``view``, at ``key`` where that is the page of one."""

    def __init__(self, fleet: Fleet, picture: Callable[[], FleetPicture], view: str, key: str) -> None:
        self._fleet, self._picture, self._view, self._key = fleet, picture, view, key
        self._values, self._table = SentValues(), SentTable()
        self._event = 0
        #: Events that the browser has without the name of their node's container.
        self._nameless: list[FleetEvent] = []

    async def pieces(self) -> AsyncIterator[str]:
        """The pieces as server-sent events; it ends when the browser leaves."""
        yield "retry: 1000\n\n"
        first, sent = True, 0.0
        while True:
            piece = self._piece()
            if piece or first or time.monotonic() - sent >= MAX_PIECE_INTERVAL:
                sent = time.monotonic()
                yield f"data: {json.dumps({'wall': round(time.time(), 3), 'reset': first, **piece})}\n\n"
                first = False
            await asyncio.sleep(0 if self._more else PIECE_INTERVAL)

    @property
    def _more(self) -> bool:
        """Whether the browser has not got everything once."""
        return self._table.incomplete or self._event < self._fleet.events.newest

    def _piece(self) -> dict[str, Any]:
        picture = self._picture()
        piece: dict[str, Any] = {}
        if values := self._values.next(self._view_values(picture)):
            piece["values"] = values
        if table := self._table.next(self._rows(picture)):
            piece["table"] = table.to_json()
        if events := [*self._named_events(picture.wall), *self._events()]:
            piece["events"] = [event.to_json() for event in events]
        if self._table.incomplete:
            piece["incomplete"] = True
        return piece

    def _view_values(self, picture: FleetPicture) -> Mapping[str, Any]:
        if self._view == "overview":
            return {**picture.values, "flow": self._fleet.flow(picture)}
        if self._view == "key":
            return {**picture.values, "key": self._fleet.key(picture, self._key)}
        return picture.values

    def _rows(self, picture: FleetPicture) -> Mapping[str, Mapping[str, Any]]:
        if self._view == "overview":
            return self._fleet.key_rows(picture)
        if self._view == "key":
            return self._fleet.node_rows(picture, self._key)
        return self._fleet.container_rows(picture) if self._view == "containers" else {}

    def _events(self) -> list[FleetEvent]:
        history = self._fleet.events
        if self._view in ("containers", "admins"):
            self._event = history.newest
            return []
        events = history.since(self._event, self._key if self._view == "key" else "")
        if self._view == "overview" and self._event == 0:
            events = events[-MAX_OVERVIEW_EVENTS:]
        # What concerns another key is read, too.
        self._event = events[MAX_EVENTS - 1].number if len(events) > MAX_EVENTS else history.newest
        self._nameless += [event for event in events[:MAX_EVENTS] if event.is_nameless]
        return events[:MAX_EVENTS]

    def _named_events(self, wall: float) -> list[FleetEvent]:
        """Events to be sent once more, as the containers of their nodes are known now."""
        named = [event for event in self._nameless if not event.is_nameless]
        self._nameless = [event for event in self._nameless if event.is_nameless and event.time > wall - MAX_NAME_DELAY]
        return named
