"""``resync``: the controller compares everything with Docker now, not at its next turn."""

from __future__ import annotations

import click

from fastroute.ctl.api import Api
from fastroute.ctl.settings import CtlSettings, global_options


@click.command("resync")
@global_options
@click.pass_obj
def command(settings: CtlSettings) -> int:
    """Let the controller compare everything with Docker now."""
    print(Api(settings, "controller").post("/v1/resync", {}).get("result", "done"))
    return 0
