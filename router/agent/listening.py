"""Who listens on a port of this machine (or container), without connecting to it.  One edge.

Connecting every second would fill the queue of a worker that is busy with one long request; the kernel's table says
the same and costs nobody anything: listening sockets stand at its head, so what is read does not grow with traffic.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

_LISTEN = "0A"
#: Flag __SO_ACCEPTCON of /proc/net/unix.
_ACCEPTS = "00010000"
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")


def listeners() -> set[tuple[str, int]]:
    """IP and port of every listening TCP socket; the unspecified IPs as ``0.0.0.0`` and ``::``."""
    return {one for table in _TABLES for one in _read(table)}


def listener(port: int, hosts: tuple[str, ...], found: set[tuple[str, int]]) -> str:
    """The IP by which to reach whoever listens on ``port`` at one of ``hosts`` (none: at any); empty: nobody does."""
    ips = {ip for ip, at in found if at == port}
    for host in hosts:
        if host in ips or ("::" in ips) or ("0.0.0.0" in ips and ":" not in host):
            return host
    if hosts or not ips:
        return ""
    if "0.0.0.0" in ips or "127.0.0.1" in ips:
        return "127.0.0.1"
    return "::1" if "::" in ips else min(ips)


def unix_listener(path: str) -> bool:
    """Whether somebody listens on the stream socket ``path`` (``@abstract`` too)."""
    with suppress(OSError), open("/proc/self/net/unix", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(None, 7)
            if len(fields) == 8 and fields[3] == _ACCEPTS and fields[7] == path:
                return True
    return False


def _read(table: str) -> Iterator[tuple[str, int]]:
    with suppress(OSError), open(table, encoding="ascii") as lines:
        next(lines, "")
        for line in lines:
            fields = line.split()
            if len(fields) < 4 or fields[3] != _LISTEN:
                return
            host, _, port = fields[1].partition(":")
            yield _ip(host), int(port, 16)


def _ip(text: str) -> str:
    """The kernel writes each 32 bits as the machine holds them."""
    raw = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
