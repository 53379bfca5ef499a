"""The evaluation of one container: its state, the reason, its routes, and what has to be probed first.  Pure.

:func:`evaluate` looks at one inspected container and what is known beside it (a stop in progress, an event that
raised a suspicion, probes that succeeded).  It never looks at the routes of other containers; :mod:`.assembly` does.
A container may be routed only when every question has a good answer; the first bad one is its state and reason.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from fastroute.controller.decide.address import FoundAddress, Lookup, NoAddress, choose
from fastroute.controller.decide.container import Container
from fastroute.controller.decide.labels import Labels, RouteSpec
from fastroute.controller.decide.networks import NetworkContext
from fastroute.controller.decide.route_override import OverrideMap, RouteOverride
from fastroute.controller.desired import ContainerRoutes, ProbeTarget, Route, RouteStatus
from fastroute.router.protocol.address import join_host_port
from fastroute.router.protocol.key import example_host
from fastroute.router.protocol.subscription import Entry

#: ``replaced``: its stop signal is expected at any moment; ``stopping``: it got it; ``outlived``: and is still there
#: long after, so a fresh probe decides.
StopPhase = Literal["no", "replaced", "stopping", "outlived"]

_ONE_OFF = "com.docker.compose.oneoff"
_PROJECT = "com.docker.compose.project"
_SUSPECTED = {
    "die": ("stopped", "its process has ended"),
    "pause": ("paused", "paused"),
    "unhealthy": ("unhealthy", "its HEALTHCHECK fails"),
    "disconnect": ("pending", "left the network of its address; being looked at"),
}


@dataclass(frozen=True, slots=True)
class ContainerContext:
    """What inspect does not show of a container."""

    stop: StopPhase = "no"
    #: The signal of the stop in progress; 0: there is none.
    signal: int = 0
    #: Docker called this start healthy, and has not called it unhealthy since.
    healthy: bool = False
    #: The event that takes its routes until the next inspect; empty: there is none.
    suspected: str = ""
    #: The number of the round of probes: what an earlier round proved counts no more.
    round: int = 0
    #: The probes that succeeded, and what the others met.
    proven: frozenset[ProbeTarget] = frozenset()
    troubles: Mapping[ProbeTarget, str] = field(default_factory=dict)
    #: What operators want.
    overrides: OverrideMap = field(default_factory=dict)
    #: Why it is held back; empty: it is not.
    held: str = ""


@dataclass(frozen=True, slots=True)
class _EvaluatedRoute:
    """One route of the container: where it would go, and whether it may."""

    spec: RouteSpec
    where: FoundAddress | NoAddress
    state: str
    reason: str
    serves: bool = False
    target: ProbeTarget | None = None

    @property
    def address(self) -> str:
        """With the port; empty: there is none."""
        return _place(self.where, self.spec) if isinstance(self.where, FoundAddress) else ""


def _place(where: FoundAddress, spec: RouteSpec) -> str:
    return join_host_port(where.address, where.port or spec.port)


def evaluate(
    container: Container, labels: Labels, context: ContainerContext, networks: NetworkContext, lookup: Lookup
) -> ContainerRoutes:
    """The :class:`ContainerRoutes` of ``container``."""
    if labels.problems:
        where = choose(container, "", networks, lookup)
        if isinstance(where, NoAddress) and where.foreign:
            return _offer(container, "disabled", where.reason)
        return _offer(container, "error", "; ".join(labels.problems))
    if not labels.enabled:
        return _offer(container, "disabled", "its labels say enable=false")
    if container.labels.get(_ONE_OFF, "").lower() == "true":
        return _offer(container, "disabled", "a one-off container of compose run")
    blocked = _blocked(container, context)
    evaluated = [_evaluate_route(container, spec, context, networks, lookup, blocked) for spec in labels.routes]
    # Not even known here: our routers have nothing to say about such a key.
    ours = [route for route in evaluated if route.state != "disabled"]
    return _offer(container, *_together(ours or evaluated), ours, context.overrides)


def _together(evaluated: list[_EvaluatedRoute]) -> tuple[str, str]:
    """State and reason of a container from those of its routes.  The most severe state wins; ready and draining routes
    together count as ready."""
    if {route.state for route in evaluated} == {"ready", "draining"}:
        drained = [route for route in evaluated if route.state == "draining"]
        reasons = "; ".join(f"{', '.join(route.spec.keys)}: {route.reason}" for route in drained)
        return "ready", f"{next(route for route in evaluated if route.state == 'ready').reason}; {reasons}"
    worst = min(evaluated, key=lambda route: _SEVERITY.index(route.state))
    return worst.state, worst.reason


_SEVERITY = ("error", "stopped", "paused", "unhealthy", "pending", "probing", "draining", "ready", "disabled")


def _blocked(container: Container, context: ContainerContext) -> tuple[str, str] | None:
    """State and reason why no route of the container may serve now, whatever its addresses are."""
    if container.status == "created":
        return "pending", "created, not started"
    if container.status == "restarting":
        return "pending", f"restarting after exit code {container.exit_code}"
    if container.status == "paused":
        return "paused", "paused"
    if not container.running:
        return "stopped", f"{container.status}, exit code {container.exit_code}"
    if context.stop == "stopping":
        return "draining", _stopping(container, context.signal)
    if context.stop == "replaced":
        return "draining", "docker compose is about to replace it"
    if context.held:
        return "pending", context.held
    return _SUSPECTED.get(context.suspected)


def _stopping(container: Container, number: int) -> str:
    own = number in (container.stop_signal, signal.SIGKILL)
    return "it got its stop signal" if own else f"it got {signal.Signals(number).name}, which is taken for a stop"


def _evaluate_route(
    container: Container,
    spec: RouteSpec,
    context: ContainerContext,
    networks: NetworkContext,
    lookup: Lookup,
    blocked: tuple[str, str] | None,
) -> _EvaluatedRoute:
    where = choose(container, spec.network, networks, lookup, spec.port)
    if isinstance(where, NoAddress) and where.foreign:
        return _EvaluatedRoute(spec, where, "disabled", where.reason)
    if blocked:
        return _EvaluatedRoute(spec, where, *blocked)
    if isinstance(where, NoAddress):
        return _EvaluatedRoute(spec, where, "pending" if where.retry_soon else "error", where.reason)
    state, reason, target = _readiness(container, spec, _place(where, spec), context)
    serves = state == "ready"
    if serves:
        state, reason = _steered(spec, context.overrides, reason)
    return _EvaluatedRoute(spec, where, state, reason, serves, target)


def _steered(spec: RouteSpec, overrides: OverrideMap, reason: str) -> tuple[str, str]:
    """State and reason of a route that could serve, after weights and what operators want."""
    drained = [key for key in spec.keys if _override(spec, key, overrides).drains]
    switched = list(filter(None, (_override(spec, key, overrides).switch for key in spec.keys)))
    others = [key for key in spec.keys if not _drains(spec, key, overrides)]
    if not others:
        drained_by = "drained by an operator" if drained else "weight 0: no new requests"
        return "draining", f"{reason}; {'; '.join(switched)}" if switched else drained_by
    if switched:
        reason += f"; {'; '.join(switched)}"
    elif drained:
        reason += f"; drained by an operator for {', '.join(drained)}"
    elif any(_override(spec, key, overrides) for key in spec.keys):
        reason += "; weight set by an operator"
    return "ready", reason


def _override(spec: RouteSpec, key: str, overrides: OverrideMap) -> RouteOverride:
    return overrides.get((key, spec.port), _NONE)


_NONE = RouteOverride()


def _weight(spec: RouteSpec, key: str, overrides: OverrideMap) -> int:
    weight = _override(spec, key, overrides).weight
    return spec.options.weight if weight is None else weight


def _drains(spec: RouteSpec, key: str, overrides: OverrideMap) -> bool:
    return _override(spec, key, overrides).drains or _weight(spec, key, overrides) == 0


def _readiness(
    container: Container, spec: RouteSpec, address: str, context: ContainerContext
) -> tuple[str, str, ProbeTarget | None]:
    checked = container.health if spec.health == "docker" else ""
    if checked == "starting" and not context.healthy:
        return "pending", "its HEALTHCHECK has not passed yet", None
    if checked == "unhealthy":
        return "unhealthy", "its HEALTHCHECK fails", None
    well = "healthy" if checked != "starting" else "healthy before Docker began its checks anew"
    if (checked or spec.probe == "none") and (context.stop == "no" or spec.probe == "none"):
        return "ready", well if checked else "not probed: its probe label says none", None
    path = spec.probe if spec.probe.startswith("/") and not checked else ""
    target = ProbeTarget(
        container.owner, address, spec.options.protocol, path, example_host(spec.keys[0]), context.round
    )
    path_target = replace(
        target, path=spec.probe if spec.probe.startswith("/") else f"/{spec.keys[0].partition('/')[2]}"
    )
    if context.stop == "outlived" and path_target not in context.proven:
        return "draining", f"it outlived its stop signal; waiting for GET {path_target.path}", path_target
    if context.proven.isdisjoint((target, path_target)):
        trouble = f"; so far: {context.troubles[target]}" if target in context.troubles else ""
        return "probing", f"waiting for {f'GET {path}' if path else 'its port to accept'}{trouble}", target
    if checked:
        return "ready", well, None
    return (
        "ready",
        f"GET {path} answered" if path else "its port accepts, which proves little; a path proves more",
        None,
    )


def _offer(
    container: Container,
    state: str,
    reason: str,
    evaluated: Iterable[_EvaluatedRoute] = (),
    overrides: OverrideMap | None = None,
) -> ContainerRoutes:
    evaluated, overrides = tuple(evaluated), overrides or {}
    routes = tuple(route for each in evaluated for route in _routes(container, each, overrides))
    served = {route.entry.key for route in routes if route.entry.address}
    return ContainerRoutes(
        id=container.id,
        name=container.name,
        owner=container.owner if container.alive else "",
        project=container.labels.get(_PROJECT, ""),
        created_ns=container.created_ns,
        started_ns=container.started_ns,
        state=state,
        reason=reason,
        health=container.health,
        routes=tuple(route for route in routes if route.entry.address or route.entry.key not in served),
        statuses=tuple(_status(route, key, overrides) for route in evaluated for key in route.spec.keys),
        networks=frozenset(route.where.network for route in evaluated if isinstance(route.where, FoundAddress)),
        port_namespaces={
            route.address: route.where.port_namespace for route in evaluated if isinstance(route.where, FoundAddress)
        },
        probe_targets=tuple(dict.fromkeys(route.target for route in evaluated if route.target)),
        retry_soon=any(
            route.state == "pending" and isinstance(route.where, NoAddress) and route.where.retry_soon
            for route in evaluated
        ),
    )


def _why(where: FoundAddress | NoAddress) -> str:
    if isinstance(where, NoAddress):
        return where.reason
    return where.why if where.network in ("published", "host") else f"on network {where.network}: {where.why}"


def _status(route: _EvaluatedRoute, key: str, overrides: OverrideMap) -> RouteStatus:
    drained = _drains(route.spec, key, overrides)
    state = "draining" if route.serves and drained else "ready" if route.serves else route.state
    weight = _weight(route.spec, key, overrides)
    port, switched = route.spec.port, bool(_override(route.spec, key, overrides).switch)
    return RouteStatus(
        key, route.address, _why(route.where), port, state, route.reason, weight, drained, route.serves, switched
    )


def _routes(container: Container, route: _EvaluatedRoute, overrides: OverrideMap) -> list[Route]:
    return [Route(_entry(container, route, key, overrides), container.name) for key in route.spec.keys]


def _entry(container: Container, route: _EvaluatedRoute, key: str, overrides: OverrideMap) -> Entry:
    spec = route.spec
    entry = Entry(
        key,
        route.address,
        replace(spec.options, weight=_weight(spec, key, overrides)),
        drain=_drains(spec, key, overrides),
        owner=container.owner,
        sessions=override.sessions if (override := _override(spec, key, overrides)).keeps_sessions else 0.0,
    )
    return entry if route.serves else entry.for_key
