"""``ps``: every labelled container, routed or not, with its state and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import age, show, state, table
from fastroute.ctl.status import controller_troubles
from fastroute.ctl.watch import watched
from fastroute.router.protocol.key import shown_key


@click.command("ps")
@global_options
@click.pass_obj
def command(settings: CtlSettings) -> int:
    """Every labelled container, routed or not, with STATE and REASON."""
    return watched(settings, lambda: _once(settings))


def _once(settings: CtlSettings) -> int:
    listing = Api(settings, "controller").get("/v1/containers")
    show(settings, listing, lambda wide: _tables(listing, wide), (row["name"] for row in listing["containers"]))
    return 0


def _tables(listing: dict[str, Any], wide: bool) -> Iterator[RenderableType]:
    if listing["containers"]:
        columns = ("CONTAINER", "STATE", "ROUTES", "HEALTH", "SINCE", "REASON")
        yield table((*columns, "ID") if wide else columns, (_row(row, wide) for row in listing["containers"]))
    else:
        yield Text("no labelled containers (fastroute.key=HOST on a container opts in)")
    for trouble in controller_troubles(listing):
        yield Text(f"controller: {trouble}", "red")


def _row(row: dict[str, Any], wide: bool) -> tuple[object, ...]:
    routes = ", ".join(f"{shown_key(route['key'])}@{route['address'] or '?'}" for route in row["routes"])
    cells = (row["name"], state(row["state"]), routes, row["health"] or "-", age(row["since"]), row["reason"] or "")
    return (*cells, row["id"]) if wide else cells
