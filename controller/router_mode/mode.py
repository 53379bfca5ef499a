"""Router mode: one announcer for each source makes all routers hold the source's routes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from fastroute.controller import views
from fastroute.controller.desired import RouteKey
from fastroute.controller.mode import ModeContext
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.controller.router_mode.router_link import AnnounceListener
from fastroute.controller.settings import ControllerSettings
from fastroute.router.runtime.secret_file import read_secret_file

log = logging.getLogger("fastroute.controller.routers")


class RouterMode:
    """A :class:`~fastroute.controller.mode.Mode`."""

    name = "router"
    #: Routers answer within milliseconds.
    ack_timeout = 2.0

    def __init__(self, context: ModeContext) -> None:
        self._settings, self._routes, events = context.settings, context.routes, context.events
        self._listener = AnnounceListener(
            lambda kind, text, key, id: events.write(kind, text, "", id, key), context.on_ack
        )
        self._secret = read_secret_file(self._settings.subscription_secret_file, log)
        self._announcers: list[SourceAnnouncer] = []

    @staticmethod
    def check(settings: ControllerSettings) -> None:
        """Router mode needs nothing of this machine before it starts."""

    def sink(self, source: Callable[[], str]) -> SourceAnnouncer:
        """See :class:`~fastroute.controller.mode.Mode`."""
        settings = self._settings
        announcer = SourceAnnouncer(settings.router, source, settings.heartbeat, self._secret, self._listener)
        self._announcers.append(announcer)
        return announcer

    def key_sink(self, source: Callable[[], str]) -> SourceAnnouncer:
        """See :class:`~fastroute.controller.mode.Mode`."""
        return self.sink(source)

    def start(self) -> None:
        """Each announcer starts with its source's first desired state."""

    def lost(self, sources: Sequence[str]) -> None:
        """Told to all routers, by the first announcer: that of an engine."""
        self._announcers[0].lose(sources)

    def close(self) -> None:
        """Announce no more."""
        for announcer in self._announcers:
            announcer.close()

    def status(self) -> dict[str, object]:
        """The routers, and what they hold of which source."""
        statuses = [announcer.status() for announcer in self._announcers if announcer.started]
        routers = [{"source": status["source"], **link} for status in statuses for link in _rows(status["routers"])]
        unresolved = {name for status in statuses for name in _rows(status["unresolved"])}
        return {"routers": routers, "unresolved": sorted(map(str, unresolved))}

    def keys(self) -> list[dict[str, object]]:
        """What is announced, by key."""
        return views.keys(self._routes.desired(), in_flight=self.in_flight())

    def lacking(self, names: Collection[RouteKey]) -> dict[str, str]:
        """See :class:`~fastroute.controller.mode.Mode`."""
        lacking: dict[str, str] = {}
        for announcer in self._announcers:
            if announcer.announces(names):
                for router, why in announcer.routers(names).items():
                    lacking[router] = lacking.get(router) or why
        return lacking

    def in_flight(self) -> dict[RouteKey, int]:
        """Requests that still run on drained nodes, as far as every router that answers has told."""
        return {id: number for announcer in self._announcers for id, number in announcer.in_flight().items()}

    def problem(self) -> str:
        """Always empty: routers come and go, and are announced to when they are there."""
        return ""

    def preview(self) -> dict[str, object]:
        """What nginx mode would write now."""
        # Only now: hardly anybody asks, and Jinja2 is 2 MB.
        from fastroute.controller.nginx_mode.desired_routes import absences
        from fastroute.controller.nginx_mode.nginx_config import ConfigState
        from fastroute.controller.nginx_mode.preview import preview

        routes = {id: route for desired, _ in self._routes.desired() for id, route in desired.items()}
        return preview(self._settings, ConfigState(routes, absences(self._routes.views().values(), routes)))

    def collectors(self) -> tuple[()]:
        """Router mode adds nothing to the metrics but its packets."""
        return ()

    def watched(self) -> tuple[()]:
        """Router mode has no files of its own."""
        return ()

    def packets(self) -> Counter[tuple[str, str]]:
        """Packets to routers so far, by operation and result."""
        return sum((announcer.packets() for announcer in self._announcers), Counter[tuple[str, str]]())


def _rows(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
