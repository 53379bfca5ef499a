"""``unsubscribe KEY ADDR``: takes back what ``subscribe`` said; a node that others announce too stays theirs."""

from __future__ import annotations

import click

from fastroute.ctl import datagram
from fastroute.ctl.settings import global_options
from fastroute.ctl.subscribe import secret_option, server_option
from fastroute.router.protocol.key import shown_key
from fastroute.router.protocol.subscription import Entry


@click.command("unsubscribe")
@click.argument("key")
@click.argument("address", metavar="ADDR")
@server_option
@secret_option
@global_options
def command(key: str, address: str, servers: tuple[str, ...], secret_file: str | None) -> int:
    """Take the node ADDR back from KEY; requests in flight there finish."""
    entry = Entry(datagram.read_key(key), datagram.read_node(address), gone=True)
    results = datagram.announce(servers, entry, secret_file)
    return datagram.report(
        results, f"{shown_key(entry.key)} => {entry.address} unsubscribed", proven=secret_file is not None
    )
