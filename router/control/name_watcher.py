"""Nodes announced by host name: passes what the resolver finds on to those who hold the nodes.  An edge.

The resolver works on threads of its own, so that no lookup holds the loop, or another name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from fastroute.router.protocol.address import parse_address
from fastroute.router.runtime.resolver import Resolver


class NamedNodes(Protocol):
    """Holds nodes by name: the table, and the configured nodes."""

    @property
    def names(self) -> Collection[str]:
        """``host:port`` of each."""

    def resolved(self, name: str, hosts: tuple[str, ...], now: float) -> None:
        """``name`` now stands for ``hosts``."""


class NameWatcher:
    """Keeps ``holders`` current on the addresses behind their names; calls ``on_change`` when that changed
    something."""

    def __init__(self, holders: Sequence[NamedNodes], on_change: Callable[[], None]) -> None:
        self._holders, self._on_change = holders, on_change
        self._resolver = Resolver(self._on_news)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._known: set[str] = set()
        self._by_host: dict[str, list[str]] = {}

    def poke(self) -> None:
        """The table changed: a name may be new, and is then looked up at once."""
        names = {name for holder in self._holders for name in holder.names}
        if self._loop is None or names == self._known:
            return
        new, self._known = names - self._known, names
        self._by_host = {}
        for name in names:
            self._by_host.setdefault(parse_address(name).host, []).append(name)
        self._resolver.watch(self._by_host)
        # Their host may have been known by another port.
        if known := [name for name in new if self._resolver.addresses(parse_address(name).host)]:
            self._loop.call_soon(self._tell, known)

    async def run(self) -> None:
        """Look up every name, for ever."""
        self._loop = asyncio.get_running_loop()
        self.poke()
        try:
            await self._loop.create_future()
        finally:
            self._resolver.close()

    def _on_news(self, host: str) -> None:
        """On a thread of the resolver."""
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(lambda: self._tell(self._by_host.get(host, ())))

    def _tell(self, names: Iterable[str]) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for name in names:
            # Zones mean nothing to who connects from elsewhere.
            addresses = (ip.partition("%")[0] for ip in self._resolver.addresses(parse_address(name).host))
            hosts = tuple(dict.fromkeys(addresses))
            for holder in self._holders:
                if name in holder.names:
                    holder.resolved(name, hosts, now)
        self._on_change()
