"""``resume KEY``: ends a pause, or maintenance."""

from __future__ import annotations

import click

from fastroute.ctl import key_states
from fastroute.ctl.completion import complete_keys
from fastroute.ctl.settings import CtlSettings, global_options


@click.command("resume")
@click.argument("key", shell_complete=complete_keys)
@global_options
@click.pass_obj
def command(settings: CtlSettings, key: str) -> int:
    """End a pause or maintenance of KEY: requests that wait go on, the oldest first."""
    return key_states.report(settings, "resumed", key_states.ask(settings, "resume", key))
