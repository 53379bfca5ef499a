"""``config show [PROGRAM] [-- ARGUMENTS]``: every option as the program would have it, and where each comes from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from fastroute.controller import options as controller_options
from fastroute.ctl.errors import DONE, USAGE, CtlError
from fastroute.ctl.running import running
from fastroute.ctl.settings import CtlSettings, global_options
from fastroute.ctl.show import show, table
from fastroute.router.config import option_types
from fastroute.router.config import options as router_options
from fastroute.router.config.command_line import InfoRequested
from fastroute.router.config.command_line import show as written
from fastroute.router.config.configuration import ConfigurationError, Option, Program, Resolved

_Resolve = Callable[[Sequence[str], Mapping[str, str]], dict[str, Resolved]]
_PROGRAMS: dict[str, tuple[Program, _Resolve]] = {
    "router": (router_options.PROGRAM, router_options.resolve_all),
    "controller": (controller_options.PROGRAM, controller_options.resolve_all),
}


class Wrong(CtlError):
    """The configuration is no configuration."""

    exit_code = USAGE


@click.group("config")
def command() -> None:
    """What the programs are configured to do."""


@command.command("show", context_settings={"ignore_unknown_options": True})
@click.argument("program", type=click.Choice([*_PROGRAMS]), required=False)
@click.argument("arguments", nargs=-1, metavar="[FILE] [OPTIONS]...")
@click.option("--origin", is_flag=True, help="Say where each value comes from: a flag, a variable, FILE:LINE, default.")
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@global_options
@click.pass_obj
def show_command(
    settings: CtlSettings, program: str | None, arguments: tuple[str, ...], origin: bool, changed: bool
) -> int:  # fmt: skip
    """Every option of PROGRAM (router or controller), its value, and with --origin where it comes from.

    FILE and OPTIONS are what PROGRAM would be given.  Without them, and where PROGRAM runs here (in its container,
    say), those that it was started with."""
    name, words, environ = _asked_for(program, arguments)
    declared, resolve = _PROGRAMS[name]
    try:
        values = resolve(words, environ)
    except ConfigurationError as error:
        raise Wrong(str(error)) from None
    except InfoRequested:
        raise Wrong(f"{declared.name} would only answer --help or --version") from None
    rows = [
        (option.name, _written(option, resolved.value), resolved.origin)
        for option in declared.options
        if (resolved := values[option.field]) and not (changed and resolved.origin == "default")
    ]
    result: dict[str, Any] = {
        "schema": "fastroute.config/v1",
        "program": declared.name,
        "options": [{"option": option, "value": value, "origin": place} for option, value, place in rows],
    }
    show(
        settings,
        result,
        lambda wide: [
            table(("OPTION", "VALUE", "ORIGIN"), rows)
            if origin or wide
            else table(("OPTION", "VALUE"), (row[:2] for row in rows))
        ],
        (row[0] for row in rows),
    )
    return DONE


def _written(option: Option, value: object) -> str:
    return f"{value:04o}" if option.read is option_types.permissions else written(value)


def _asked_for(program: str | None, arguments: Sequence[str]) -> tuple[str, Sequence[str], Mapping[str, str]]:
    """The program's name, its arguments, and its environment."""
    if not arguments:
        for process in running():
            if process.program in _PROGRAMS and program in (None, process.program):
                return process.program, process.arguments, process.environ or os.environ
    if program is None:
        raise click.UsageError("router or controller expected: none of them runs here")
    return program, arguments, os.environ
