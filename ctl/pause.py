"""``pause KEY``: its requests wait, though nodes are there, until ``resume KEY`` or the time is over."""

from __future__ import annotations

import click

from fastroute.ctl import key_states
from fastroute.ctl.completion import complete_keys
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.router.protocol.key_state import PAUSE_DEFAULT, PAUSE_MAX


@click.command("pause")
@click.argument("key", shell_complete=complete_keys)
@click.option(
    "--for",
    "seconds",
    type=key_states.Duration(PAUSE_MAX),
    metavar="S",
    default=f"{PAUSE_DEFAULT:g}",
    show_default=True,
    help=f"How long (30, 30s, 5m), at most {PAUSE_MAX:g} s.",
)
@global_options
@click.pass_obj
def command(settings: CtlSettings, key: str, seconds: float) -> int:
    """Let all requests of KEY wait until fastroute-ctl resume, or until the time is over.

    Needs no node to be there, and router mode."""
    return key_states.report(settings, "paused", key_states.ask(settings, "pause", key, seconds=seconds))
