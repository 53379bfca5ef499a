"""What the admin API shows of containers and routes, as JSON objects.  Pure.

Views are made by the deciding thread when something changes and are never changed afterwards, so that other threads
read them without a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fastroute.controller.decide.container import Container, nanoseconds_as_text
from fastroute.controller.decide.labels import Labels, RouteSpec
from fastroute.controller.decide.swarm import task_of
from fastroute.controller.desired import ContainerRoutes, Desired, RouteKey, RouteStatus
from fastroute.router.protocol.node_options import (
    KEY_SETTINGS,
    KeyOptions,
    balancing_fields,
    from_names,
    https_fields,
    non_defaults,
)

SCHEMA_STATUS = "fastroute.status/v1"
SCHEMA_CONTAINERS = "fastroute.containers/v1"
SCHEMA_CONTAINER = "fastroute.container/v1"
#: Requests that still run on drained or withdrawn nodes, as far as routers told.
InFlight = Mapping[RouteKey, int]
#: Transitions of a container that ``describe`` shows.
_TRANSITIONS = 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a container beside its offer.

    * ``engine``: the engine's URL.
    * ``cause``: the last thing that happened to the container, in words.
    * ``node``: the engine's host name in its swarm; empty: it is in none.
    """

    container: Container
    labels: Labels
    prefix: str
    engine: str
    cause: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """A container came into a state (or got another reason for it) at ``time``; ``cause`` led there."""

    time: str
    state: str
    reason: str
    cause: str


@dataclass(frozen=True, slots=True)
class View:
    """One labelled container.  ``since`` is when it came into its state; ``history`` are its last transitions."""

    offer: ContainerRoutes
    facts: Facts
    warnings: tuple[str, ...]
    since: str
    history: tuple[Transition, ...]

    @property
    def reason(self) -> str:
        """The reason of its state, and what is odd about it."""
        return "; ".join(filter(None, (self.offer.reason, *self.warnings)))

    def row(self) -> dict[str, object]:
        """One row of ``ps -o json``."""
        return {
            "id": self.offer.id,
            "name": self.offer.name,
            "state": self.offer.state,
            "reason": self.reason,
            "routes": [{"key": status.key, "address": status.address or None} for status in self.offer.statuses],
            "health": self.offer.health or None,
            "since": self.since,
            **self.task,
        }

    @property
    def task(self) -> dict[str, object]:
        """Where the container stands in a swarm; null where it stands in none."""
        task = task_of(self.facts.container.labels)
        named = {"node": self.facts.node if task.task else "", **asdict(task)}
        return {name: value or None for name, value in named.items()}

    def details(self, in_flight: InFlight) -> dict[str, object]:
        """The row and what ``describe`` adds: docs/reference/http.md is its reference."""
        labels, container = self.facts.labels, self.facts.container
        return {
            "schema": SCHEMA_CONTAINER,
            **self.row(),
            "routes": [self._route(status, in_flight) for status in self.offer.statuses],
            "project": self.offer.project or None,
            "engine": self.facts.engine or None,
            "labels": {
                name: value
                for name, value in sorted(container.labels.items())
                if name.startswith(f"{self.facts.prefix}.")
            },
            "parsed": [_parsed(spec) for spec in labels.routes],
            "problems": list(labels.problems),
            "warnings": list(self.warnings),
            "docker": _docker(container),
            "transitions": [asdict(transition) for transition in self.history],
        }

    def _route(self, status: RouteStatus, in_flight: InFlight) -> dict[str, object]:
        number = in_flight.get((status.key, status.address, self.offer.owner))
        return {**asdict(status), "address": status.address or None, "in_flight": number}


def _parsed(spec: RouteSpec) -> dict[str, object]:
    """One route of the labels: its settings stand beside what else they say."""
    plain = asdict(spec)
    options: dict[str, object] = plain.pop("options")
    return plain | options


