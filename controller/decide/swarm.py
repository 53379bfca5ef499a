"""What an engine's swarm adds to what the engine itself tells: labels of services, and nodes that are down.  Pure.

Only managers may read either, so a controller on a manager reads them of its own engine and tells the others
(:mod:`fastroute.controller.swarm`).  A task's container carries the id of its service; what the service's labels say
(``deploy: labels:``) counts for it, where its own labels say nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SERVICE_ID = "com.docker.swarm.service.id"
_SERVICE_NAME = "com.docker.swarm.service.name"
_TASK_NAME, _TASK_ID = "com.docker.swarm.task.name", "com.docker.swarm.task.id"
#: Seconds that a fresh controller waits for the labels of services before it routes anything: it would else take the
#: nodes of those services from the routers.
LABELS_TIMEOUT = 10.0
#: What is taken from others, at most.
MAX_SERVICES, MAX_NODES = 20_000, 10_000
_ID = re.compile(r"[a-z0-9]{1,40}")

ServiceLabels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class SwarmMember:
    """An engine as a member of its swarm."""

    #: Of the node, in the swarm.
    id: str
    #: Its host name.
    name: str
    manager: bool = False


@dataclass(frozen=True, slots=True)
class SwarmTask:
    """Whose task a container is; empty texts: of none."""

    service: str = ""
    task: str = ""
    #: Its number in the service; empty: a global service has none.
    slot: str = ""


@dataclass(frozen=True, slots=True)
class SwarmView:
    """What a manager knows."""

    #: By service id: its labels.
    services: ServiceLabels = field(default_factory=dict)
    #: The nodes that are down: their names, by id.
    down: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """As an object of JSON types."""
        return {
            "services": {id: dict(sorted(labels.items())) for id, labels in sorted(self.services.items())},
            "down": dict(sorted(self.down.items())),
        }


def member_of(info: Mapping[str, Any]) -> SwarmMember | None:
    """The engine's part in a swarm, by its ``info``; None: it has none."""
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState") != "active" or not swarm.get("NodeID"):
        return None
    return SwarmMember(str(swarm["NodeID"]), str(info.get("Name") or ""), bool(swarm.get("ControlAvailable")))


def task_of(labels: Mapping[str, str]) -> SwarmTask:
    """Whose task a container with ``labels`` is."""
    service, task = labels.get(_SERVICE_NAME, ""), labels.get(_TASK_NAME, "")
    slot = task.removeprefix(f"{service}.").removesuffix(f".{labels.get(_TASK_ID, '')}")
    return SwarmTask(service, task, slot if slot.isdigit() else "")


def view_of(services: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]], prefix: str) -> SwarmView:
    """What a manager answers about ``services`` and ``nodes``: of the labels those that begin with ``prefix``."""
    labels = {str(service["ID"]): _ours((service.get("Spec") or {}).get("Labels"), prefix) for service in services}
    down = {
        str(node["ID"]): str((node.get("Description") or {}).get("Hostname") or "")
        for node in nodes
        if (node.get("Status") or {}).get("State") == "down"
    }
    return SwarmView({id: own for id, own in labels.items() if own}, down)


def view_from_json(plain: object, prefix: str) -> SwarmView:
    """What :meth:`SwarmView.to_json` made; ``ValueError`` for anything else."""
    if not isinstance(plain, dict):
        raise ValueError("an object expected")
    services, down = plain.get("services"), plain.get("down")
    if not isinstance(services, dict) or not isinstance(down, dict):
        raise ValueError("services and down expected")
    if len(services) > MAX_SERVICES or len(down) > MAX_NODES:
        raise ValueError(f"more than {MAX_SERVICES} services or {MAX_NODES} nodes")
    if not all(_ID.fullmatch(id) for id in (*services, *down)):
        raise ValueError("ids of services and nodes expected")
    return SwarmView(
        {id: _ours(labels, prefix) for id, labels in services.items()},
        {id: str(name)[:255] for id, name in down.items()},
    )


def _ours(labels: object, prefix: str) -> dict[str, str]:
    if not isinstance(labels, dict):
        return {}
    return {name: str(value) for name, value in labels.items() if name.startswith(f"{prefix}.")}


class SwarmLabels:
    """The labels of services, and whether they are known.  Times are monotonic seconds.

    ``told_by_others``: other controllers are asked what managers know.
    """

    def __init__(self, *, told_by_others: bool = False) -> None:
        self._others = told_by_others
        self._member: SwarmMember | None = None
        self._services: ServiceLabels = {}
        self._asks = self._known = False
        #: Until when nothing is routed for want of them.
        self.waits_until: float | None = None

    @property
    def node(self) -> str:
        """The host name of the engine's node; empty: it is in no swarm."""
        return self._member.name if self._member else ""

    def connected(self, member: SwarmMember | None, now: float) -> None:
        """The engine is reached, which is ``member``."""
        self._member = member
        self.ask()
        if member is not None and not self._known and (member.manager or self._others):
            self.waits_until = now + LABELS_TIMEOUT

    def ask(self) -> None:
        """Something may have changed."""
        self._asks = self._member is not None and self._member.manager

    def asks(self) -> bool:
        """True, once, when the engine has to be asked."""
        asks, self._asks = self._asks, False
        return asks

    def told(self, services: ServiceLabels) -> set[str]:
        """These are the labels of services; returns the ids of those whose labels have changed."""
        before, self._services, self._known, self.waits_until = self._services, services, True, None
        return {id for id in before.keys() | services.keys() if before.get(id) != services.get(id)}

    def waits(self, now: float) -> bool:
        """True while nothing may be routed, as they are not known yet."""
        if self.waits_until is not None and now >= self.waits_until:
            self.waits_until = None
        return self.waits_until is not None

    def of(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """What a container with ``labels`` is labelled, with what its service says."""
        theirs = self._services.get(labels.get(SERVICE_ID, ""))
        return {**theirs, **labels} if theirs else labels
