"""What ``fastroute-page`` was told, after every source was read and checked: one frozen object.

Field names are the option names with underscores (docs/reference/page.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.router.protocol.address import Address, parse_address

LISTEN = parse_address("127.0.0.1:3036")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Every setting of ``fastroute-page``."""

    listen: tuple[Address, ...] = (LISTEN,)
    """Where browsers ask."""
    host: tuple[str, ...] = ()
    """Names by which browsers may ask, beside addresses and ``localhost``."""
    router_url: tuple[str, ...] = ("http://127.0.0.1:3033",)
    """Admins of routers."""
    controller_url: tuple[str, ...] = ("http://127.0.0.1:3034",)
    """Admins of controllers."""
    token_file: str | None = None
    """File with the bearer token for those."""
    log_format: str | None = None
    """``text`` or ``json``.  None: text on a terminal, else json."""
    log_level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
