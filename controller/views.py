"""What the admin API shows of containers and routes, as JSON objects.  Pure.

Views are made by the deciding thread when something changes and are never changed afterwards, so that other threads
read them without a lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fastroute.controller.desired import Desired, Offer

SCHEMA_STATUS = "fastroute.status/v1"
SCHEMA_CONTAINERS = "fastroute.containers/v1"
#: Transitions of a container that ``describe`` shows.
_TRANSITIONS = 20


@dataclass(frozen=True, slots=True)
class View:
    """One labelled container.  ``since`` is when it came into its state; ``history`` its last (time, state, reason)."""

    offer: Offer
    warnings: tuple[str, ...]
    since: str
    history: tuple[tuple[str, str, str], ...]

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
            "routes": [{"key": key, "address": address or None} for key, address, _ in self.offer.shown],
            "health": self.offer.health or None,
            "since": self.since,
        }

    def details(self) -> dict[str, object]:
        """The row and what ``describe`` adds."""
        names = ("time", "state", "reason")
        history = [dict(zip(names, one, strict=True)) for one in self.history]
        routes = [{"key": key, "address": address or None, "why": why} for key, address, why in self.offer.shown]
        return {**self.row(), "routes": routes, "project": self.offer.project or None, "transitions": history}


def moved(view: View | None, offer: Offer, warnings: tuple[str, ...], time: str) -> View:
    """The view after ``view``: a new state (or reason) is a transition at ``time``."""
    if view is None:
        return View(offer, warnings, time, ((time, offer.state, offer.reason),))
    if (view.offer.state, view.offer.reason) == (offer.state, offer.reason):
        return replace(view, offer=offer, warnings=warnings)
    since = view.since if view.offer.state == offer.state else time
    return View(offer, warnings, since, (*view.history, (time, offer.state, offer.reason))[-_TRANSITIONS:])


def containers(views: Iterable[View]) -> dict[str, object]:
    """The object of ``ps -o json``, by name."""
    rows = sorted(views, key=lambda view: (view.offer.name, view.offer.id))
    return {"schema": SCHEMA_CONTAINERS, "containers": [view.row() for view in rows]}


def keys(parts: Iterable[tuple[Desired, str]]) -> list[dict[str, object]]:
    """The keys of all ``parts`` (desired state and its source) as in ``status -o json``, with what the controller knows
    of their nodes."""
    found: dict[str, list[dict[str, object]]] = {}
    algorithms: dict[str, str] = {}
    rows = [(at, desired[at], source) for desired, source in parts for at in desired]
    for _, route, source in sorted(rows, key=lambda row: row[0]):
        entry = route.entry
        nodes = found.setdefault(entry.key, [])
        algorithms[entry.key] = entry.algorithm or algorithms.get(entry.key, "")
        if entry.address:
            nodes.append(
                {
                    "address": entry.address,
                    "state": "draining" if entry.drain else "ready",
                    "source": source,
                    "container": route.container or None,
                    "weight": 0 if entry.drain else entry.weight,
                    "backup": entry.backup,
                    **dict.fromkeys(("requests", "in_flight", "failures", "tx", "rx"), 0),
                    "last_seen": None,
                }
            )
    return [_key(key, algorithms[key], nodes) for key, nodes in found.items()]


def _key(key: str, algorithm: str, nodes: list[dict[str, object]]) -> dict[str, object]:
    ready = sum(node["state"] == "ready" for node in nodes)
    return {
        "key": key,
        "algorithm": algorithm or None,
        "ready": ready,
        "total": len(nodes),
        "requests": 0,
        "nodes": nodes,
    }
