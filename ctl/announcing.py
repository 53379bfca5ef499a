"""``announce``: runs a command and announces it to routers while it accepts connections."""

from __future__ import annotations

import click

from fastroute.router.sidecar.main import main


class _Raw(click.Command):
    """Takes its arguments as they are: click would lose a leading ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hand on all arguments as they are."""
        ctx.params["arguments"] = tuple(args)
        return []


@click.command("announce", cls=_Raw, add_help_option=False)
def command(arguments: tuple[str, ...]) -> int:
    """Run a command and announce it to routers while it accepts connections."""
    return main(arguments)
