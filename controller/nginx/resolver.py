"""Nodes that are names (of a static file): nginx gets the addresses behind them, looked up again and again.

nginx itself would look a name up once, and not start while it can't.  An edge: a thread of its own, begun with the
first name.  A name that does not resolve keeps its last addresses for ``KEEP`` seconds.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from fastroute.controller.desired import Desired, Route, RouteKey
from fastroute.router.address import AddressError, join_host_port, parse_address

#: INTERFACE.md: a name is resolved again every 5 s.
EVERY, KEEP = 4.0, 30.0

log = logging.getLogger("fastroute.controller.nginx")

Found = Mapping[str, tuple[str, ...]]


def expanded(routes: Desired, found: Found) -> dict[RouteKey, Route]:
    """``routes`` with a node for each address behind a name; a name without any stays as it is.  Pure."""
    result: dict[RouteKey, Route] = {}
    for at, route in routes.items():
        host, port = name_of(route)
        for address in found.get(host, ()):
            one = Route(replace(route.entry, address=join_host_port(address, port)), route.container)
            result[one.id] = one
        if not found.get(host):
            result[at] = route
    return result


def name_of(route: Route) -> tuple[str, int]:
    """The host name and port of a node that is a name; an empty name for any other."""
    try:
        address = parse_address(route.entry.address) if route.entry.address else None
    except AddressError:
        return "", 0
    return ("", 0) if address is None or address.numeric else (address.host, address.port)


class Resolver:
    """Looks up ``names`` until :meth:`close`; ``changed`` is called when what they mean has changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.found: Found = {}
        self._changed = changed
        self._names: frozenset[str] = frozenset()
        self._since: dict[str, float] = {}
        self._wake, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None

    def watch(self, names: frozenset[str]) -> None:
        """Look up these from now on."""
        if names == self._names:
            return
        self._names = names
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nginx-names", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Look up no more."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            found = {name: self._look_up(name) for name in sorted(self._names)}
            if found != self.found:
                self.found = found
                self._changed()
            self._wake.wait(EVERY)

    def _look_up(self, name: str) -> tuple[str, ...]:
        try:
            rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as error:
            since = self._since.setdefault(name, time.monotonic())
            if since + EVERY / 2 > time.monotonic():
                log.warning("%s does not resolve (%s); keeps trying", name, error)
            return self.found.get(name, ()) if time.monotonic() < since + KEEP else ()
        self._since.pop(name, None)
        return tuple(sorted({str(row[4][0]) for row in rows if "%" not in str(row[4][0])}))
