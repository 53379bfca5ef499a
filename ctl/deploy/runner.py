"""Carries out a rollout: looks, does what :mod:`.rollout_plan` says, and tells of it.  An edge."""

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
        """Something is awaited: said when it is something else than before."""
        if text != self._awaited:
            self.step(text)
            self._awaited = text


class ServiceWatch:
    """Looks at the containers of ``service`` as Docker, controller and routers have them."""

    def __init__(self, service: ComposeService, admins: Admins, key: str | None, *, counts: bool) -> None:
        self._service, self._admins, self._key, self._counts = service, admins, key, counts
        #: The keys of each container, as long as they were ever seen.
        self.keys: dict[str, frozenset[str]] = {}

    def look(self, failure: str = "") -> Observation:
        """What is there now."""
        containers = self._service.containers()
        known = self._admins.known([each.id for each in containers])
        for id, row in known.items():
            if keys := frozenset(route["key"] for route in row["routes"]):
                self.keys[id] = keys
        wanted = sorted({key for each in containers for key in self.keys.get(each.id, ())})
        found = {key: self._admins.key(key) for key in wanted}
        rows = {key: {row["id"]: row for row in found[key].get("containers", ())} for key in wanted}
        counted = [key for key in wanted if self._counts and self._key in (None, key)]
        nodes = {key: self._admins.nodes(key) for key in counted}
        seen = tuple(self._container(each, known.get(each.id), rows, nodes) for each in containers)
        sticky = any(found[key].get("sticky") for key in wanted)
        own = {each.id for each in containers}
        beside = {
            key: {id: row["weight"] for id, row in rows[key].items() if id not in own and _serves(row)}
            for key in wanted
        }  # fmt: skip
        return Observation(time.monotonic(), seen, failure, sticky, beside)

    def _container(
        self,
        container: ComposeContainer,
        known: dict[str, Any] | None,
        rows: dict[str, dict[str, dict[str, Any]]],
        nodes: dict[str, list[dict[str, Any]]],
    ) -> ServiceContainer:
        keys = self.keys.get(container.id, frozenset())
        own = [(key, rows[key][container.id]) for key in keys if container.id in rows[key]]
        running = [row["in_flight"] for _, row in own if row["in_flight"] is not None]
        counted = [node for key, row in own for node in nodes.get(key, ()) if node["address"] == row["address"]]
        state = "not known to the controller yet" if known is None else f"{known['state']}: {known['reason']}"
        return ServiceContainer(
            container.id,
            container.name,
            keys,
            {key: row["weight"] for key, row in own},
            ready=len(own) == len(keys) > 0 and all(row["serves"] for _, row in own),
            drained=bool(own) and all(row["drained"] for _, row in own),
            switched=any(row["switched"] for _, row in own),
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
    """Does what is ordered."""

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
        """Each key has those of the containers that have it; a key that none of them has is left alone."""
        begun, keys = time.monotonic(), self._watch.keys
        # Of other services that share a key, nothing is known here: they are left alone.
        known = self._admins.known([each.id for each in self._service.containers()])
        for key in sorted({key for id in action.to for key in keys.get(id, ())}):
            to = [id for id in action.to if key in keys.get(id, ())]
            off = [id for id in known if key in keys.get(id, ()) and id not in to]
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
