"""Nodes that are names (of a static file): nginx gets the addresses behind them.  Pure.

nginx itself would look a name up once, and not start while it can't.  They are followed by ``router.resolver``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fastroute.controller.desired import Desired, Route, RouteKey
from fastroute.router.protocol.address import AddressError, join_host_port, parse_address

#: What a host name comes to.
AddressesOf = Callable[[str], tuple[str, ...]]


def expanded(routes: Desired, addresses_of: AddressesOf) -> dict[RouteKey, Route]:
    """``routes`` with a node for each address behind a name; a name without any stays as it is.  Pure."""
    result: dict[RouteKey, Route] = {}
    for at, route in routes.items():
        host, port = name_of(route)
        # Addresses of one interface (with a zone) mean nothing to nginx.
        addresses = [address for address in (addresses_of(host) if host else ()) if "%" not in address]
        for address in addresses:
            resolved = Route(replace(route.entry, address=join_host_port(address, port)), route.container)
            result[resolved.id] = resolved
        if not addresses:
            result[at] = route
    return result


def name_of(route: Route) -> tuple[str, int]:
    """The host name and port of a node that is a name; an empty name for any other."""
    try:
        address = parse_address(route.entry.address) if route.entry.address else None
    except AddressError:
        return "", 0
    return ("", 0) if address is None or address.numeric else (address.host, address.port)
