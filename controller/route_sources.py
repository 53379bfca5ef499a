"""Everything that routes come from, for the API, the metrics and the mode: the engines and the static file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastroute.controller import hidden
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.desired import Desired
from fastroute.controller.nginx_mode import unsupported
from fastroute.controller.views import View

if TYPE_CHECKING:
    from fastroute.controller.files.static_file import StaticFile


@dataclass(slots=True)
class RouteSources:
    """A :class:`~fastroute.controller.mode.CurrentRoutes`; filled before anything is read from it."""

    engines: Sequence[Reconciler] = ()
    static: StaticFile | None = None
    #: Whether nginx serves them, which can do less than a router.
    nginx: bool = False
    #: Its version, if somebody has said it.
    nginx_version: tuple[int, ...] | None = None

    def views(self) -> dict[str, View]:
        """Every labelled container of every engine, by id."""
        views = {id: view for engine in self.engines for id, view in engine.statuses.views().items()}
        return hidden.noted(unsupported.noted(views, self.nginx_version) if self.nginx else views)

    def desired(self) -> list[tuple[Desired, str]]:
        """The desired state of each source, and the source's name."""
        parts = [(engine.desired, engine.source) for engine in self.engines]
        return [*parts, (self.static.desired, self.static.source)] if self.static else parts

    def names(self) -> list[str]:
        """The names of the sources that have one by now: who this controller is to the routers."""
        engines = [engine.source for engine in self.engines if engine.source]
        return [*engines, self.static.source] if self.static else engines
