"""What one container contributes: its state, the reason, the routes, and what has to be probed first.  Pure.

:func:`judge` looks at one inspected container and what is known beside it (a stop in progress, a doubt that an event
raised, probes that succeeded).  It never looks at other containers' routes; :mod:`.assembly` does.
A container may be routed only when every question has a good answer; the first bad one is its state and reason.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from fastroute.controller.decide.address import Found, Lookup, Missing, Surroundings, choose
from fastroute.controller.decide.container import Container
from fastroute.controller.decide.labels import Labels, RouteSpec
from fastroute.controller.decide.overrides import Of, Override
from fastroute.controller.desired import Offer, Route, Shown, Target
from fastroute.router.address import join_host_port
from fastroute.router.key import example_host
from fastroute.router.subscription import Entry

#: ``stopping``: it got its stop signal; ``outlived``: and is still there long after, so a fresh probe decides.
Stop = Literal["no", "stopping", "outlived"]

_ONE_OFF = "com.docker.compose.oneoff"
_PROJECT = "com.docker.compose.project"
_DOUBTS = {
    "die": ("stopped", "its process has ended"),
    "pause": ("paused", "paused"),
    "unhealthy": ("unhealthy", "its HEALTHCHECK fails"),
    "disconnect": ("pending", "left the network of its address; being looked at"),
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What inspect does not show.  ``signal``: of the stop; ``healthy``: Docker called this start of it healthy, and
    not unhealthy since; ``doubt``: an event that takes its routes until the next inspect; ``round`` counts up when
    earlier probes no longer prove anything; ``proven`` are the probes that succeeded, ``troubles`` what the others met;
    ``overrides``: what operators want, by key and port; ``held``: why it is held back, if it is."""

    stop: Stop = "no"
    signal: int = 0
    healthy: bool = False
    doubt: str = ""
    round: int = 0
    proven: frozenset[Target] = frozenset()
    troubles: Mapping[Target, str] = field(default_factory=dict)
    overrides: Of = field(default_factory=dict)
    held: str = ""


@dataclass(frozen=True, slots=True)
class _Judged:
    """One route of the container: where it would go, and whether it may."""

    spec: RouteSpec
    where: Found | Missing
    state: str
    reason: str
    serves: bool = False
    target: Target | None = None

    @property
    def address(self) -> str:
        """With the port; empty: there is none."""
        return _place(self.where, self.spec) if isinstance(self.where, Found) else ""


def _place(where: Found, spec: RouteSpec) -> str:
    return join_host_port(where.address, where.port or spec.port)


def judge(container: Container, labels: Labels, about: Circumstances, around: Surroundings, lookup: Lookup) -> Offer:
    """The :class:`Offer` of ``container``."""
    if labels.problems:
        where = choose(container, "", around, lookup)
        if isinstance(where, Missing) and where.foreign:
            return _offer(container, "disabled", where.reason)
        return _offer(container, "error", "; ".join(labels.problems))
    if not labels.enabled:
        return _offer(container, "disabled", "its labels say enable=false")
    if container.labels.get(_ONE_OFF, "").lower() == "true":
        return _offer(container, "disabled", "a one-off container of compose run")
    blocked = _blocked(container, about)
    judged = [_judge_route(container, spec, about, around, lookup, blocked) for spec in labels.routes]
    # Not even known here: our routers have nothing to say about such a key.
    ours = [one for one in judged if one.state != "disabled"]
    return _offer(container, *_together(ours or judged), ours, about.overrides)


def _together(judged: list[_Judged]) -> tuple[str, str]:
    """State and reason of a container from those of its routes: the worst, but one that serves is not draining."""
    if {one.state for one in judged} == {"ready", "draining"}:
        drained = [one for one in judged if one.state == "draining"]
        said = "; ".join(f"{', '.join(one.spec.keys)}: {one.reason}" for one in drained)
        return "ready", f"{next(one for one in judged if one.state == 'ready').reason}; {said}"
    worst = min(judged, key=lambda one: _SEVERITY.index(one.state))
    return worst.state, worst.reason


_ACCEPTS = "its port accepts (a path as probe would prove that the application is loaded)"
_SEVERITY = ("error", "stopped", "paused", "unhealthy", "pending", "probing", "draining", "ready", "disabled")


def _blocked(container: Container, about: Circumstances) -> tuple[str, str] | None:
    """State and reason why no route of the container may serve now, whatever its addresses are."""
    if container.status == "created":
        return "pending", "created, not started"
    if container.status == "restarting":
        return "pending", f"restarting after exit code {container.exit_code}"
    if container.status == "paused":
        return "paused", "paused"
    if not container.running:
        return "stopped", f"{container.status}, exit code {container.exit_code}"
    if about.stop == "stopping":
        return "draining", _stopping(container, about.signal)
    if about.held:
        return "pending", about.held
    return _DOUBTS.get(about.doubt)


def _stopping(container: Container, number: int) -> str:
    own = number in (container.stop_signal, signal.SIGKILL)
    return "it got its stop signal" if own else f"it got {signal.Signals(number).name}, which is taken for a stop"


