"""Where the routers stand, kept current while containers come and go.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fastroute.controller.decide.address import Surroundings
from fastroute.controller.decide.container import Network
from fastroute.controller.decide.records import Records
from fastroute.controller.decide.scope import Scope


class Whereabouts:
    """``around`` is what addresses are chosen by; whenever it changes, every container is judged again."""

    def __init__(self, scope: Scope, records: Records) -> None:
        self.around = Surroundings(scope.network, published=scope.published)
        self._records = records

    def look(self, scope: Scope, own_id: str) -> None:
        """A router's container, or our own (``own_id``), may have moved."""
        for id in self._records.stale:
            record = self._records.get(id)
            labels = record.container.labels if record and record.container else {}
            if id == own_id or scope.router(labels):
                self.survey(scope, own_id, self.around.networks)
                return

    def survey(self, scope: Scope, own_id: str, networks: Mapping[str, Network]) -> None:
        """Everything may have moved."""
        own = self._records.get(own_id)
        routers = [one.container for one in self._records if one.container and scope.router(one.container.labels)]
        around = scope.surroundings(routers, own.container if own else None, networks, self.around)
        if around != self.around:
            self.around = around
            for record in self._records:
                self._records.judge_again(record.id, "networks of engine or router" if record.offer else record.cause)
