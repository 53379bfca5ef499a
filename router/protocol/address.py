"""Addresses as people write them: ``host:port``, ``[v6]:port``, ``:port``, a path, ``@abstract``, ``fd://N``.  Pure.

One parser for listening addresses, subscription servers and nodes, so that an address means the same everywhere.
Nothing is resolved here: ``Address.host`` may be a name, and :attr:`Address.numeric` says whether it is not.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

#: sun_path has 108 bytes, one of them for the closing zero (unix(7)).
MAX_UNIX_PATH = 107
#: Texts whose meaning is remembered: each address is looked at several times while one packet is applied, 3 us a time.
REMEMBERED = 1024

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_FD = re.compile(r"fd://(\d{1,9})")


class AddressError(ValueError):
    """The text is no address; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """One parsed address.

    ``host`` is an IPv4 or IPv6 literal without brackets, a host name, or ``""`` (none given); ``port`` 0..65535;
    ``path`` a file system path, or ``@name`` for Linux' abstract namespace; ``fd`` an inherited descriptor.
    """

    kind: Literal["inet", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    @property
    def numeric(self) -> bool:
        """True when nothing has to be resolved: an IP literal, no host at all, a path or a descriptor."""
        return self.kind != "inet" or self.host == "" or _ip(self.host) is not None

    @property
    def unspecified(self) -> bool:
        """True for ``:port``, ``0.0.0.0:port`` and ``[::]:port``: in a node address, the announcer's own IP."""
        return self.kind == "inet" and is_unspecified(self.host)

    @property
    def loopback(self) -> bool:
        """True for a loopback IP literal or ``localhost``."""
        return self.kind == "inet" and is_loopback(self.host)

    def __str__(self) -> str:
        if self.kind == "unix":
            return self.path
        if self.kind == "fd":
            return f"fd://{self.fd}"
        return join_host_port(self.host, self.port)

    def sockaddr(self) -> tuple[str, int] | str | bytes:
        """What ``connect`` and ``bind`` take.  For names, resolve first; ``fd`` addresses have none."""
        if self.kind == "unix":
            return b"\0" + self.path[1:].encode() if self.path.startswith("@") else self.path
        return self.host, self.port


@functools.lru_cache(maxsize=REMEMBERED)
def parse_address(text: str) -> Address:
    """The :class:`Address` that ``text`` writes; ``AddressError`` when it writes none."""
    if match := _FD.fullmatch(text):
        return Address("fd", fd=int(match[1]))
    if text.startswith(("/", "@", "./", "../")):
        if len(text.encode()) > MAX_UNIX_PATH or "\0" in text or len(text) < 2:
            raise AddressError(f"{text[:60]!r} is no socket path: 2 to {MAX_UNIX_PATH} bytes without NUL expected")
        return Address("unix", path=text)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise AddressError(f"{text!r} is no address: host:port, [v6]:port, :port, /path, @abstract or fd://N expected")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise AddressError(f"{text!r}: port {port!r} is no number from 0 to 65535")
    return Address("inet", _host(text, host), int(port))


def is_loopback(host: str) -> bool:
    """True for a loopback IP literal and ``localhost``."""
    return host == "localhost" or ((ip := _ip(host)) is not None and ip.is_loopback)


def is_unspecified(host: str) -> bool:
    """True for no host at all, ``0.0.0.0`` and ``::``."""
    return host == "" or ((ip := _ip(host)) is not None and ip.is_unspecified)


def join_host_port(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 literal."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(text: str, host: str) -> str:
    if _IPV4.fullmatch(host):
        # The common one: ipaddress takes ten times as long to say so.
        return host
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise AddressError(f"{text!r}: {host!r} is no IPv6 address in brackets") from None
    if host and _ip(host) is None and (not _NAME.fullmatch(host) or len(host) > 253 or _all_numeric(host)):
        raise AddressError(f"{text!r}: {host!r} is neither an IP address nor a host name (IPv6 needs brackets)")
    if ":" in host:
        raise AddressError(f"{text!r}: an IPv6 address needs brackets, [{host}]:{text.rpartition(':')[2]}")
    return host


def _all_numeric(host: str) -> bool:
    return all(part.isdigit() for part in host.rstrip(".").split("."))


@functools.lru_cache(maxsize=REMEMBERED)
def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
