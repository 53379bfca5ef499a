"""``ps``: every labelled container, routed or not, with its state and the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.certs import certificates_by_host, host_of
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import age, show, state, table
from fastroute.ctl.status import controller_troubles
from fastroute.ctl.watch import watched
from fastroute.router.protocol.key import shown_key


@click.command("ps")
@click.option("--all", "whole_swarm", is_flag=True, help="In a swarm: of all nodes, by service and slot.")
@global_options
@click.pass_obj
def command(settings: CtlSettings, *, whole_swarm: bool) -> int:
    """Every labelled container, routed or not, with STATE and REASON."""
    return watched(settings, lambda: _once(settings, "/v1/containers?all=1" if whole_swarm else "/v1/containers"))


def _once(settings: CtlSettings, path: str) -> int:
    listing = Api(settings, "controller").get(path)
    failed = {host: row["reason"] for host, row in certificates_by_host(settings).items() if row["state"] == "failed"}
    show(settings, listing, lambda wide: _tables(listing, wide, failed), (row["name"] for row in listing["containers"]))
    return 0


def _tables(listing: dict[str, Any], wide: bool, failed: Mapping[str, str]) -> Iterator[RenderableType]:
    if listing["containers"]:
        # Tasks of a swarm go by these; their containers have long names.
        swarm = any(row.get("task") for row in listing["containers"])
        names = ("SERVICE", "SLOT", "NODE") if swarm else ("CONTAINER",)
        columns = (*names, "STATE", "ROUTES", "HEALTH", "SINCE", "REASON", *_more(wide, swarm, "CONTAINER", "ID"))
        yield table(columns, (_row(row, wide, swarm, failed) for row in listing["containers"]))
    else:
        yield Text("no labelled containers (fastroute.key=HOST on a container opts in)")
    for address in listing.get("silent", ()):
        yield Text(f"controller at {address}: no answer, so its node's containers are not here", "red")
    for trouble in controller_troubles(listing):
        yield Text(f"controller: {trouble}", "red")


def _row(row: dict[str, Any], wide: bool, swarm: bool, failed: Mapping[str, str]) -> tuple[object, ...]:
    """``failed``: hosts that could not get a certificate, and why."""
    hosts = dict.fromkeys(host_of(route["key"]) for route in row["routes"])
    reasons = [row["reason"], *(f"no certificate for {host}: {failed[host]}" for host in hosts if host in failed)]
    routes = ", ".join(f"{shown_key(route['key'])}@{route['address'] or '?'}" for route in row["routes"])
    named = (row.get("service") or row["name"], row.get("slot") or "-", row.get("node") or "-")
    cells = (
        *(named if swarm else (row["name"],)),
        state(row["state"]),
        routes,
        row["health"] or "-",
        age(row["since"]),
        "; ".join(filter(None, reasons)),
    )
    return (*cells, *_more(wide, swarm, row["name"], row["id"]))


def _more(wide: bool, swarm: bool, name: str, id: str) -> tuple[str, ...]:
    """What only the wide table has."""
    return ((name,) if swarm else ()) + (id,) if wide else ()
