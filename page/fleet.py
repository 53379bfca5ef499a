"""All that the page knows: the last answers of all routers and controllers, ten minutes of numbers, events.  Pure.

Time is passed in.  A picture is made once for all who look (:class:`FleetPicture`), and not changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastroute.page.answers import ContainerStatus
from fastroute.page.event_history import EventHistory
from fastroute.page.flow import flow
from fastroute.page.history import SLOT_SECONDS, NumberHistory, Sample, rounded
from fastroute.page.merge import (
    AdminState,
    MergedKey,
    merge,
    merge_containers,
    nodes_by_container,
    slowest,
)
from fastroute.page.problems import (
    MAX_PROBLEMS,
    FleetProblem,
    ProblemFinder,
    share,
    verdict,
)
from fastroute.page.rows import Containers, Row, admin_row, container_rows, key_details, key_row, node_row
from fastroute.page.times import seconds_of

#: Answers with these names come from the router itself, and not because somebody tried a wrong host name.
_OWN_ERRORS = ("no-node", "bad-gateway", "timeout", "queue-full")
#: Seconds that a controller may tell of a container later than a router of its node.
MAX_NAME_DELAY = 30.0


@dataclass(frozen=True, slots=True)
class FleetPicture:
    """How everything is at one moment."""

    #: Seconds since the epoch.
    wall: float
    #: What every view shows: ``verdict``, ``totals``, ``problems``, ``admins``.
    values: Mapping[str, Any]
    keys: Mapping[str, MergedKey]
    problems: Mapping[str, FleetProblem]
    containers: Containers
    states: Sequence[AdminState]


class Fleet:
    """Everything that is known.

    ``states(between_samples)`` says what is known of each router and controller now; its numbers per second are those
    of the last 10 s, or with ``True`` those since the last sample.
    """

    def __init__(self, states: Callable[[bool], Sequence[AdminState]]) -> None:
        self._states = states
        self.history, self.events = NumberHistory(), EventHistory()

    def sample(self, wall: float) -> None:
        """Add one sample to the history; to be called once in ``SLOT_SECONDS``."""
        states = self._states(True)
        if not any(state.answers and state.serves for state in states):
            return
        keys = merge(states)
        samples = {name: _sample(key) for name, key in keys.items() if not key.nginx}
        self.history.write(int(wall // SLOT_SECONDS), _total(samples.values()), samples)

    def remember_containers(self, containers: Iterable[ContainerStatus]) -> None:
        """From now on events of these containers, and of their nodes, have their names and belong to their keys."""
        for container in containers:
            keys, addresses = ({route[at] for route in container.routes if route[at]} for at in (0, 1))
            self.events.remember_container(container.id, container.name, tuple(keys), tuple(addresses))

    def picture(self, wall: float) -> FleetPicture:
        """Everything at ``wall``, in seconds since the epoch."""
        states = self._states(False)
        keys, containers = merge(states), merge_containers(states)
        self.events.name_nodes(since=wall - MAX_NAME_DELAY)
        ages = {id: wall - seconds_of(container.since) for id, (_, container) in containers.items() if container.since}
        finder = ProblemFinder(states, keys, self.history, containers, ages)
        problems = finder.all()
        values = {
            "verdict": verdict(states, keys, problems).to_json(),
            "totals": _totals(keys, states, containers),
            "problems": {
                "rows": [problem.to_json() for problem in problems[:MAX_PROBLEMS]],
                "more": max(0, len(problems) - MAX_PROBLEMS),
            },
            "admins": [admin_row(state, 0.0 if state.age is None else wall - state.age) for state in states],
        }
        of_keys = {problem.name: problem for problem in problems if problem.kind == "key"}
        return FleetPicture(wall, values, keys, of_keys, containers, states)

    def key_rows(self, picture: FleetPicture) -> dict[str, Row]:
        """All keys."""
        return {name: key_row(key, picture.problems.get(name), self.history) for name, key in picture.keys.items()}

    def flow(self, picture: FleetPicture) -> dict[str, Any]:
        """The picture of the flow."""
        return flow(picture.states, picture.keys, picture.problems, picture.containers, self.history)

    def key(self, picture: FleetPicture, name: str) -> Row | None:
        """One key on its own page; None: nobody knows it."""
        key = picture.keys.get(name)
        return None if key is None else key_details(key, picture.problems.get(name), self.history)

    def node_rows(self, picture: FleetPicture, name: str) -> dict[str, Row]:
        """The nodes of one key."""
        key = picture.keys.get(name)
        if key is None:
            return {}
        return {node.address: node_row(node, key, picture.containers) for node in key.nodes.values()}

    def container_rows(self, picture: FleetPicture) -> dict[str, Row]:
        """All containers."""
        return container_rows(picture.containers, nodes_by_container(picture.keys), picture.keys)


def _sample(key: MergedKey) -> Sample:
    statuses = dict(zip(("2xx", "3xx", "4xx", "5xx"), key.now.statuses[1:], strict=True))
    return {
        "rate": key.now.requests,
        **statuses,
        "p50": key.p50_ms,
        "p95": key.p95_ms,
        "waiting": float(key.waiting),
        "in_flight": float(key.in_flight),
        "ready": float(key.ready),
    }


def _total(samples: Iterable[Sample]) -> Sample:
    total: dict[str, float | None] = {}
    for sample in samples:
        for name, value in sample.items():
            if name in ("p50", "p95"):
                total[name] = slowest(total.get(name), value)
            else:
                total[name] = (total.get(name) or 0.0) + (value or 0.0)
    return total


def _totals(keys: Mapping[str, MergedKey], states: Sequence[AdminState], containers: Containers) -> Row:
    answers, errors = sum(sum(key.now.statuses) for key in keys.values()), sum(key.errors for key in keys.values())
    own_errors: dict[str, float] = {}
    for state in states:
        for kind, rate in state.meter.errors.items() if state.answers else ():
            own_errors[kind] = own_errors.get(kind, 0.0) + rate
    timed = [key.p95_ms for key in keys.values() if key.p95_ms is not None and key.rate > 0]
    counted = [key for key in keys.values() if not key.nginx]
    return {
        "rate": rounded(sum(key.rate for key in counted)) if counted or not keys else None,
        "errors": rounded(errors),
        "share": rounded(share(errors, answers)),
        "own_errors": {kind: rounded(rate) for kind, rate in own_errors.items() if kind in _OWN_ERRORS},
        "unknown_hosts": rounded(own_errors.get("no-key", 0.0)),
        "p95": rounded(max(timed, default=None)),
        "waiting": sum(key.waiting for key in keys.values()),
        "in_flight": sum(key.in_flight for key in keys.values()),
        "keys": len(keys),
        "nodes": sum(len(key.nodes) for key in keys.values()),
        "ready": sum(key.ready for key in keys.values()),
        "containers": len(containers),
    }
