"""What listens on the ports of this machine (or container), found without connecting to them.  One edge.

A connection every second would fill the queue of a worker that is busy with one long request; a question to the kernel
costs the worker nothing.  sock_diag(7) lists listening sockets alone; ``/proc/net/tcp``, which takes 9 ms beside 20,000
connections, is read where sock_diag is missing.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

#: State "listening" of /proc/net/tcp.
_TCP_LISTEN = "0A"
#: Flag __SO_ACCEPTCON of /proc/net/unix.
_UNIX_ACCEPTS = "00010000"
_TCP_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")


#: sock_diag(7), netlink(7): numbers that the socket module has no names for.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, _NLMSG_ERROR, _NLMSG_DONE = 4, 20, 0x301, 2, 3
_STATES_LISTEN = 1 << 10
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")


def listeners() -> set[tuple[str, int]]:
    """IP and port of every listening TCP socket; the unspecified IPs as ``0.0.0.0`` and ``::``."""
    try:
        return {listener for family in (socket.AF_INET, socket.AF_INET6) for listener in _query(family)}
    except OSError:
        return {listener for table in _TCP_TABLES for listener in _read(table)}


def listener(port: int, hosts: tuple[str, ...], listening: set[tuple[str, int]]) -> str:
    """The IP by which to reach what listens on ``port`` at one of ``hosts`` (none: at any); empty: nothing does."""
    ips = {ip for ip, listening_port in listening if listening_port == port}
    for host in hosts:
        if host in ips or ("::" in ips) or ("0.0.0.0" in ips and ":" not in host):
            return host
    if hosts or not ips:
        return ""
    if "0.0.0.0" in ips or "127.0.0.1" in ips:
        return "127.0.0.1"
    return "::1" if "::" in ips else min(ips)


def unix_listener(path: str) -> bool:
    """Whether a process listens on the stream socket ``path`` (``@abstract`` too)."""
    with suppress(OSError), open("/proc/self/net/unix", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(None, 7)
            if len(fields) == 8 and fields[3] == _UNIX_ACCEPTS and fields[7] == path:
                return True
    return False


def _query(family: int) -> Iterator[tuple[str, int]]:
    """The kernel's answer for one address family; ``OSError`` where it gives none."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(2)
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _STATES_LISTEN)
        netlink.send(_HEADER.pack(16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
        while True:
            data, at = netlink.recv(1 << 16), 0
            while at + _HEADER.size <= len(data):
                size, kind = _HEADER.unpack_from(data, at)[:2]
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR or size < _HEADER.size + 24:
                    raise OSError("no sock_diag")
                # struct inet_diag_msg: family, three bytes, source and destination port, source address.
                message = data[at + _HEADER.size : at + size]
                ip = message[8:12] if message[0] == socket.AF_INET else message[8:24]
                yield socket.inet_ntop(message[0], ip), int.from_bytes(message[4:6], "big")
                at += (size + 3) & ~3


def _read(table: str) -> Iterator[tuple[str, int]]:
    with suppress(OSError), open(table, encoding="ascii") as lines:
        next(lines, "")
        for line in lines:
            fields = line.split()
            if len(fields) < 4 or fields[3] != _TCP_LISTEN:
                return
            host, _, port = fields[1].partition(":")
            yield _ip(host), int(port, 16)


def _ip(text: str) -> str:
    """An IP from ``/proc/net/tcp``, where the kernel writes each 32 bits in the byte order of the machine."""
    raw = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
