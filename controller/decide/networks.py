"""The networks of one engine, and where the routers stand among them.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from fastroute.controller.decide.container import Container, Network
from fastroute.controller.decide.scope import Scope

_PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """The networks of the engine, and where the routers stand among them.

    * ``option``: the network that ``--network`` names.
    * ``shared``: the networks on which the routers stand.
    * ``shared_with``: the container whose networks those are, in words; empty if there is none.
    * ``known``: all networks of the engine, by name.
    * ``outside``: the controller runs outside Docker, so that every local bridge will do as well.
    * ``published``: the engine is elsewhere, and the ports that it publishes are reached at this host.
    * ``project``: the compose project of these routers, if it is the controller's own.
    * ``foreign``: networks where routers of other stacks stand and ours do not, with the name of such a router.
    """

    option: str = ""
    shared: tuple[str, ...] = ()
    shared_with: str = ""
    known: Mapping[str, Network] = field(default_factory=dict)
    outside: bool = True
    published: str = ""
    project: str = ""
    foreign: Mapping[str, str] = field(default_factory=dict)

    @property
    def bridges(self) -> tuple[str, ...]:
        """Names of the local bridges."""
        return tuple(sorted(name for name, network in self.known.items() if network.local_bridge))


def network_context(
    scope: Scope,
    routers: Iterable[Container],
    own: Container | None,
    known: Mapping[str, Network],
    last: NetworkContext,
) -> NetworkContext:
    """Where the ``routers`` stand.  While none exists (it is being recreated), they stand where they did in ``last``.
    ``own``: the controller's container; ``known``: all networks of the engine, by name.

    Several stacks may share an engine: routers of the controller's own compose project go before all others, also
    while they are being recreated.
    """
    all_routers = sorted(routers, key=lambda router: (not router.running, router.name))
    project = own.labels.get(_PROJECT, "") if own else ""
    ours = [router for router in all_routers if project and router.labels.get(_PROJECT) == project]
    base = NetworkContext(scope.network, known=known, outside=own is None, published=scope.published)
    if last.shared_with.startswith("the router's") and (
        not all_routers or (project and last.project == project and not ours)
    ):
        foreign = _foreign(all_routers, {*last.shared, scope.network}, known, last)
        return replace(base, shared=last.shared, shared_with=last.shared_with, project=last.project, foreign=foreign)
    routers = ours or all_routers
    shared: set[str] | None = set()
    shared_with = f"the controller's container {own.name}" if own else ""
    for container in routers or filter(None, [own]):
        shared = _joined(container, shared, known)
    if routers:
        shared_with = f"the router's container {routers[0].name}"
    if shared is None or not shared_with:
        return replace(base, shared_with=shared_with, outside=True)
    others = [router for router in all_routers if router not in ours]
    return replace(
        base,
        shared=tuple(sorted(shared)),
        shared_with=shared_with,
        project=project if ours else "",
        foreign=_foreign(others, {*shared, scope.network}, known, last) if ours else {},
    )


def _foreign(
    others: Iterable[Container], shared: Collection[str], networks: Mapping[str, Network], last: NetworkContext
) -> dict[str, str]:
    """Networks where ``others``, routers of other stacks, stand and ours do not.  Each has the router there in
    words, or the last one while the network lasts, as routers are recreated."""
    foreign = {name: text for name, text in last.foreign.items() if name in networks and name not in shared}
    for router in others:
        project = f" of compose project {router.labels[_PROJECT]}" if _PROJECT in router.labels else ""
        for end in router.endpoints:
            if end.network not in shared and end.network not in ("host", "none"):
                foreign[end.network] = f"router container {router.name}{project}"
    return foreign


def _joined(container: Container, others: set[str] | None, known: Mapping[str, Network]) -> set[str] | None:
    """The networks of ``container`` and ``others``; ``None`` (every local bridge) when it is on the host's own."""
    if others is None or container.network_mode == "host":
        return None
    return others | {end.network for end in container.endpoints if not is_mesh(end.network, known)}


def is_mesh(name: str, known: Mapping[str, Network]) -> bool:
    """Whether the network is a swarm's own, where no router reaches a container."""
    return name in known and known[name].mesh
