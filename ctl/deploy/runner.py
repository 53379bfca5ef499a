"""Carries out a rollout: looks at the service, does what :mod:`.rollout_plan` says, and reports it.  An edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastroute.ctl.deploy.admins import Admins
from fastroute.ctl.deploy.compose import ComposeContainer, ComposeService, DockerFailed
from fastroute.ctl.deploy.observed import (
    Action,
    Answers,
    Await,
    Observation,
    Remove,
    RolloutOptions,
    RolloutOutcome,
    Scale,
    ServiceContainer,
    SwitchTo,
)
from fastroute.ctl.deploy.rollout_plan import RolloutPlan
from fastroute.ctl.errors import Answered

#: Seconds between two looks.
LOOK_INTERVAL = 0.3


@dataclass(slots=True)
class Report:
    """What happened, for people and for ``-o json``."""

    say: Callable[[str], object]
    begun: float = field(default_factory=time.monotonic)
    steps: list[dict[str, object]] = field(default_factory=list)
    #: Routers that have not acked a switch, and why.
    routers: dict[str, str] = field(default_factory=dict)
    _awaited: str = ""

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.begun

    def step(self, text: str) -> None:
        """Something is done now."""
        self._awaited = ""
        self.steps.append({"seconds": round(self.seconds, 3), "text": text})
        self.say(f"{self.seconds:6.1f} s  {text}")

    def awaits(self, text: str) -> None:
        """Something is awaited; the same as the last time is not said again."""
        if text != self._awaited:
            self.step(text)
            self._awaited = text


class ServiceWatch:
    """Looks at the containers of ``service`` as Docker, controller and routers have them."""

    def __init__(self, service: ComposeService, admins: Admins, key: str | None, *, counts: bool) -> None:
        self._service, self._admins, self._key, self._counts = service, admins, key, counts
        #: The keys of each container that was ever listed with any; a listing without routes takes none away.
        self.keys: dict[str, frozenset[str]] = {}

    def look(self, failure: str = "") -> Observation:
        """What is there now."""
        containers = self._service.containers()
        listed = self._admins.known([container.id for container in containers])
        for id, row in listed.items():
            if keys := frozenset(route["key"] for route in row["routes"]):
                self.keys[id] = keys
        names = sorted({key for container in containers for key in self.keys.get(container.id, ())})
        objects = {name: self._admins.key(name) for name in names}
        rows = {name: {row["id"]: row for row in objects[name].get("containers", ())} for name in names}
        counted = [name for name in names if self._counts and self._key in (None, name)]
        nodes = {name: self._admins.nodes(name) for name in counted}
        seen = tuple(self._container(container, listed.get(container.id), rows, nodes) for container in containers)
        sticky = any(objects[name].get("sticky") for name in names)
        ids = {container.id for container in containers}
        beside = {
            name: {id: row["weight"] for id, row in rows[name].items() if id not in ids and _serves(row)}
            for name in names
        }  # fmt: skip
        return Observation(time.monotonic(), seen, failure, sticky, beside)

    def _container(
        self,
        container: ComposeContainer,
        listed: dict[str, Any] | None,
        rows: dict[str, dict[str, dict[str, Any]]],
        nodes: dict[str, list[dict[str, Any]]],
    ) -> ServiceContainer:
        keys = self.keys.get(container.id, frozenset())
        routed = [(key, rows[key][container.id]) for key in keys if container.id in rows[key]]
        running = [row["in_flight"] for _, row in routed if row["in_flight"] is not None]
        counted = [node for key, row in routed for node in nodes.get(key, ()) if node["address"] == row["address"]]
        state = "not known to the controller yet" if listed is None else f"{listed['state']}: {listed['reason']}"
        return ServiceContainer(
            container.id,
            container.name,
            keys,
            {key: row["weight"] for key, row in routed},
            ready=len(routed) == len(keys) > 0 and all(row["serves"] for _, row in routed),
            drained=bool(routed) and all(row["drained"] for _, row in routed),
            switched=any(row["switched"] for _, row in routed),
            state=state,
            in_flight=sum(running) if running else None,
            answers=sum((_answers(node) for node in counted), Answers()),
            p95_ms=max((node["p95_ms"] for node in counted if node.get("p95_ms") is not None), default=None),
        )


def _serves(row: dict[str, Any]) -> bool:
    return row["serves"] and not row["drained"]


def _answers(node: dict[str, Any]) -> Answers:
    statuses: dict[str, int] = node.get("statuses") or {}
    return Answers(sum(statuses.values()), statuses.get("5xx", 0))


class Runner:
    """Carries out the actions of a plan."""

    def __init__(self, service: ComposeService, admins: Admins, watch: ServiceWatch, report: Report) -> None:
        self._service, self._admins, self._watch, self._report = service, admins, watch, report

    def run(self, plan: RolloutPlan) -> RolloutOutcome:
        """Do all of ``plan``."""
        steps = plan.run(self._watch.look())
        try:
            action = next(steps)
            while True:
                action = steps.send(self._done(action))
        except StopIteration as end:
            outcome: RolloutOutcome = end.value
            return outcome

    def _done(self, action: Action) -> Observation:
        """Do ``action``, and look."""
        failure = ""
        try:
            self._do(action)
        except (DockerFailed, Answered) as error:
            failure = str(error)
            self._report.step(failure)
        return self._watch.look(failure)

    def _do(self, action: Action) -> None:
        match action:
            case Await():
                self._report.awaits(action.text)
                time.sleep(LOOK_INTERVAL)
                return
            case SwitchTo():
                self._switch(action)
            case Scale():
                self._report.step(action.text)
                self._service.scale(action.number)
            case Remove():
                self._report.step(action.text)
                self._service.remove(action.ids)

    def _switch(self, action: SwitchTo) -> None:
        """Switch each key to those of ``action.to`` that have it; a key that none of them has is left alone."""
        begun, keys = time.monotonic(), self._watch.keys
        # Only containers of this service are switched off: those of other services that share a key are left alone.
        listed = self._admins.known([container.id for container in self._service.containers()])
        for key in sorted({key for id in action.to for key in keys.get(id, ())}):
            to = [id for id in action.to if key in keys.get(id, ())]
            off = [id for id in listed if key in keys.get(id, ()) and id not in to]
            weights = action.weights.get(key, {})
            body = {
                "key": key,
                "to": [*to, *(id for id in weights if id not in to)],
                "off": off,
                "weights": weights,
                "hold": action.hold,
                "sessions": action.sessions,
            }
            answer = self._admins.controller.post("/v1/switch", body)
            for row in answer["routers"]:
                if row["problem"] and row["router"] not in self._report.routers:
                    self._report.step(f"router {row['router']} has not acked: {row['problem']}")
                    self._report.routers[row["router"]] = row["problem"]
        if action.text:
            self._report.step(f"{action.text} ({(time.monotonic() - begun) * 1000:.0f} ms)")


def planned(service: str, names: Sequence[str], keys: Sequence[str], options: RolloutOptions) -> list[str]:
    """The steps of a rollout in which all goes well, for ``--dry-run``."""
    number = len(names)
    if not names:
        return [
            f"none is there: docker compose up -d --no-deps --no-recreate {service}",
            f"wait until they are ready, {options.timeout:g} s at most; else remove them (exit 6)",
        ]
    steps = [
        f"hold: new containers of {', '.join(keys)} get no requests before the switch",
        f"docker compose up -d --no-deps --no-recreate --scale {service}={number * 2} {service}",
        f"wait until {number} new ones are ready, {options.timeout:g} s at most; else remove them (exit 6)",
    ]
    judged = f"; more than {options.max_errors:g}% more errors: back (exit 1)"
    if options.canary is not None:
        steps.append(f"{options.canary:g}% of the requests to the new ones for {options.bake:g} s{judged}")
    once = "the new ones" if not options.one_by_one else "the new ones, one more each time"
    steps.append(f"switch {', '.join(keys)} to {once}")
    if options.canary is None and options.bake:
        steps.append(f"watch them for {options.bake:g} s{judged}")
    return [*steps, f"wait until no request runs on {', '.join(names)}", f"stop and remove {', '.join(names)}"]
