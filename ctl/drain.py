"""``drain TARGET``: no new requests there until undone; ``--wait``: until those in flight are over."""

from __future__ import annotations

import click

from fastroute.ctl import change
from fastroute.ctl.completion import complete_targets
from fastroute.ctl.settings import CtlSettings, global_options_but


@click.command("drain")
@click.argument("target", shell_complete=complete_targets)
@click.option("--wait", is_flag=True, help="Until no request runs there any more; exit 6 when that takes too long.")
@click.option("--timeout", type=click.FloatRange(min=0), default=change.DRAIN_TIMEOUT, show_default=True,
              metavar="S", help="With --wait: give up after so many seconds.")  # fmt: skip
@global_options_but("timeout")
@click.pass_obj
def command(settings: CtlSettings, target: str, wait: bool, timeout: float) -> int:
    """Send no new requests to TARGET: a container (name or id), an address, KEY@ADDRESS, or a key.

    Requests in flight finish.  It stays so until fastroute-ctl undrain, or until the container ends."""
    drained = change.change(settings, "drain", target)
    if not wait:
        return change.report(settings, "draining", drained)
    if code := change.wait_drained(settings, drained, timeout):
        return change.report(settings, "draining", drained) or code
    return change.report(settings, "drained", [{**target, "in_flight": 0} for target in drained])
