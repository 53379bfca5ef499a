"""Which pools that nobody announced have numbers: the fallback, static nodes, and keys that map to a socket.  Pure.

A mapped key has a socket of its name, so clients cannot invent any; numbers of ``MAX_MAPPED`` of them are kept, and the
one that was not asked for the longest goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.counters import Counters
from fastroute.router.protocol.static_pools import FALLBACK, MAPPED, MAX_MAPPED, TO


class StaticPool(NamedTuple):
    """One such pool: ``key`` for people, ``name`` in the relays' reports."""

    key: str
    name: str
    addresses: tuple[str, ...]


class StaticPools:
    """Follows the relays' reports; numbers of what is gone leave ``counters``."""

    def __init__(self, configured: ConfiguredNodes, counters: Counters) -> None:
        self._configured, self._counters = configured, counters
        self._mapped: dict[str, dict[str, None]] = {}

    def reported(self, name: str, address: str = "") -> None:
        """A relay spoke of the pool ``name``, or of its node at ``address``."""
        if name.startswith(MAPPED):
            addresses = self._mapped.pop(name, {})
            self._mapped[name] = addresses
            if address:
                addresses[address] = None
            if len(self._mapped) > MAX_MAPPED:
                self._forget(next(iter(self._mapped)))
        elif address and address not in self._configured.nodes(name[1:-1]):
            self._counters.forget_node(name, address)

    def __iter__(self) -> Iterator[StaticPool]:
        """Those of the configuration, then the mapped ones."""
        for name in (FALLBACK, TO):
            if addresses := self._configured.nodes(name[1:-1]):
                yield StaticPool(name, name, addresses)
        for name, mapped in self._mapped.items():
            yield StaticPool(name.removeprefix(MAPPED), name, tuple(mapped))

    def _forget(self, name: str) -> None:
        for address in self._mapped.pop(name):
            self._counters.forget_node(name, address)
        self._counters.forget_key(name)
