"""Where the routers stand, kept current while containers come and go.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fastroute.controller.decide.address import NetworkContext
from fastroute.controller.decide.container import Network
from fastroute.controller.decide.container_store import ContainerStore
from fastroute.controller.decide.scope import Scope


class RouterNetworks:
    """``around`` is what addresses are chosen by; whenever it changes, every container is judged again."""

    def __init__(self, scope: Scope, containers: ContainerStore) -> None:
        self.context = NetworkContext(scope.network, published=scope.published)
        self._containers = containers

    def look(self, scope: Scope, own_id: str) -> None:
        """A router's container, or our own (``own_id``), may have moved."""
        for id in self._containers.stale:
            tracked = self._containers.get(id)
            labels = tracked.container.labels if tracked and tracked.container else {}
            if id == own_id or scope.router(labels):
                self.survey(scope, own_id, self.context.known)
                return

    def survey(self, scope: Scope, own_id: str, networks: Mapping[str, Network]) -> None:
        """Everything may have moved."""
        own = self._containers.get(own_id)
        routers = [one.container for one in self._containers if one.container and scope.router(one.container.labels)]
        context = scope.surroundings(routers, own.container if own else None, networks, self.context)
        if context != self.context:
            self.context = context
            for tracked in self._containers:
                self._containers.mark_stale(
                    tracked.id, "networks of engine or router" if tracked.offer else tracked.cause
                )
