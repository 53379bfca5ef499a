"""What ``top`` shows: keys and nodes with their numbers, of one router or added up over several.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SCHEMA = "fastroute.top/v1"
#: What rows can be sorted by, most first; names from A to Z.
SORTS = ("rate", "errors", "p95", "waiting", "name")

#: Of a row, and what each begins with; those of several routers are added.
_SUMS = ("rate", "error_rate", "in_flight", "waiting", "requests", "failures", "timeouts", "ejections")
#: Of several routers the slowest one counts.
_WORST = ("p50_ms", "p95_ms")


def added_up(statuses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys of these ``/v1/status`` with their nodes, each key and node once."""
    keys: dict[str, dict[str, Any]] = {}
    nodes: dict[str, dict[str, dict[str, Any]]] = {}
    for status in statuses:
        for key in status["keys"]:
            name = key["key"]
            row = _add(keys, name, key, {"key": name, "ready": key["ready"], "total": key["total"],
                                         "state": key.get("state", "serving")})  # fmt: skip
            # A router that has just begun may not know all of them yet.
            row["ready"], row["total"] = min(row["ready"], key["ready"]), max(row["total"], key["total"])
            of_key = nodes.setdefault(name, {})
            for node in key["nodes"]:
                new = {name: node[name] for name in ("address", "container", "state")}
                row = _add(of_key, node["address"], node, new)
                if node["state"] != "ready":
                    row["state"] = node["state"]
    return [{**row, "nodes": list(nodes[name].values())} for name, row in keys.items()]


def _add(rows: dict[str, dict[str, Any]], name: str, counts: Mapping[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add the numbers of ``counts`` to the row called ``name``, which begins as ``new``."""
    row = rows.get(name)
    if row is None:
        row = rows[name] = {**new, **dict.fromkeys(_SUMS, 0), **dict.fromkeys(_WORST), "statuses": {}}
    for number in _SUMS:
        row[number] = round(row[number] + (counts.get(number) or 0), 2)
    for number in _WORST:
        values = [value for value in (row[number], counts.get(number)) if value is not None]
        row[number] = max(values, default=None)
    for status, count in (counts.get("statuses") or {}).items():
        row["statuses"][status] = row["statuses"].get(status, 0) + count
    return row


def filtered(keys: Iterable[dict[str, Any]], text: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Keys with ``text`` in their names, and of the others the nodes with it in their address or container's name."""
    if not text:
        return list(keys)
    matching = []
    for key in keys:
        if text in key["key"]:
            matching.append(key)
        elif nodes := [node for node in key["nodes"] if text in f"{node['address']} {container_name(node, names)}"]:
            matching.append({**key, "nodes": nodes})
    return matching


def arranged(keys: Iterable[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """The keys, and the nodes of each, sorted ``by`` one of ``SORTS``."""
    ordered = [{**key, "nodes": sorted(key["nodes"], key=lambda node: _order(node, by))} for key in keys]
    return sorted(ordered, key=lambda key: _order(key, by))


def _order(row: Mapping[str, Any], by: str) -> tuple[float, str]:
    number = {
        "rate": row["rate"], "errors": row["error_rate"], "p95": row["p95_ms"] or 0.0, "waiting": row["waiting"],
        "name": 0.0,
    }[by]  # fmt: skip
    return -number, row.get("key") or row["address"]


def totals(keys: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of all keys together."""
    rows = list(keys)
    sums = {name: round(sum(key[name] for key in rows), 2) for name in ("rate", "error_rate", "waiting")}
    return {**sums, "in_flight": sum(node["in_flight"] for key in rows for node in key["nodes"])}


def running(row: Mapping[str, Any]) -> int:
    """Requests in flight of a node, or of all nodes of a key."""
    return sum(node["in_flight"] for node in row["nodes"]) if "nodes" in row else int(row["in_flight"])


def state_text(row: Mapping[str, Any]) -> str:
    """The state of a node or a key; of a key that serves, how many of its nodes are ready."""
    return f"{row['ready']}/{row['total']}" if row["state"] == "serving" else str(row["state"])


def container_name(node: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The name of a node's container; the beginning of its id where nobody knows the name."""
    container = node["container"] or ""
    return names.get(container, container[:12])


def number(value: float) -> str:
    """A rate in at most six characters."""
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}" if value < 100_000 else f"{value / 1000:.0f}k"


def milliseconds(value: float | None) -> str:
    """A time in at most six characters; ``-``: no answer began."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def errors(row: Mapping[str, Any]) -> str:
    """Answers 5xx a second; empty: there are none."""
    return number(row["error_rate"]) if row["error_rate"] else ""
