"""``certs``: hosts and their certificates, as fastroute-certs has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from fastroute.ctl.api import Api
from fastroute.ctl.errors import CtlError
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import show, state, table
from fastroute.ctl.watch import watched


@click.command("certs")
@global_options
@click.pass_obj
def command(settings: CtlSettings) -> int:
    """Hosts and their certificates, with STATE, EXPIRES, ISSUER and REASON."""
    return watched(settings, lambda: _once(settings))


def _once(settings: CtlSettings) -> int:
    listing = Api(settings, "certs").get("/v1/certificates")
    rows = listing["certificates"]
    show(settings, listing, lambda wide: _tables(rows, wide), (row["host"] for row in rows))
    return 0


def certificates_by_host(settings: CtlSettings) -> dict[str, dict[str, Any]]:
    """The rows by host, for verbs that show something else; empty where nobody answers."""
    try:
        return {row["host"]: row for row in Api(settings, "certs").get("/v1/certificates")["certificates"]}
    except (CtlError, KeyError, TypeError):
        return {}


def host_of(key: str) -> str:
    """The host whose certificate is that of ``key``."""
    authority = key.partition("/")[0]
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() else authority


def _tables(rows: list[dict[str, Any]], wide: bool) -> Iterator[RenderableType]:
    if rows:
        columns = ("HOST", "STATE", "EXPIRES", "ISSUER", "REASON")
        yield table((*columns, "NEXT") if wide else columns, (_row(row, wide) for row in rows))
    else:
        yield Text("no hosts: certificates are for host names that have a ready node")


def _row(row: dict[str, Any], wide: bool) -> tuple[object, ...]:
    cells = (row["host"], state(row["state"]), row["expires"] or "-", row["issuer"] or "-", row["reason"] or "")
    return (*cells, row["next"] or "-") if wide else cells
