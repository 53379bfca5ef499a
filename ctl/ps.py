"""``ps``: every labelled container, routed or not, with its state and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.settings import Settings, global_options
from fastroute.ctl.show import age, show, state, table
from fastroute.ctl.status import controller_troubles
from fastroute.ctl.watch import watched
from fastroute.router.key import shown_key


@click.command("ps")
@global_options
@click.pass_obj
def command(settings: Settings) -> int:
    """Every labelled container, routed or not, with STATE and REASON."""
    return watched(settings, lambda: _once(settings))


def _once(settings: Settings) -> int:
    found = Api(settings, "controller").get("/v1/containers")
    show(settings, found, lambda wide: _tables(found, wide), (row["name"] for row in found["containers"]))
    return 0


def _tables(found: dict[str, Any], wide: bool) -> Iterator[RenderableType]:
    if found["containers"]:
        columns = ("CONTAINER", "STATE", "ROUTES", "HEALTH", "SINCE", "REASON")
        yield table((*columns, "ID") if wide else columns, (_row(row, wide) for row in found["containers"]))
    else:
        yield Text("no labelled containers (fastroute.key=HOST on a container opts in)")
    for trouble in controller_troubles(found):
        yield Text(f"controller: {trouble}", "red")


def _row(row: dict[str, Any], wide: bool) -> tuple[object, ...]:
    routes = ", ".join(f"{shown_key(route['key'])}@{route['address'] or '?'}" for route in row["routes"])
    cells = (row["name"], state(row["state"]), routes, row["health"] or "-", age(row["since"]), row["reason"] or "")
    return (*cells, row["id"]) if wide else cells
