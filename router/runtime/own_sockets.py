"""Whether an address leads to one of this router's own stream sockets: a request sent there would go in circles.

What is compared is what an address comes to, not how it is written: an IPv4 address inside of IPv6 is that IPv4
address, a path is the socket (device, inode) that is there now, and a socket on all interfaces has every address that
this machine has at the moment.  A way that is translated elsewhere (NAT, another proxy) does not show.

An edge: it asks the kernel for files and interfaces.  Standard library only, as the relays use it too.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastroute.router.runtime.interfaces import interface_addresses
from fastroute.router.runtime.listen import Listener

#: Seconds for which the addresses of the interfaces, once listed, are taken as they were.
ADDRESSES_MAX_AGE = 1.0
#: Connecting to the unspecified address reaches the loopback one (ip(7)).
_LOOPBACK_4, _LOOPBACK_6 = bytes((127, 0, 0, 1)), bytes(15) + b"\x01"
_MAPPED = bytes(10) + b"\xff\xff"

Row = Sequence[Any]


def describe(listeners: Iterable[Listener]) -> list[Row]:
    """``listeners`` for :class:`OwnSockets`, as JSON values: name, (device, inode) of a path or None, and whether an
    IPv6 socket takes IPv4 connections too (one that somebody else opened may)."""
    return [[listener.name, _inode_of(listener), _takes_both(listener.socket)] for listener in listeners]


def local_addresses() -> frozenset[bytes]:
    """The addresses of this machine's interfaces, packed."""
    addresses = (_packed(address.ip) for address in interface_addresses())
    return frozenset(ip for ip in addresses if ip is not None)


class OwnSockets:
    """The sockets that ``rows`` describe; ``local`` lists this machine's addresses."""

    def __init__(self, rows: Iterable[Row], local: Callable[[], frozenset[bytes]] = local_addresses) -> None:
        self._list_local = local
        self._abstract: set[str] = set()
        self._inodes: set[tuple[int, int]] = set()
        self._addresses: set[tuple[bytes, int]] = set()
        #: Ports on all interfaces, by the length of the addresses.
        self._everywhere: dict[int, set[int]] = {4: set(), 16: set()}
        self._ports: set[int] = set()
        self._local: frozenset[bytes] = frozenset()
        self._listed = float("-inf")
        for name, inode, both in rows:
            self._add(name, inode, both)

    def _add(self, name: str, inode: Sequence[int] | None, both: bool) -> None:
        if name.startswith("@"):
            self._abstract.add(name)
            return
        if inode is not None:
            self._inodes.add((inode[0], inode[1]))
            return
        host, _, port = name.rpartition(":")
        ip = _packed(host.strip("[]"))
        if "/" in name or ip is None:
            return
        self._ports.add(int(port))
        if any(ip):
            self._addresses.add((ip, int(port)))
        else:
            for size in (4, 16) if both else (len(ip),):
                self._everywhere[size].add(int(port))

    def owns(self, address: str) -> bool:
        """Whether a connection to ``address`` (``ip:port``, a path, ``@abstract``) would end at one of these."""
        if address.startswith("@"):
            return address in self._abstract
        if "/" in address:
            return bool(self._inodes) and inode_of(address) in self._inodes
        host, _, text = address.rpartition(":")
        port = int(text) if text.isascii() and text.isdigit() else 0
        if port not in self._ports:
            return False
        host = host.strip("[]").partition("%")[0]
        if host == "localhost":
            return self._has(_LOOPBACK_4, port) or self._has(_LOOPBACK_6, port)
        ip = _packed(host)
        if ip is not None and not any(ip):
            ip = _LOOPBACK_4 if len(ip) == 4 else _LOOPBACK_6
        return ip is not None and self._has(ip, port)

    def _has(self, ip: bytes, port: int) -> bool:
        if (ip, port) in self._addresses:
            return True
        return port in self._everywhere[len(ip)] and (_is_loopback(ip) or ip in self._here())

    def moved(self) -> bool:
        """Whether the addresses of this machine have changed since the last call, and a socket listens on all of
        them."""
        if not any(self._everywhere.values()):
            return False
        before, self._listed = self._local, float("-inf")
        return self._here() != before

    def _here(self) -> frozenset[bytes]:
        now = time.monotonic()
        if now - self._listed >= ADDRESSES_MAX_AGE:
            # Nothing: the kernel could not be asked, for want of a descriptor say.
            self._local, self._listed = self._list_local() or self._local, now
        return self._local


def inode_of(path: str) -> tuple[int, int] | None:
    """Device and inode of the file that ``path`` leads to; None when there is none to be seen."""
    try:
        info = os.stat(path.encode("latin-1") if path.isascii() else os.fsencode(path))
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _inode_of(listener: Listener) -> tuple[int, int] | None:
    if listener.socket.family != socket.AF_UNIX or listener.name.startswith("@"):
        return None
    return listener.inode or inode_of(listener.name)


def _takes_both(sock: socket.socket) -> bool:
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _packed(host: str) -> bytes | None:
    """An IP as bytes, an IPv4 one inside of IPv6 as IPv4; None when it is none."""
    try:
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        ip = socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return None
    return ip[12:] if ip.startswith(_MAPPED) else ip


def _is_loopback(ip: bytes) -> bool:
    return ip[0] == 127 if len(ip) == 4 else ip == _LOOPBACK_6
