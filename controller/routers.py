"""The sink of router mode: one announcer for each source, begun with its first desired state.

An announcer that began with nothing would take every route of its source from the routers.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from fastroute.controller.desired import Desired, RouteKey
from fastroute.controller.events import ControllerEvents
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.controller.router_mode.router_link import AnnounceListener
from fastroute.controller.settings import ControllerSettings
from fastroute.router.proof import exposure, read_secret

log = logging.getLogger("fastroute.controller.routers")


class Routers:
    """All announcers of one controller; ``acked`` is called with the seconds that each ack of a change took."""

    def __init__(
        self, settings: ControllerSettings, events: ControllerEvents, acked: Callable[[float], object]
    ) -> None:
        self._settings = settings
        self._listener = AnnounceListener(lambda kind, text, key, id: events.write(kind, text, "", id, key), acked)
        self._secret = _secret(settings.subscription_secret_file)
        self._parts: list[_Part] = []

    def part(self, source: Callable[[], str]) -> _Part:
        """The sink of one source; ``source`` tells its name once there is something to apply."""
        part = _Part(self._settings, source, self._secret, self._listener)
        self._parts.append(part)
        return part

    def status(self) -> dict[str, object]:
        """What routers there are and what they hold of which source."""
        found = [part.status() for part in self._parts]
        routers = [{"source": one["source"], **link} for one in found if one for link in _rows(one["routers"])]
        unresolved = {name for one in found for name in _rows(one.get("unresolved", []))}
        return {"routers": routers, "unresolved": sorted(map(str, unresolved))}

    def in_flight(self) -> dict[RouteKey, int]:
        """Requests that still run on drained nodes, as far as every router that answers has told."""
        return {name: number for part in self._parts for name, number in part.in_flight().items()}

    def packets(self) -> Counter[tuple[str, str]]:
        """Packets to routers so far, by operation and result."""
        return sum((part.packets() for part in self._parts), Counter[tuple[str, str]]())

    def close(self) -> None:
        """Say no more."""
        for part in self._parts:
            part.close()


class _Part:
    """A :class:`~fastroute.controller.desired.Sink`."""

    def __init__(
        self, settings: ControllerSettings, source: Callable[[], str], secret: bytes | None, listener: AnnounceListener
    ) -> None:
        self._settings, self._source, self._secret, self._listener = settings, source, secret, listener
        self._announcer: SourceAnnouncer | None = None
        self._lock = threading.Lock()

    def apply(self, desired: Desired) -> None:
        """Tell all routers."""
        with self._lock:
            new = self._announcer is None
            if self._announcer is None:
                settings = self._settings
                self._announcer = SourceAnnouncer(
                    settings.router, self._source(), settings.heartbeat, self._secret, self._listener
                )
            self._announcer.apply(desired)
            if new:
                self._announcer.start()

    def status(self) -> dict[str, object]:
        """What the announcer says; nothing before there is one."""
        return self._announcer.status() if self._announcer else {}

    def in_flight(self) -> dict[RouteKey, int]:
        """What the announcer knows."""
        return self._announcer.in_flight() if self._announcer else {}

    def packets(self) -> Counter[tuple[str, str]]:
        """What the announcer counted."""
        return self._announcer.packets() if self._announcer else Counter()

    def close(self) -> None:
        """Say no more."""
        if self._announcer:
            self._announcer.close()


def _secret(file: str | None) -> bytes | None:
    if file is None:
        return None
    if said := exposure(file):
        log.warning("subscription-secret-file: %s", said)
    return read_secret(file)


def _rows(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
