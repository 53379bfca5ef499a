"""What browsers get of keys, nodes and containers: one flat JSON object each, which changes only when people would see
it.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastroute.page.answers import CLASSES, ContainerStatus, NginxBlock
from fastroute.page.history import NumberHistory, rounded
from fastroute.page.merge import AdminState, MergedKey, MergedNode
from fastroute.page.problems import (
    FleetProblem,
    Level,
    error_share,
    in_words,
    level_of_node,
    level_of_share,
    percent,
    share,
    worst,
)
from fastroute.page.reasons import why_no_node_traffic, why_no_traffic

Row = dict[str, Any]
Containers = Mapping[str, tuple[AdminState, ContainerStatus]]

_CONTAINER_LEVELS: dict[str, Level] = {
    "ready": "ok",
    "error": "bad",
    "unhealthy": "bad",
    "pending": "unknown",
    "probing": "unknown",
    "paused": "warn",
}


def key_row(key: MergedKey, problem: FleetProblem | None, history: NumberHistory) -> Row:
    """One key."""
    recent = error_share(history, key)
    idle = not key.nginx and key.rate == 0 and recent.rate == 0
    return {
        "key": key.key,
        "level": problem.level if problem else "off" if idle else "ok",
        "text": problem.text if problem else "",
        "state": key.state,
        "ready": key.ready,
        "total": len(key.nodes),
        "rate": None if key.nginx else rounded(key.rate),
        "share": rounded(recent.share),
        "p50": rounded(key.p50_ms),
        "p95": rounded(key.p95_ms),
        "waiting": key.waiting,
        "in_flight": key.in_flight,
        "nginx": key.nginx,
    }


def key_details(key: MergedKey, problem: FleetProblem | None, history: NumberHistory) -> Row:
    """One key on its own page."""
    return {
        **key_row(key, problem, history),
        "algorithm": key.algorithm,
        "wait": key.wait,
        "sticky": key.sticky,
        "until": key.until,
        "message": key.message,
        "requests": key.requests,
        "statuses": dict(zip(CLASSES, key.statuses, strict=True)),
        "routers": key.known,
    }


def node_row(node: MergedNode, key: MergedKey, containers: Containers) -> Row:
    """One node of a key."""
    container = containers.get(node.container)
    return {
        "key": node.key,
        "address": node.address,
        "name": container[1].name if container else "",
        "id": node.container,
        "state": node.state,
        "level": level_of_node(node),
        "where": node.where(node.state) if len(set(node.states.values())) > 1 else [],
        "why": why_no_node_traffic(node, key) or _fault([node]),
        "weight": node.weight,
        "backup": node.backup,
        "max": node.max,
        "zone": node.zone,
        "source": node.source,
        "rate": None if key.nginx else rounded(node.rate),
        "errors": rounded(node.errors + node.now.failures),
        "share": rounded(share(node.errors, node.rate)),
        "p95": rounded(node.p95_ms),
        "in_flight": node.in_flight,
        "requests": node.requests,
        "failures": node.failures,
        "timeouts": node.timeouts,
        "statuses": node.statuses,
    }


def container_rows(
    containers: Containers, nodes: Mapping[str, Sequence[MergedNode]], keys: Mapping[str, MergedKey]
) -> dict[str, Row]:
    """Every labelled container, and every worker that somebody else has announced, by id or address."""
    rows = {
        id: _container_row(state, container, nodes.get(id, ()), keys) for id, (state, container) in containers.items()
    }
    workers: dict[str, list[MergedNode]] = {}
    for key in keys.values():
        for node in key.nodes.values():
            if node.container not in containers:
                workers.setdefault(node.address, []).append(node)
    return rows | {f"@{address}": _worker_row(address, its_nodes, keys) for address, its_nodes in workers.items()}


def _container_row(
    state: AdminState, container: ContainerStatus, nodes: Sequence[MergedNode], keys: Mapping[str, MergedKey]
) -> Row:
    levels = [level_of_node(node) for node in nodes] if container.state == "ready" else []
    level = _CONTAINER_LEVELS.get(container.state, "off")
    why = why_no_traffic(container, nodes, keys) or _fault(nodes)
    missing: Level = "warn" if container.state == "ready" and container.routes and not nodes else "ok"
    return {
        "id": container.id,
        "name": container.name,
        "state": container.state,
        "level": worst([level, missing, *levels]) if level == "ok" else level,
        "reason": container.reason,
        "why": "" if why == container.reason else why,
        "text": in_words(container),
        "keys": sorted({key for key, _ in container.routes}),
        "address": next((address for _, address in container.routes if address), ""),
        "since": container.since,
        "controller": state.name,
        "old": not state.answers,
        **_numbers(nodes, keys),
    }


def _worker_row(address: str, nodes: Sequence[MergedNode], keys: Mapping[str, MergedKey]) -> Row:
    reasons = [why_no_node_traffic(node, keys[node.key]) for node in nodes]
    return {
        "id": "",
        "name": address,
        "state": nodes[0].state,
        "level": worst(map(level_of_node, nodes)),
        "reason": "",
        "why": reasons[0] if all(reasons) else _fault(nodes),
        "text": nodes[0].state,
        "keys": sorted({node.key for node in nodes}),
        "address": address,
        "since": "",
        "controller": "",
        "source": nodes[0].source,
        "old": False,
        **_numbers(nodes, keys),
    }


def _fault(nodes: Sequence[MergedNode]) -> str:
    """What is wrong with nodes that get requests."""
    errors = share(sum(node.errors for node in nodes), sum(node.rate for node in nodes))
    if level_of_share(errors) != "ok":
        return f"{percent(errors)} of its answers of the last 10 s are errors (5xx)"
    return "stale: who announced it is silent" if any(node.state == "stale" for node in nodes) else ""


def _numbers(nodes: Sequence[MergedNode], keys: Mapping[str, MergedKey]) -> Row:
    counted = [node for node in nodes if not keys[node.key].nginx]
    return {
        "rate": rounded(sum(node.rate for node in counted)) if counted else None,
        "errors": rounded(sum(node.errors + node.now.failures for node in counted)),
        "in_flight": sum(node.in_flight for node in counted),
    }


def admin_row(state: AdminState, answered: float) -> Row:
    """One router or controller; ``answered``: when it did last, in seconds since the epoch, 0: never."""
    row: Row = {
        "name": state.name,
        "kind": state.kind,
        "url": state.url,
        "answers": state.answers,
        "problem": state.problem,
        "answered": round(answered, 1),
    }
    router = state.status.router if state.status is not None else None
    controller = state.status.controller if state.status is not None else None
    if router is not None and state.status is not None:
        keys = state.status.keys
        live = [now for (_, address), now in state.meter.now.items() if not address] if state.answers else []
        row |= {
            "version": router.version,
            "started": round(answered - router.uptime),
            "cheap": router.cheap,
            "processes": router.processes,
            "relays_down": router.relays_down,
            "requests": router.requests,
            "rate": rounded(sum(now.requests for now in live)),
            "keys": len(keys),
            "nodes": sum(len(key.nodes) for key in keys),
            "errors": router.errors,
            "errors_now": {kind: rounded(rate) for kind, rate in state.meter.errors.items()} if state.answers else {},
            "silent_sources": router.silent_sources,
        }
    if controller is not None:
        row |= {
            "mode": controller.mode,
            "last_event": controller.last_event,
            "last_sync": controller.last_sync,
            "containers": len(state.containers),
            "engines": [
                {"url": engine.url, "connected": engine.connected, "trouble": engine.trouble}
                for engine in controller.engines
            ],
            "nginx": _nginx(controller.nginx) if controller.nginx is not None else None,
        }
    return row


def _nginx(nginx: NginxBlock) -> Row:
    return {
        "answers": nginx.answers,
        "generation": nginx.generation,
        "error": nginx.error,
        "refused": [{"key": key, "reason": reason} for key, reason in nginx.refused],
        "reloads": nginx.reloads,
        "failures": nginx.failures,
        "last_success": nginx.last_success,
    }
