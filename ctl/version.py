"""``version``: of this program, and of the router and the controller as far as they answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

import fastroute
from fastroute.ctl.api import Api
from fastroute.ctl.errors import CtlError
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import show


@click.command("version")
@global_options
@click.pass_obj
def command(settings: CtlSettings) -> int:
    """The versions of this program and of the router, if it answers.  Always exits 0."""
    settings.timeout = min(settings.seconds, 2.0)
    router: dict[str, Any] = {}
    try:
        router = Api(settings, "router").get("/v1/status").get("router") or {}
    except CtlError:
        pass
    result = {"schema": "fastroute.version/v1", "ctl": fastroute.__version__, "router": router.get("version")}

    def tables(_: bool) -> Iterator[RenderableType]:
        for name in ("ctl", "router"):
            yield Text(f"fastroute-{name} {result[name] or '(does not answer)'}")

    show(settings, result, tables, [fastroute.__version__])
    return 0
