"""Which containers are ours, and where the routers stand.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from fastroute.controller.decide.address import NetworkContext
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

    @property
    def opting_in(self) -> tuple[str, ...]:
        """Labels (``NAME`` or ``NAME=VALUE``, as Docker filters by them) of most containers that are relevant."""
        roles = (f"{prefix}.role=router" for prefix in (self.prefix, "fastroute"))
        return f"{self.prefix}.key", *dict.fromkeys(roles)

    def surroundings(
        self,
        routers: Iterable[Container],
        own: Container | None,
        networks: Mapping[str, Network],
        last: NetworkContext,
    ) -> NetworkContext:
        """Where the routers stand, and how the engine's containers are reached."""
        return replace(self._surroundings(routers, own, networks, last), published=self.published)

    def _surroundings(
        self,
        routers: Iterable[Container],
        own: Container | None,
        networks: Mapping[str, Network],
        last: NetworkContext,
    ) -> NetworkContext:
        """Where the routers stand.  While none exists (it is being recreated), they stand where the last one stood.

        Several stacks may share an engine: routers of the controller's own compose project go before all others, also
        while they are being recreated.
        """
        everybody = sorted(routers, key=lambda router: (not router.running, router.name))
        project = own.labels.get(PROJECT, "") if own else ""
        ours = [router for router in everybody if project and router.labels.get(PROJECT) == project]
        routers = ours or everybody
        if last.shared_with.startswith("the router's") and (
            not routers or (project and last.project == project and not ours)
        ):
            foreign = _foreign(everybody, {*last.shared, self.network}, networks, last)
            return replace(last, option=self.network, known=networks, outside=own is None, foreign=foreign)
        shared: set[str] | None = set()
        whose = f"the controller's container {own.name}" if own else ""
        for one in routers or filter(None, [own]):
            shared = _joined(one, shared)
        if routers:
            whose = f"the router's container {routers[0].name}"
        others = [router for router in everybody if router not in ours]
        if shared is None or not whose:
            return NetworkContext(self.network, (), whose, networks, outside=True)
        return NetworkContext(
            self.network,
            tuple(sorted(shared)),
            whose,
            networks,
            outside=own is None,
            project=project if ours else "",
            foreign=_foreign(others, {*shared, self.network}, networks, last) if ours else {},
        )


def _foreign(
    others: Iterable[Container], shared: Collection[str], networks: Mapping[str, Network], last: NetworkContext
) -> dict[str, str]:
    """Networks where ``others``, routers of other stacks, stand and ours do not: each with who stands there, or stood
    there last while the network lasts, as routers are recreated."""
    found = {name: whose for name, whose in last.foreign.items() if name in networks and name not in shared}
    for router in others:
        project = f" of compose project {router.labels[PROJECT]}" if PROJECT in router.labels else ""
        for end in router.endpoints:
            if end.network not in shared and end.network not in ("host", "none"):
                found[end.network] = f"router container {router.name}{project}"
    return found


def _joined(container: Container, others: set[str] | None) -> set[str] | None:
    """The networks of ``container`` and ``others``; ``None`` (every local bridge) when it is on the host's own."""
    if others is None or container.network_mode == "host":
        return None
    return others | {end.network for end in container.endpoints}


def _matches(labels: Mapping[str, str], condition: str) -> bool:
    name, equals, value = condition.partition("=")
    return name in labels and (not equals or labels[name] == value)
