"""What an operator asked for a whole key: that its requests wait, or that they are told of its maintenance.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

#: Names in ops of control.
SERVING: Final = "serving"
PAUSED: Final = "paused"
MAINTENANCE: Final = "maintenance"


class ServingState:
    """``ends``: the time at which control will say that a pause is over; ``allow``: networks of clients to which
    maintenance does not apply.  ``ValueError`` for what is no network."""

    __slots__ = ("ends", "message", "name", "networks")

    def __init__(self, name: str, message: str = "", allow: Sequence[str] = (), ends: float = 0.0) -> None:
        if name not in (SERVING, PAUSED, MAINTENANCE):
            raise ValueError(f"{name!r:.40}: {SERVING}, {PAUSED} or {MAINTENANCE} expected")
        self.name = name
        self.message = message
        self.networks: list[IPv4Network | IPv6Network] = []
        self.ends = ends
        if allow:
            # Most relays never need it.
            from ipaddress import ip_network

            self.networks = [ip_network(network) for network in allow]

    def lets_pass(self, address: bytes) -> bool:
        """True when maintenance does not apply to the client at ``address`` (REMOTE_ADDR)."""
        if self.name != MAINTENANCE:
            return True
        if not self.networks:
            return False
        from ipaddress import IPv6Address, ip_address

        try:
            client = ip_address(address.decode("ascii"))
        except ValueError:
            return False
        if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
            client = client.ipv4_mapped
        return any(client in network for network in self.networks)


#: Of nearly every key.
NORMAL: Final = ServingState(SERVING)
