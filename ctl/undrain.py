"""``undrain TARGET``: requests go there again."""

from __future__ import annotations

import click

from fastroute.ctl import change
from fastroute.ctl.completion import complete_targets
from fastroute.ctl.settings import CtlSettings, global_options


@click.command("undrain")
@click.argument("target", shell_complete=complete_targets)
@global_options
@click.pass_obj
def command(settings: CtlSettings, target: str) -> int:
    """Undo a drain, or a weight of 0, of TARGET: a container (name or id), an address, KEY@ADDRESS, or a key."""
    return change.report(settings, "undrained", change.change(settings, "undrain", target))