def _judge_route(
    container: Container,
    spec: RouteSpec,
    about: Circumstances,
    around: Surroundings,
    lookup: Lookup,
    blocked: tuple[str, str] | None,
) -> _Judged:
    where = choose(container, spec.network, around, lookup, spec.port)
    if isinstance(where, Missing) and where.foreign:
        return _Judged(spec, where, "disabled", where.reason)
    if blocked:
        return _Judged(spec, where, *blocked)
    if isinstance(where, Missing):
        return _Judged(spec, where, "pending" if where.soon else "error", where.reason)
    state, reason, target = _readiness(container, spec, _place(where, spec), about)
    serves = state == "ready"
    if serves:
        state, reason = _steered(spec, about.overrides, reason)
    return _Judged(spec, where, state, reason, serves, target)


def _steered(spec: RouteSpec, overrides: Of, reason: str) -> tuple[str, str]:
    """State and reason of a route that could serve, after weights and what operators want."""
    drained = [key for key in spec.keys if _override(spec, key, overrides).drains]
    others = [key for key in spec.keys if not _drains(spec, key, overrides)]
    if not others:
        return "draining", "drained by an operator" if drained else "weight 0: no new requests"
    if drained:
        reason += f"; drained by an operator for {', '.join(drained)}"
    elif any(_override(spec, key, overrides) for key in spec.keys):
        reason += "; weight set by an operator"
    return "ready", reason


def _override(spec: RouteSpec, key: str, overrides: Of) -> Override:
    return overrides.get((key, spec.port), _NONE)


_NONE = Override()


def _weight(spec: RouteSpec, key: str, overrides: Of) -> int:
    weight = _override(spec, key, overrides).weight
    return spec.weight if weight is None else weight


def _drains(spec: RouteSpec, key: str, overrides: Of) -> bool:
    return _override(spec, key, overrides).drain or _weight(spec, key, overrides) == 0


def _readiness(
    container: Container, spec: RouteSpec, address: str, about: Circumstances
) -> tuple[str, str, Target | None]:
    checked = container.health if spec.health == "docker" else ""
    if checked == "starting" and not about.healthy:
        return "pending", "its HEALTHCHECK has not passed yet", None
    if checked == "unhealthy":
        return "unhealthy", "its HEALTHCHECK fails", None
    well = "healthy" if checked != "starting" else "healthy before Docker began its checks anew"
    if (checked or spec.probe == "none") and (about.stop == "no" or spec.probe == "none"):
        return "ready", well if checked else "not probed: its probe label says none", None
    path = spec.probe if spec.probe.startswith("/") and not checked else ""
    target = Target(container.owner, address, spec.protocol, path, example_host(spec.keys[0]), about.round)
    asked = replace(target, path=spec.probe if spec.probe.startswith("/") else f"/{spec.keys[0].partition('/')[2]}")
    if about.stop == "outlived" and asked not in about.proven:
        return "draining", f"it outlived its stop signal; waiting for GET {asked.path}", asked
    if about.proven.isdisjoint((target, asked)):
        trouble = f"; so far: {about.troubles[target]}" if target in about.troubles else ""
        return "probing", f"waiting for {f'GET {path}' if path else 'its port to accept'}{trouble}", target
    if checked:
        return "ready", well, None
    return (
        "ready",
        f"GET {path} answered" if path else "its port accepts, which proves little; a path proves more",
        None,
    )


def _offer(
    container: Container, state: str, reason: str, judged: Iterable[_Judged] = (), overrides: Of | None = None
) -> Offer:
    judged, overrides = tuple(judged), overrides or {}
    routes = tuple(route for one in judged for route in _routes(container, one, overrides))
    served = {route.entry.key for route in routes if route.entry.address}
    return Offer(
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
        shown=tuple(_shown(one, key, overrides) for one in judged for key in one.spec.keys),
        networks=frozenset(one.where.network for one in judged if isinstance(one.where, Found)),
        spaces={one.address: one.where.space for one in judged if isinstance(one.where, Found)},
        targets=tuple(dict.fromkeys(one.target for one in judged if one.target)),
        soon=any(one.state == "pending" and isinstance(one.where, Missing) and one.where.soon for one in judged),
    )


def _why(where: Found | Missing) -> str:
    if isinstance(where, Missing):
        return where.reason
    return where.why if where.network in ("published", "host") else f"on network {where.network}: {where.why}"


def _shown(one: _Judged, key: str, overrides: Of) -> Shown:
    drained = _drains(one.spec, key, overrides)
    state = "draining" if one.serves and drained else "ready" if one.serves else one.state
    weight = _weight(one.spec, key, overrides)
    return Shown(key, one.address, _why(one.where), one.spec.port, state, one.reason, weight, drained)


def _routes(container: Container, one: _Judged, overrides: Of) -> list[Route]:
    return [Route(_entry(container, one, key, overrides), container.name) for key in one.spec.keys]


def _entry(container: Container, one: _Judged, key: str, overrides: Of) -> Entry:
    spec = one.spec
    if not one.serves:
        return Entry(key, algorithm=spec.algorithm, owner=container.owner)
    return Entry(
        key,
        one.address,
        weight=_weight(spec, key, overrides),
        backup=spec.backup,
        modifier1=spec.modifier1,
        modifier2=spec.modifier2,
        protocol=spec.protocol,
        algorithm=spec.algorithm,
        drain=_drains(spec, key, overrides),
        owner=container.owner,
    )
