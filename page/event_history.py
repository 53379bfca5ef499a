"""What happened lately, of all routers and controllers together, in the order in which it came here.  Pure.

Each source sends what it remembers when it is asked anew, so what was here before is left out.  Memory is bounded:
``MAX_EVENTS`` events, more than a source remembers, and of refusals (which strangers can cause) ``MAX_REFUSALS``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastroute.page.times import seconds_of

MAX_EVENTS, MAX_REFUSALS = 3_000, 200
#: Characters of an event's text that are kept.
MAX_TEXT = 1_000
#: Containers whose keys are remembered when they are gone.
MAX_CONTAINERS = 10_000
#: The kinds that whoever may send a datagram can cause.
_REFUSALS = frozenset({"subscription-refused", "subscriptions-dropped"})


@dataclass(slots=True)
class FleetEvent:
    """One event of the router or controller ``origin``; ``number`` counts up over all of them."""

    number: int
    time: float
    origin: str
    kind: str
    text: str
    key: str
    #: The address of a node.
    node: str
    #: Name and id of a container; of a node's, the name may be known only later.
    container: str
    id: str

    @property
    def is_nameless(self) -> bool:
        """Whether it tells of a node whose container is not known yet."""
        return bool(self.node) and not self.container

    def to_json(self) -> dict[str, object]:
        """As browsers get it: without what is empty."""
        names = ("number", "time", "origin", "kind", "text", "key", "node", "container", "id")
        return {name: value for name in names if (value := getattr(self, name))}


class _Origin:
    """Which events of one source were read: by time and id, as the ids of one that restarted begin at 1 again.

    By both, and not by the newest time, as the clock of its machine may be set back.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[float, str], None] = {}
        self._refusals_read: dict[tuple[float, str], None] = {}

    def read(self, time: float, id: str, *, refusal: bool) -> bool:
        """Whether this event was not read before; from now on it was."""
        read, most = (self._refusals_read, MAX_REFUSALS) if refusal else (self._read, MAX_EVENTS)
        if (time, id) in read:
            return False
        read[time, id] = None
        if len(read) > most:
            del read[next(iter(read))]
        return True


class EventHistory:
    """The last events."""

    def __init__(self) -> None:
        self._events: deque[FleetEvent] = deque(maxlen=MAX_EVENTS)
        self._refusals: deque[FleetEvent] = deque(maxlen=MAX_REFUSALS)
        self._origins: dict[str, _Origin] = {}
        #: Keys of a container, by its id, and its name by an address.
        self._keys_of: dict[str, tuple[str, ...]] = {}
        self._names_of: dict[str, str] = {}
        #: The number of the newest event.
        self.newest = 0

    def add(self, origin: str, id: str, data: Mapping[str, Any]) -> bool:
        """An event of ``origin``; False when it was here before.  ``ValueError`` when it is none."""
        try:
            time, kind = seconds_of(data["time"]), str(data["kind"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no event: {error}") from None
        if not self._origins.setdefault(origin, _Origin()).read(time, id, refusal=kind in _REFUSALS):
            return False
        self.newest += 1
        text, key, node, container, container_id = (
            str(data.get(name) or "")[:MAX_TEXT] for name in ("text", "key", "node", "container", "id")
        )
        if container_id.isdecimal():
            # The router's own number of the event.
            container_id = ""
        container = container or self._names_of.get(node, "")
        event = FleetEvent(self.newest, time, origin, kind, text, key, node, container, container_id)
        (self._refusals if kind in _REFUSALS else self._events).append(event)
        return True

    def remember_container(self, id: str, name: str, keys: tuple[str, ...], addresses: tuple[str, ...]) -> None:
        """A container serves ``keys`` at ``addresses``; what happens to it belongs to them, also when it is gone."""
        _put(self._keys_of, id, keys)
        for address in addresses:
            _put(self._names_of, address, name)

    def name_nodes(self, since: float) -> None:
        """Call nodes by their containers, in events after ``since``: before, an address may have been another's."""
        for event in self._events:
            if event.time >= since and event.is_nameless:
                event.container = self._names_of.get(event.node, "")

    def since(self, number: int, key: str = "") -> list[FleetEvent]:
        """All events after ``number``, the oldest first; with ``key``: those that concern it."""
        newer = [event for event in self._all() if event.number > number]
        if not key:
            return newer
        return [event for event in newer if event.key == key or key in self._keys_of.get(event.id, ())]

    def _all(self) -> Iterator[FleetEvent]:
        if not self._refusals:
            return iter(self._events)
        return iter(sorted([*self._events, *self._refusals], key=lambda event: event.number))


def _put(remembered: dict[str, Any], name: str, value: object) -> None:
    """Remember the last ``MAX_CONTAINERS``."""
    remembered.pop(name, None)
    remembered[name] = value
    if len(remembered) > MAX_CONTAINERS:
        del remembered[next(iter(remembered))]
