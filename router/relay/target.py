"""A node's address as what ``connect`` takes.  Pure, and light: the relay imports neither ipaddress nor dataclasses.

Control resolves names; what arrives here is ``ip:port``, ``[v6]:port``, a path or ``@abstract``.
"""

from __future__ import annotations

import socket

SockAddress = tuple[str, int] | str | bytes
#: (address family, what connect takes)
ConnectTarget = tuple[int, SockAddress]

AF_INET, AF_INET6, AF_UNIX = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_UNIX)


def parse_target(address: str) -> ConnectTarget:
    """Where a connection to ``address`` goes; ``ValueError`` for a name and all else that cannot be connected to."""
    if address.startswith("@"):
        return AF_UNIX, b"\0" + address[1:].encode("latin-1")
    if "/" in address:
        return AF_UNIX, address.encode("latin-1")
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{address!r}: ip:port, [v6]:port, a path or @abstract expected")
    family = AF_INET
    if host.startswith("[") and host.endswith("]"):
        family, host = AF_INET6, host[1:-1]
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise ValueError(f"{address!r}: {host!r} is no IP address, and names are resolved elsewhere") from None
    return family, (host, int(port))
