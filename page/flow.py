"""The picture of the flow: nginx, routers, keys, nodes, and how much goes along each line.  Pure.

It shows a few keys, those with problems and those with the most requests; the others are one box, so its size is
bounded whatever there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastroute.page.answers import ContainerStatus
from fastroute.page.history import LAST_MINUTE, NumberHistory, rounded
from fastroute.page.merge import AdminState, MergedKey, MergedNode
from fastroute.page.problems import FleetProblem, Level, level_of_node

#: Keys, nodes of one key, and nodes in all that are drawn; the rest of each is one box.
MAX_KEYS, MAX_NODES_OF_KEY, MAX_NODES = 9, 4, 24
MAX_ROUTERS = 6

Json = dict[str, Any]


def flow(
    states: Sequence[AdminState], keys: Mapping[str, MergedKey], problems: Mapping[str, FleetProblem],
    containers: Mapping[str, tuple[AdminState, ContainerStatus]], history: NumberHistory,
) -> Json:  # fmt: skip
    """The boxes and their rates."""
    drawn = _chosen(keys, problems, history)
    routers = [state for state in states if state.kind == "router"][:MAX_ROUTERS]
    undrawn = [key for name, key in keys.items() if name not in drawn]
    nodes: list[Json] = []
    for name in drawn:
        nodes += _nodes(keys[name], containers, min(MAX_NODES_OF_KEY, MAX_NODES - len(nodes)))
    return {
        "routers": [
            {"name": state.name, "level": "ok" if state.answers else "unknown", "rates": _rates(state, drawn)}
            for state in routers
        ],
        "keys": [_key(keys[name], problems.get(name)) for name in drawn],
        "nodes": nodes,
        "more": {
            "keys": len(undrawn),
            "rate": rounded(sum(key.rate for key in undrawn)),
            "errors": rounded(sum(key.errors for key in undrawn)),
        },
        "nginx": not routers,
    }


def _chosen(keys: Mapping[str, MergedKey], problems: Mapping[str, FleetProblem], history: NumberHistory) -> list[str]:
    """The keys that are drawn, in the order of their names, as nobody can read boxes that change places each second."""

    def weight(name: str) -> tuple[bool, float, str]:
        bad = name in problems and problems[name].level == "bad"
        return not bad, -round(history.mean(name, "rate", LAST_MINUTE) or keys[name].rate, 1), name

    return sorted(sorted(keys, key=weight)[:MAX_KEYS])


def _key(key: MergedKey, problem: FleetProblem | None) -> Json:
    return {
        "key": key.key,
        "level": problem.level if problem else "ok",
        "rate": None if key.nginx else rounded(key.rate),
        "errors": rounded(key.errors),
        "waiting": key.waiting,
    }


def _rates(state: AdminState, drawn: Sequence[str]) -> Json:
    """Requests/s of a router by key, those that are not drawn together under an empty name."""
    rates: dict[str, float] = {}
    if state.answers and state.status is not None:
        for row in state.status.keys:
            now = state.meter.now.get((row.key, ""))
            rate = row.counts.rate if row.counts.rate is not None else now.requests if now else 0.0
            name = row.key if row.key in drawn else ""
            rates[name] = rates.get(name, 0.0) + rate
    return {name: rounded(rate) for name, rate in rates.items()}


def _nodes(key: MergedKey, containers: Mapping[str, tuple[AdminState, ContainerStatus]], room: int) -> list[Json]:
    """The nodes of one key, at most ``room`` boxes; the last one stands for the rest of them."""
    nodes = sorted(key.nodes.values(), key=lambda node: node.address)
    if room <= 0 or not nodes:
        return []
    drawn = nodes if len(nodes) <= room else sorted(nodes, key=_interest)[: room - 1]
    undrawn = [node for node in nodes if node not in drawn]
    boxes = [
        {
            "key": key.key,
            "name": containers[node.container][1].name if node.container in containers else node.address,
            "address": node.address,
            "level": level_of_node(node),
            "state": node.state,
            "rate": None if key.nginx else rounded(node.rate),
            "errors": rounded(node.errors + node.now.failures),
        }
        for node in sorted(drawn, key=lambda node: node.address)
    ]
    if undrawn:
        boxes.append(
            {
                "key": key.key,
                "name": "",
                "count": len(undrawn),
                "level": "ok",
                "rate": None if key.nginx else rounded(sum(node.rate for node in undrawn)),
                "errors": rounded(sum(node.errors for node in undrawn)),
            }
        )
    return boxes


#: Levels of nodes, those that are drawn first with the lowest number.
_ORDER: dict[Level, int] = {"bad": 0, "warn": 1, "off": 2, "unknown": 2, "ok": 3}


def _interest(node: MergedNode) -> tuple[int, str]:
    return _ORDER[level_of_node(node)], node.address