def _docker(container: Container) -> dict[str, object]:
    return {
        "status": container.status,
        "exit_code": None if container.alive else container.exit_code,
        "created": nanoseconds_as_text(container.created_ns),
        "started": container.started_at if container.started_ns else None,
        "stop_signal": container.stop_signal,
        "stop_timeout": container.stop_timeout,
        "network_mode": container.network_mode,
        "networks": [{"name": end.network, "address": end.address or None} for end in container.endpoints],
        "ports": list(container.ports),
    }


def moved(view: View | None, offer: ContainerRoutes, facts: Facts, warnings: tuple[str, ...], time: str) -> View:
    """The view after ``view``: a new state (or reason) is a transition at ``time``."""
    step = Transition(time, offer.state, offer.reason, facts.cause)
    if view is None:
        return View(offer, facts, warnings, time, (step,))
    if (view.offer.state, view.offer.reason) == (offer.state, offer.reason):
        return replace(view, offer=offer, facts=facts, warnings=warnings)
    since = view.since if view.offer.state == offer.state else time
    return View(offer, facts, warnings, since, (*view.history, step)[-_TRANSITIONS:])


def containers(views: Iterable[View]) -> dict[str, object]:
    """The object of ``ps -o json``, by name."""
    rows = sorted(views, key=lambda view: (view.offer.name, view.offer.id))
    return {"schema": SCHEMA_CONTAINERS, "containers": [view.row() for view in rows]}


def containers_of(key: str, views: Iterable[View], in_flight: InFlight | None = None) -> list[dict[str, object]]:
    """The containers whose labels name ``key``, routed or not, by name: what ``describe KEY`` adds to the key."""
    return [
        {
            "id": view.offer.id,
            "name": view.offer.name,
            "address": status.address or None,
            "state": status.state,
            "reason": "; ".join(filter(None, (status.reason, *view.warnings))),
            "since": view.since,
            "serves": status.serves,
            "drained": status.drained,
            "switched": status.switched,
            "weight": status.weight,
            "in_flight": (in_flight or {}).get((key, status.address, view.offer.owner)),
        }
        for view in sorted(views, key=lambda view: (view.offer.name, view.offer.id))
        for status in view.offer.statuses
        if status.key == key
    ]


def keys(
    parts: Iterable[tuple[Desired, str]], state: str = "", in_flight: InFlight | None = None
) -> list[dict[str, object]]:
    """The keys of all ``parts`` (desired state and its source) as in ``status -o json``, with what the controller knows
    of their nodes; ``state``: that of every node, if it is one for all."""
    nodes_by_key: dict[str, list[dict[str, object]]] = {}
    options: dict[str, dict[str, Any]] = {}
    rows = [(at, desired[at], source) for desired, source in parts for at in desired]
    for _, route, source in sorted(rows, key=lambda row: row[0]):
        entry = route.entry
        nodes = nodes_by_key.setdefault(entry.key, [])
        options.setdefault(entry.key, {}).update(non_defaults(entry.options, KEY_SETTINGS))
        if entry.address:
            nodes.append(
                {
                    "address": entry.address,
                    "state": state or ("draining" if entry.drain else "ready"),
                    "source": source,
                    "container": route.container or None,
                    "weight": entry.options.weight,
                    "backup": entry.options.backup,
                    "max": entry.options.max,
                    "ramp": entry.options.ramp,
                    "zone": entry.options.zone or None,
                    "sessions": entry.sessions,
                    **dict.fromkeys(("requests", "in_flight", "failures", "tx", "rx"), 0),
                    "in_flight": (in_flight or {}).get(route.id, 0),
                    "last_seen": None,
                }
            )
    return [_key(key, from_names(options[key]), nodes) for key, nodes in nodes_by_key.items()]


def key_without_nodes(key: str) -> dict[str, object]:
    """The object of a key that no container and no static node serves."""
    return _key(key, KeyOptions(), [])


def _key(key: str, options: KeyOptions, nodes: list[dict[str, object]]) -> dict[str, object]:
    ready = sum(node["state"] == "ready" for node in nodes)
    return {
        "key": key,
        "algorithm": options.algorithm or None,
        **https_fields(options),
        **balancing_fields(options),
        "ready": ready,
        "total": len(nodes),
        "requests": 0,
        "wait": options.wait,
        "waiting": 0,
        "nodes": nodes,
    }
