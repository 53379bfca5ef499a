"""Who may announce what.  Pure; docs/security.md is written from this file.

A datagram from a unix socket is believed: the file's mode decided who could write it.  From UDP, the sender must be in
the allowed networks (loopback unless configured), and whoever is not on loopback may only name its own IP: never
somebody else's, a name, a unix path, loopback, link-local, or speak as a controller.  Who has proven itself may, from
anywhere; but not leave its address to be taken from the datagram, which no proof covers.  Nobody may make the router a
node of itself (own_sockets.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from fastroute.router.protocol.address import AddressError, join_host_port, parse_address
from fastroute.router.protocol.subscription import Announcement, PacketError

#: Nodes of one IP for which nobody has proven anything: as many as REMOTE (rate_limit.py) lets it announce every 10 s.
MAX_UNPROVEN = 2_000

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AdmissionRules:
    """The rule, made once from the settings.

    ``allowed``: networks (CIDR) whose hosts may subscribe by UDP without proof; ``owns``: whether an address is one of
    the router's own sockets, which nobody may announce as a node (what a name comes to is seen later: own_nodes.py).
    """

    def __init__(self, allowed: Iterable[str], owns: Callable[[str], bool] = lambda address: False) -> None:
        self._allowed = tuple(ipaddress.ip_network(network) for network in allowed)
        self._owns = owns

    def check_sender(self, sender: IPAddress | None) -> None:
        """``PacketError`` unless ``sender`` (None: a unix socket) may send at all.  Before anything is decoded."""
        if sender is not None and not any(sender in network for network in self._allowed):
            raise PacketError("sender", f"{sender} is not in the networks allowed to subscribe (--subscription-allow)")

    def check(self, announcement: Announcement, sender: IPAddress | None, *, proven: bool = False) -> None:
        """``PacketError`` unless ``sender`` may say all of ``announcement``; ``proven``: it has the secret."""
        remote = sender is not None and not sender.is_loopback
        if remote and announcement.source and not proven:
            text = f"{sender} speaks as {announcement.source!r}: without a secret only loopback and unix sockets may"
            raise PacketError("untrusted", text)
        for entry in announcement.entries:
            if entry.address:
                named = self._named(entry.address, sender, remote=remote, proven=proven)
                # Of what a source compares as a whole nothing is left out here, or it would never be complete.
                if announcement.instance < 0 and not entry.gone and self._owns(named):
                    text = f"{entry.address!r} is this router itself: a request sent there would never end"
                    raise PacketError("own-address", text)

    def max_nodes(self, sender: IPAddress | None, *, proven: bool = False) -> int | None:
        """How many nodes workers at the IP of ``sender`` may have; None: as many as the table holds."""
        return MAX_UNPROVEN if sender is not None and not sender.is_loopback and not proven else None

    @staticmethod
    def _named(text: str, sender: IPAddress | None, *, remote: bool, proven: bool) -> str:
        """What the address ``text`` stands for; ``PacketError`` when ``sender`` may not name it."""
        try:
            address = parse_address(text)
        except AddressError as error:
            raise PacketError("bad-address", str(error)) from None
        host = str(sender or "127.0.0.1") if address.unspecified else address.host
        named = text if address.kind != "inet" else join_host_port(host, address.port)
        if remote and proven and address.unspecified:
            raise PacketError(
                "foreign-address", f"{text!r}: use an explicit IP: the HMAC does not protect the UDP source address"
            )
        remote = remote and not proven
        if remote and (address.kind != "inet" or host != str(sender)):
            raise PacketError("foreign-address", f"{sender} announces {text!r}: without proof it may name only itself")
        if remote and sender is not None and sender.is_link_local:
            raise PacketError("foreign-address", f"{sender} is link-local")
        return named


def sender_ip(host: str) -> IPAddress:
    """The IP of a UDP sender, as ``recvfrom`` names it (scope removed, IPv4 in IPv6 unwrapped)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
