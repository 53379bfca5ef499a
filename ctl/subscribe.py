"""``subscribe KEY ADDR``: a node joins a key, as owner *operator*; it stays until it is taken back."""

from __future__ import annotations

import click

from fastroute.ctl import datagram
from fastroute.ctl.settings import global_options
from fastroute.router.key import shown_key
from fastroute.router.subscription import Entry

server_option = click.option(
    "--server", "servers", multiple=True, metavar="ADDR",
    help="Subscription server, repeatable: host:port (every address behind a name is told) or a unix datagram path"
    f" (default: FASTROUTE_ROUTER, FASTROUTE_SUBSCRIPTION_SERVER, {datagram.SERVER}).",
)  # fmt: skip

secret_option = click.option(
    "--subscription-secret-file", "secret_file", metavar="FILE", envvar="FASTROUTE_SUBSCRIPTION_SECRET_FILE",
    help="Secret shared with the routers: proves what is said by UDP.",
)  # fmt: skip


@click.command("subscribe")
@click.argument("key")
@click.argument("address", metavar="ADDR")
@server_option
@secret_option
@click.option("--weight", type=click.IntRange(1, 65_535), default=1, show_default=True)
@click.option("--backup", type=click.IntRange(0, 255), default=0, show_default=True,
              help="Used only when every lower level is down.")  # fmt: skip
@click.option("--modifier1", type=click.IntRange(0, 255), default=0, show_default=True)
@click.option("--modifier2", type=click.IntRange(0, 255), default=0, show_default=True)
@global_options
def command(
    key: str,
    address: str,
    servers: tuple[str, ...],
    secret_file: str | None,
    weight: int,
    backup: int,
    modifier1: int,
    modifier2: int,
) -> int:
    """Add the node ADDR to KEY, as owner operator."""
    entry = Entry(datagram.read_key(key), datagram.read_node(address), weight, backup, modifier1, modifier2)
    told = datagram.tell(servers, entry, secret_file)
    return datagram.report(
        told, f"{shown_key(entry.key)} => {entry.address} subscribed", proven=secret_file is not None
    )
