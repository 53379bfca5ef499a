"""The global options, which may stand before or behind the verb, and what they default to.

Flags win over ``FASTROUTE_*`` variables.  Behind the verb they win over the same before it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from fastroute.ctl import default_addresses

ROUTER_URL = f"http://{default_addresses.ROUTER}"
CONTROLLER_URL = f"http://{default_addresses.CONTROLLER}"
CERTS_URL = f"http://{default_addresses.CERTS}"
FORMATS = ("table", "wide", "json", "yaml", "name")
ANSWER_TIMEOUT = 5.0

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(slots=True)
class CtlSettings:
    """The global options as given; None: not given.  ``paint`` takes the text that --watch redraws."""

    router_url: str | None = None
    controller_url: str | None = None
    certs_url: str | None = None
    token_file: str | None = None
    timeout: float | None = None
    output: str | None = None
    watch: bool | None = None
    paint: Callable[[str], object] | None = None

    @property
    def router(self) -> str:
        """Where the router's admin is."""
        return self.router_url or os.environ.get("FASTROUTE_ROUTER_URL") or ROUTER_URL

    @property
    def controller(self) -> str:
        """Where the controller's admin is."""
        return self.controller_url or os.environ.get("FASTROUTE_CONTROLLER_URL") or CONTROLLER_URL

    @property
    def certs(self) -> str:
        """Where the admin of fastroute-certs is."""
        return self.certs_url or os.environ.get("FASTROUTE_CERTS_URL") or CERTS_URL

    @property
    def format(self) -> str:
        """One of ``FORMATS``."""
        return self.output or "table"

    @property
    def seconds(self) -> float:
        """How long to wait for an answer."""
        return ANSWER_TIMEOUT if self.timeout is None else self.timeout


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    settings = context.ensure_object(CtlSettings)
    if value is not None and value is not False:
        setattr(settings, str(parameter.name), value)


def global_options(command: _Command) -> _Command:
    """Add the global options to a verb (or to the program): they end up in the context's :class:`CtlSettings`."""
    return global_options_but("")(command)


def global_options_but(name: str) -> Callable[[_Command], _Command]:
    """The global options without ``name``, of which the verb has one with a meaning of its own."""
    kept: dict[str, Any] = {"expose_value": False, "callback": _keep}
    options = {
        "watch": click.option("--watch", "-w", is_flag=True, help="Again every two seconds, until Ctrl-C.", **kept),
        "output": click.option("--output", "-o", type=click.Choice(FORMATS),
                               help="How to show it (default: table).", **kept),
        "timeout": click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
                                help=f"Seconds to wait for an answer (default: {ANSWER_TIMEOUT:g}).", **kept),
        "token_file": click.option("--token-file", type=click.Path(), metavar="FILE",
                                   help="Token for changes.", **kept),
        "certs_url": click.option("--certs-url", metavar="URL", help="Admin of fastroute-certs"
                                  f" (FASTROUTE_CERTS_URL, default: {CERTS_URL}).", **kept),
        "controller_url": click.option("--controller-url", metavar="URL", help="Controller's admin"
                                       f" (FASTROUTE_CONTROLLER_URL, default: {CONTROLLER_URL}).", **kept),
        "router_url": click.option("--router-url", metavar="URL",
                                   help=f"Router's admin (FASTROUTE_ROUTER_URL, default: {ROUTER_URL}).", **kept),
    }  # fmt: skip

    def add(command: _Command) -> _Command:
        for option, decorate in options.items():
            if option != name:
                command = decorate(command)
        return command

    return add
