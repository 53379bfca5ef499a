"""Nodes announced by host name: looked up at once, and again every 5 s.  One edge (the resolver).

Rules: a lookup never holds the loop; a failed lookup keeps the last addresses; a name that failed for 30 s loses them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from fastroute.router.address import parse_address
from fastroute.router.logs import get_logger

#: INTERFACE.md, "node": a name is resolved again every 5 s.
INTERVAL = 5.0
#: DESIGN.md, "Failure": a name that is gone for 30 s loses its addresses.
PATIENCE = 30.0
#: Lookups in flight at once; each takes a thread of the loop's default executor.
CONCURRENCY = 16

log = get_logger("fastroute.router")


class Book(Protocol):
    """Something that knows nodes by name: the table, and what is configured."""

    @property
    def names(self) -> Collection[str]:
        """``host:port`` of each."""

    def resolved(self, name: str, hosts: tuple[str, ...], now: float) -> None:
        """``name`` now stands for ``hosts``."""


class Names:
    """Keeps ``books`` current on the addresses behind their names; calls ``on_change`` after each lookup."""

    def __init__(self, books: Sequence[Book], on_change: Callable[[], None]) -> None:
        self._books, self._on_change = books, on_change
        self._failing: dict[str, float] = {}
        self._known: set[str] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENCY)

    def poke(self) -> None:
        """The table changed: a name may be new, and is then looked up at once."""
        if not self._known.issuperset(self._names()):
            self._wake.set()

    async def run(self) -> None:
        """Look up every name, for ever."""
        while True:
            self._known = set(self._names())
            self._failing = {name: since for name, since in self._failing.items() if name in self._known}
            await asyncio.gather(*(self._refresh(name) for name in self._known))
            try:
                await asyncio.wait_for(self._wake.wait(), INTERVAL)
            except TimeoutError:
                pass
            self._wake.clear()

    def _names(self) -> list[str]:
        return [name for book in self._books for name in book.names]

    async def _refresh(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        address = parse_address(name)
        async with self._slots:
            try:
                found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            except OSError as error:
                self._failed(name, error, loop.time())
                return
        if self._failing.pop(name, None) is not None:
            log.info("%s resolves again", name)
        self._resolved(name, tuple({str(info[4][0]).partition("%")[0] for info in found}), loop.time())

    def _failed(self, name: str, error: OSError, now: float) -> None:
        since = self._failing.get(name)
        if since is None:
            self._failing[name] = now
            log.warning("%s does not resolve (%s): its last addresses stay for %g s", name, error.strerror, PATIENCE)
        elif now - since >= PATIENCE:
            self._resolved(name, (), now)

    def _resolved(self, name: str, hosts: tuple[str, ...], now: float) -> None:
        for book in self._books:
            if name in book.names:
                book.resolved(name, hosts, now)
        self._on_change()
