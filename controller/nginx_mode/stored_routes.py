"""What sources wanted last, as JSON: a controller that is started anew serves it until each of them is heard again.
Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastroute.controller.desired import Desired, Route
from fastroute.router.protocol.entry import Entry
from fastroute.router.protocol.node_options import from_names, non_defaults


def routes_to_json(by_source: Mapping[str, Desired]) -> dict[str, list[dict[str, object]]]:
    """``by_source`` as JSON."""
    return {source: [_stored(desired[at]) for at in sorted(desired)] for source, desired in sorted(by_source.items())}


def routes_from_json(stored: object) -> dict[str, Desired] | None:
    """What :func:`routes_to_json` made ``stored`` of; None: it made no such thing."""
    try:
        return {source: _desired(routes) for source, routes in stored.items()}  # type: ignore[attr-defined]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _stored(route: Route) -> dict[str, object]:
    entry = route.entry
    return {
        "key": entry.key, "address": entry.address, "owner": entry.owner, "drain": entry.drain,
        "sessions": entry.sessions, "options": non_defaults(entry.options), "container": route.container,
    }  # fmt: skip


def _desired(routes: list[dict[str, Any]]) -> Desired:
    stored = (
        Route(
            Entry(
                route["key"], route["address"], from_names(route["options"]), route["drain"], route["owner"],
                sessions=route["sessions"],
            ),
            route["container"],
        )
        for route in routes
    )  # fmt: skip
    return {route.id: route for route in stored}
