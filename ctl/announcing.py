"""``announce``: runs a command and announces it to routers while it accepts connections."""

from __future__ import annotations

import click

from fastroute.router.agent.main import main


@click.command("announce", add_help_option=False,
               context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})  # fmt: skip
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Run a command and announce it to routers while it accepts connections."""
    return main(arguments)
