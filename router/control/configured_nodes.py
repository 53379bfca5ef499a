"""The nodes of ``--fallback`` and ``fastrouter-to``: what was configured, as numeric addresses for the relays.  Pure.

A name stands for all its addresses, as a node's name does; relays get each as an address of its own.
"""

from __future__ import annotations

from typing import Any

from fastroute.router.protocol.address import Address, join_host_port, parse_address

Op = list[Any]


class ConfiguredNodes:
    """``options``: by their name, as the op ``reserve`` has it.  ``changed``: relays have not been told yet."""

    def __init__(self, **options: tuple[Address, ...]) -> None:
        self._options = {name: addresses for name, addresses in options.items() if addresses}
        self._found: dict[str, tuple[str, ...]] = {}
        self.names = {str(address) for addresses in options.values() for address in addresses if not address.numeric}
        self.changed = bool(self._options)

    def resolved(self, name: str, hosts: tuple[str, ...], now: float) -> None:
        """``name`` (``host:port``) now stands for the IPs ``hosts``."""
        targets = tuple(join_host_port(host, parse_address(name).port) for host in sorted(hosts))
        if name in self.names and self._found.get(name, ()) != targets:
            self._found[name] = targets
            self.changed = True

    def targets(self, address: Address) -> tuple[str, ...]:
        """What a configured ``address`` stands for now."""
        return (str(address),) if address.numeric else self._found.get(str(address), ())

    def nodes(self, option: str) -> tuple[str, ...]:
        """All that ``option`` stands for now, each address once."""
        addresses = self._options.get(option, ())
        return tuple(dict.fromkeys(target for address in addresses for target in self.targets(address)))

    def ops(self) -> list[Op]:
        """All of it, for the relays."""
        return [["reserve", option, list(self.nodes(option))] for option in self._options]
