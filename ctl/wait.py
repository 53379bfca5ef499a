"""``wait KEY --ready N``: ends when the router has N nodes that serve the key, or with exit code 6."""

from __future__ import annotations

import time

import click

from fastroute.ctl.completion import complete_keys
from fastroute.ctl.errors import DONE, TIMED_OUT, CtlError, Unreachable
from fastroute.ctl.keys import key_row
from fastroute.ctl.settings import CtlSettings, global_options_but

#: Seconds between two requests for the state of the key.
POLL_INTERVAL = 0.1


@click.command("wait")
@click.argument("key", shell_complete=complete_keys)
@click.option("--ready", type=click.IntRange(min=1), required=True, metavar="N", help="Nodes that must serve KEY.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="S",
              help="Give up (exit 6) after so many seconds.")  # fmt: skip
@global_options_but("timeout")
@click.pass_obj
def command(settings: CtlSettings, key: str, ready: int, timeout: float) -> int:
    """Wait until KEY has at least N nodes that serve it."""
    end = time.monotonic() + timeout
    last = ""
    unreachable: Unreachable | None = None
    while True:
        try:
            row = key_row(settings, key)
            last, unreachable = f"has {row['ready']}" if row else "is not known", None
            if row and row["ready"] >= ready:
                return DONE
        except Unreachable as error:
            unreachable = error
        except CtlError as error:
            last = str(error)
        if time.monotonic() >= end:
            break
        time.sleep(min(POLL_INTERVAL, max(0.0, end - time.monotonic())))
    if unreachable is not None:
        raise unreachable
    click.echo(f"fastroute-ctl: {key} does not have {ready} ready nodes after {timeout:g} s ({last})", err=True)
    return TIMED_OUT
