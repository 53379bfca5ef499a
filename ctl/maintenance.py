"""``maintenance KEY``: its requests are answered 503 with a message, but for clients of the networks that are let
through."""

from __future__ import annotations

import click

from fastroute.ctl import key_states
from fastroute.ctl.completion import complete_keys
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.router.protocol.key_state import (
    MAINTENANCE_MAX,
    MAX_MESSAGE,
    MAX_NETWORKS,
    read_message,
    read_networks,
)


@click.command("maintenance")
@click.argument("key", shell_complete=complete_keys)
@click.option("--message", metavar="TEXT", help=f"For clients: one line, at most {MAX_MESSAGE} characters.")
@click.option("--allow", multiple=True, metavar="CIDR",
              help=f"Clients (REMOTE_ADDR) that are served all the same; at most {MAX_NETWORKS} networks.")  # fmt: skip
@click.option("--for", "seconds", type=key_states.Duration(MAINTENANCE_MAX), metavar="S",
              help="How long (300, 5m, 2h); without it until fastroute-ctl resume.")  # fmt: skip
@global_options
@click.pass_obj
def command(settings: CtlSettings, key: str, message: str | None, allow: tuple[str, ...], seconds: float | None) -> int:
    """Answer requests of KEY with 503 and a message, until fastroute-ctl resume.

    Needs no node to be there, and router mode."""
    text, networks = key_states.checked(read_message, message or ""), key_states.checked(read_networks, allow)
    options = {"message": text, "allow": list(networks), "seconds": seconds}
    return key_states.report(settings, "maintenance", key_states.ask(settings, "maintenance", key, **options))
