"""Whom an HTTP front believes for whom they ask (``--http-trusted``), and which addresses in X-Forwarded-For are those
of proxies (``--http-proxies``).  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

#: Addresses whose answer is remembered.
_MAX_REMEMBERED: Final = 1024


class TrustedNetworks:
    """Proxies at the addresses of these ``networks`` (CIDR)."""

    def __init__(self, networks: Sequence[str]) -> None:
        # Most relays have no HTTP front, and ipaddress is not light.
        from ipaddress import ip_network

        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]
        self._remembered: dict[str, bool] = {}

    def trusts(self, address: str) -> bool:
        """Whether this IP ``address`` is in one of the networks."""
        trusted = self._remembered.get(address)
        if trusted is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            trusted = self._remembered[address] = self._look_up(address)
        return trusted

    def _look_up(self, address: str) -> bool:
        from ipaddress import IPv6Address, ip_address

        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            # X-Forwarded-For may say 999.9.9.9.
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)
