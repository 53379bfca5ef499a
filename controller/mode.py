"""Where routes go: to routers, or into nginx's own configuration.  The protocol that both modes keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client.registry import Collector

from fastroute.controller.desired import Desired, RouteKey, Sink
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.key_holder import KeySink
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.views import InFlight, View


class CurrentRoutes(Protocol):
    """What all sources (engines and the static file) want to be routed now, and the containers that it comes from."""

    def views(self) -> Mapping[str, View]:
        """Every labelled container, by id."""
        ...

    def desired(self) -> Sequence[tuple[Desired, str]]:
        """The desired state of each source, and the source's name."""
        ...


@dataclass(frozen=True, slots=True)
class ModeContext:
    """What every mode is made from."""

    settings: ControllerSettings
    events: ControllerEvents
    routes: CurrentRoutes
    #: Gets the seconds that each ack of a change took, where somebody acks.
    on_ack: Callable[[float], object]


class WatchedFile(Protocol):
    """A file, or a directory, that is read again when it changes."""

    @property
    def path(self) -> Path:
        """What to watch."""
        ...

    @property
    def read(self) -> ReadFile:
        """How the last reading went."""
        ...

    def reread(self) -> None:
        """Read it, and apply it if it is good."""
        ...


class Mode(Protocol):
    """A mode of the controller.  All methods may be called from any thread."""

    @property
    def name(self) -> str:
        """The value of ``--mode``."""
        ...

    def sink(self, source: Callable[[], str]) -> Sink:
        """The sink of one source; ``source`` returns its name once there is something to apply."""
        ...

    def key_sink(self, source: Callable[[], str]) -> KeySink | None:
        """The sink of what operators hold keys in (pauses, maintenance); None: this mode can't hold any."""
        ...

    def start(self) -> None:
        """Begin, when every sink was made."""
        ...

    def lost(self, sources: Sequence[str]) -> None:
        """The swarm says that the machines of these sources are down."""
        ...

    def close(self) -> None:
        """End.  Everything that is served stays as it is."""
        ...

    def status(self) -> dict[str, object]:
        """The mode's part of ``/v1/status``, as JSON."""
        ...

    def keys(self) -> list[dict[str, object]]:
        """What is routed, by key, as JSON."""
        ...

    #: Seconds in which a change is expected to be everywhere.
    ack_timeout: float

    def lacking(self, names: Collection[RouteKey]) -> dict[str, str]:
        """Of each router (or nginx), why it may not have what was applied last of the routes ``names``; empty: it
        has."""
        ...

    def in_flight(self) -> InFlight | None:
        """The requests that run on drained nodes, as far as known; None: this mode counts no requests."""
        ...

    def problem(self) -> str:
        """Why the desired routes are not served; empty: they are, as far as this mode can tell."""
        ...

    def preview(self) -> dict[str, object]:
        """What nginx mode would write now, as JSON; ``ValueError`` says why it can't be rendered."""
        ...

    def packets(self) -> Mapping[tuple[str, str], int]:
        """Packets to routers so far, by operation and result."""
        ...

    def collectors(self) -> Sequence[Collector]:
        """What else the mode adds to the metrics."""
        ...

    def watched(self) -> Sequence[WatchedFile]:
        """The mode's files that are read again when they change."""
        ...
