"""``subscribe KEY ADDR``: a node joins a key, as owner *operator*; it stays until it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fastroute.ctl import datagram
from fastroute.ctl.settings import global_options
from fastroute.router.config.command_line import show
from fastroute.router.protocol.key import shown_key
from fastroute.router.protocol.node_options import ALL_SETTINGS, DEFAULT, NODE_SETTINGS, NodeOptions, Setting
from fastroute.router.protocol.subscription import Entry

_F = TypeVar("_F", bound=Callable[..., Any])

server_option = click.option(
    "--server", "servers", multiple=True, metavar="ADDR",
    help="Subscription server, repeatable: host:port (every address behind a name is told) or a unix datagram path"
    f" (default: FASTROUTE_ROUTER, FASTROUTE_SUBSCRIPTION_SERVER, {datagram.SERVER}).",
)  # fmt: skip

secret_option = click.option(
    "--subscription-secret-file", "secret_file", metavar="FILE", envvar="FASTROUTE_SUBSCRIPTION_SECRET_FILE",
    help="Secret shared with the routers: proves what is said by UDP.",
)  # fmt: skip


class _SettingType(click.ParamType[Any]):
    """Reads one setting of a node, as every other place does."""

    def __init__(self, setting: Setting) -> None:
        self.name, self._setting = setting.metavar, setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._setting.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _node_options(command: _F) -> _F:
    for setting in reversed(ALL_SETTINGS):
        default = getattr(DEFAULT, setting.name) if setting in NODE_SETTINGS else "the router's"
        about = f"{setting.about[0].upper()}{setting.about[1:]} (default: {show(default)})."
        option = click.option(f"--{setting.name}", type=_SettingType(setting), metavar=setting.metavar, help=about)
        command = option(command)
    return command


@click.command("subscribe")
@click.argument("key")
@click.argument("address", metavar="ADDR")
@server_option
@secret_option
@_node_options
@global_options
def command(
    key: str,
    address: str,
    servers: tuple[str, ...],
    secret_file: str | None,
    **given: Any,
) -> int:
    """Add the node ADDR to KEY, as owner operator."""
    options = NodeOptions(**{name: value for name, value in given.items() if value is not None})
    entry = Entry(datagram.read_key(key), datagram.read_node(address), options)
    results = datagram.announce(servers, entry, secret_file)
    return datagram.report(
        results, f"{shown_key(entry.key)} => {entry.address} subscribed", proven=secret_file is not None
    )
