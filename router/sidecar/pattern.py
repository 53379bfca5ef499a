"""Where a worker is, as ``--address`` says it: a pattern of an IP, an interface's name, nothing, and a port.  Pure."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fastroute.router.protocol.address import AddressError, join_host_port, parse_address
from fastroute.router.runtime.interfaces import InterfaceAddress

_PATTERN = re.compile(r"[0-9A-Za-z.:*?\[\]_@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """An address that may have to be looked for among the interfaces."""

    #: As it was written.
    text: str
    #: A pattern of an IP or of an interface's name, an IP, a host name, or empty.
    host: str = ""
    #: 0: a free one.
    port: int = 0
    #: Of a unix socket, which has no host.
    path: str = ""

    @property
    def wild(self) -> bool:
        """The host has to be looked for among the interfaces."""
        return any(wildcard in self.host for wildcard in "*?")

    def host_among(self, interfaces: Iterable[InterfaceAddress]) -> str | None:
        """The IP (or name) that is meant, empty for ``:port``; None when no interface matches now."""
        if not self.host or self.path:
            return ""
        addresses = list(interfaces)
        by_name = [address.ip for address in addresses if fnmatch.fnmatchcase(address.interface, self.host)]
        if by_name:
            # No router accepts a link-local address, and without a scope it leads nowhere.
            return next((ip for ip in by_name if ip and not ipaddress.ip_address(ip).is_link_local), None)
        if self.wild:
            ips = (address.ip for address in addresses if address.ip)
            return next((ip for ip in ips if fnmatch.fnmatchcase(ip, self.host)), None)
        return self.host

    def address(self, host: str, port: int) -> str:
        """What is announced once ``host`` is found and ``port`` is known."""
        if self.path:
            return self.path
        return join_host_port(host, port) if host else f":{port}"


def parse_pattern(text: str) -> Pattern:
    """The :class:`Pattern` that ``text`` writes; ``ValueError`` when it writes none."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if colon and any(wildcard in bare for wildcard in "*?"):
        if not _PATTERN.fullmatch(bare) or (":" in bare and not host.startswith("[")):
            raise ValueError(f"{text!r}: a pattern like 192.*:8000, eth*:8000 or [fd00:*]:8000 expected")
        return Pattern(text, bare, _port(text, port))
    try:
        address = parse_address(text)
    except AddressError as error:
        raise ValueError(f"{error} (or a pattern: 192.*:8000, eth0:8000)") from None
    if address.kind == "fd" or text.startswith("."):
        raise ValueError(f"{text!r}: a worker's address expected: PATTERN:PORT, :PORT, or an absolute socket path")
    if address.kind == "unix":
        return Pattern(text, path=address.path)
    return Pattern(text, "" if address.unspecified else address.host, address.port)


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise ValueError(f"{text!r}: port {port!r} is no number from 0 to 65535")
    return int(port)
