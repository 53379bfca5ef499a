"""The options of ``fastroute-page``: one row each, and how all sources become settings.

:func:`parse` is what the program calls; it reads FILE (YAML) and looks at the files that are named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fastroute.page.settings import PageSettings
from fastroute.router.admin_http.urls import admin_url
from fastroute.router.config import file_types
from fastroute.router.config import option_types as types
from fastroute.router.config.configuration import (
    ConfigurationError,
    Option,
    Program,
    resolve,
    shown,
)
from fastroute.router.config.sources import read_sources

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*", re.IGNORECASE)
_MAX_HOST = 253


def host_name(text: str) -> str:
    """The name of a host, as a browser asks for it."""
    if not _HOST.fullmatch(text) or len(text) > _MAX_HOST:
        raise ValueError(f"{shown(text)}: the name of a host expected (like fastroute.example.com)")
    return text.lower()


OPTIONS = (
    Option("listen", types.socket_address, "ADDR", "where browsers ask: host:port, [v6]:port, :port, or the path of a"
           " unix socket", repeatable=True),
    Option("host", host_name, "NAME", "a name by which browsers may ask, beside IP addresses, localhost and the name"
           " in --listen", repeatable=True, none="none"),
    Option("router-url", admin_url, "URL", "admin of a router", repeatable=True, none="none"),
    Option("controller-url", admin_url, "URL", "admin of a controller", repeatable=True, none="none"),
    Option("token-file", file_types.readable_file, "FILE", "bearer token for these, where they are asked by a name",
           none="none"),
    Option("log-format", types.choice(types.LOG_FORMATS), "FORMAT", "text or json",
           default_text="text on a terminal, json else"),
    Option("log-level", types.choice(types.LOG_LEVELS), "LEVEL", ", ".join(types.LOG_LEVELS)),
)  # fmt: skip

PROGRAM = Program(
    name="fastroute-page",
    section="page",
    about="Serves a web page that shows what routers and controllers do: what is served, what fails and why, what"
    " changed.  It reads and can change nothing.",
    file_help="FILE is YAML (section page:).",
    options=OPTIONS,
    defaults=PageSettings(),
)


def parse(argv: Sequence[str], environ: Mapping[str, str], width: int = 80) -> PageSettings:
    """The settings of one start.  ``argv`` is without the program's name.

    Raises ``ConfigurationError`` for anything wrong, ``InfoRequested`` for ``--help`` and ``--version``.
    """
    values = resolve(PROGRAM, read_sources(PROGRAM, argv, environ, width))
    settings = PageSettings(**{field: resolved.value for field, resolved in values.items()})
    if not settings.router_url and not settings.controller_url:
        raise ConfigurationError(f"{values['router_url'].origin}: a --router-url or a --controller-url expected")
    return settings
