"""Which containers are ours, and where the routers stand.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fastroute.controller.decide.address import Surroundings
from fastroute.controller.decide.container import Container, Network
from fastroute.controller.decide.labels import is_labelled, is_router
from fastroute.controller.settings import ControllerSettings

PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class Scope:
    """Label prefix, ``--filter`` conditions (``NAME`` or ``NAME=VALUE`` of a label, all must hold), ``--network``;
    ``published``: the host where the engine's published ports are reached (empty: its networks are)."""

    prefix: str = "fastroute"
    filters: tuple[str, ...] = ()
    network: str = ""
    published: str = ""

    @classmethod
    def of(cls, settings: ControllerSettings, published: str = "") -> Scope:
        """The scope that ``settings`` ask for."""
        return cls(settings.label_prefix, settings.filter, settings.network or "", published)

    def labelled(self, labels: Mapping[str, str]) -> bool:
        """True for containers that people should see."""
        return is_labelled(labels, self.prefix) and all(_matches(labels, one) for one in self.filters)

    def router(self, labels: Mapping[str, str]) -> bool:
        """True for a router's container, whose networks matter; filters are not about it."""
        return is_router(labels, self.prefix)

    def relevant(self, labels: Mapping[str, str]) -> bool:
        """True for either."""
        return self.labelled(labels) or self.router(labels)

    def surroundings(
        self,
        routers: Iterable[Container],
        own: Container | None,
        networks: Mapping[str, Network],
        last: Surroundings,
    ) -> Surroundings:
        """Where the routers stand, and how the engine's containers are reached."""
        return replace(self._surroundings(routers, own, networks, last), published=self.published)

    def _surroundings(
        self,
        routers: Iterable[Container],
        own: Container | None,
        networks: Mapping[str, Network],
        last: Surroundings,
    ) -> Surroundings:
        """Where the routers stand.  While none exists (it is being recreated), they stand where the last one stood.

        Several stacks may share an engine: routers of the controller's own compose project go before all others.
        """
        routers = sorted(routers, key=lambda router: (not router.running, router.name))
        if project := own.labels.get(PROJECT) if own else None:
            routers = [router for router in routers if router.labels.get(PROJECT) == project] or routers
        if not routers and last.whose.startswith("the router's"):
            return replace(last, option=self.network, networks=networks, outside=own is None)
        shared: set[str] | None = set()
        whose = f"the controller's container {own.name}" if own else ""
        for one in routers or filter(None, [own]):
            shared = _joined(one, shared)
        if routers:
            whose = f"the router's container {routers[0].name}"
        if shared is None or not whose:
            return Surroundings(self.network, (), whose, networks, outside=True)
        return Surroundings(self.network, tuple(sorted(shared)), whose, networks, outside=own is None)


def _joined(container: Container, others: set[str] | None) -> set[str] | None:
    """The networks of ``container`` and ``others``; ``None`` (every local bridge) when it is on the host's own."""
    if others is None or container.network_mode == "host":
        return None
    return others | {end.network for end in container.endpoints}


def _matches(labels: Mapping[str, str], condition: str) -> bool:
    name, equals, value = condition.partition("=")
    return name in labels and (not equals or labels[name] == value)
