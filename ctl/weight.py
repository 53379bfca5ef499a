"""``weight TARGET N``: another share of the requests, over what label or announcement say."""

from __future__ import annotations

import click

from fastroute.ctl import change
from fastroute.ctl.completion import complete_targets
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.router.protocol.node_options import MAX_WEIGHT


@click.command("weight")
@click.argument("target", shell_complete=complete_targets)
@click.argument("weight", metavar="N", type=click.IntRange(0, MAX_WEIGHT))
@global_options
@click.pass_obj
def command(settings: CtlSettings, target: str, weight: int) -> int:
    """Give TARGET (a container, an address, KEY@ADDRESS, or a key) the weight N; 0: no new requests."""
    return change.report(settings, f"weight {weight}", change.change(settings, "weight", target, weight=weight))
