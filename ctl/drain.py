"""``drain TARGET``: no new requests there until undone; ``--wait``: until those in flight are over."""

from __future__ import annotations

import click

from fastroute.ctl import change
from fastroute.ctl.completion import complete_targets
from fastroute.ctl.key_states import Duration
from fastroute.ctl.settings import CtlSettings, global_options_but
from fastroute.router.protocol.entry import MAX_SESSIONS


@click.command("drain")
@click.argument("target", shell_complete=complete_targets)
@click.option("--wait", is_flag=True, help="Until no request runs there any more; exit 6 when that takes too long.")
@click.option("--timeout", type=click.FloatRange(min=0), default=change.DRAIN_TIMEOUT, show_default=True,
              metavar="S", help="With --wait: give up after so many seconds.")  # fmt: skip
@click.option("--sessions", type=Duration(MAX_SESSIONS), metavar="S",
              help="Clients that stay with it (sticky) may go on so long (60, 60s, 10m).")  # fmt: skip
@global_options_but("timeout")
@click.pass_obj
def command(settings: CtlSettings, target: str, wait: bool, timeout: float, sessions: float | None) -> int:
    """Send no new requests to TARGET: a container (name or id), an address, KEY@ADDRESS, or a key.

    Requests in flight finish.  It stays so until fastroute-ctl undrain, or until the container ends.  With --sessions,
    requests that carry its cookie still go there for that time; --wait then waits for its end as well, and --timeout
    begins with it."""
    drained = change.change(settings, "drain", target, **({"sessions": sessions} if sessions else {}))
    if not wait:
        return change.report(settings, "draining", drained)
    if code := change.wait_drained(settings, drained, (sessions or 0) + timeout):
        return change.report(settings, "draining", drained) or code
    return change.report(settings, "drained", [{**target, "in_flight": 0} for target in drained])
