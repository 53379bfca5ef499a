"""The addresses of this machine's (or container's) interfaces, as the kernel lists them over netlink.  One edge."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

#: rtnetlink(7), netlink(7).
_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_DONE, _NLMSG_ERROR = 20, 22, 3, 2
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One IP of one interface, empty if it has none; ``index`` is the interface's number, the kernel's order."""

    interface: str
    ip: str
    index: int = 0


def interface_addresses() -> list[InterfaceAddress]:
    """All of them, IPv4 first, each in the kernel's order; empty where there is no netlink."""
    rows: list[tuple[int, InterfaceAddress]] = []
    try:
        names = dict(socket.if_nameindex())
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
            netlink.settimeout(2)
            request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            netlink.send(_HEADER.pack(16 + len(request), _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + request)
            while _read(netlink.recv(1 << 16), names, rows):
                pass
    except OSError:
        return []
    addresses = [address for _, address in sorted(rows, key=lambda pair: (pair[0] != socket.AF_INET, pair[1].index))]
    bare = set(names.values()) - {address.interface for address in addresses}
    return [*addresses, *(InterfaceAddress(name, "") for name in sorted(bare))]


def _read(data: bytes, names: dict[int, str], rows: list[tuple[int, InterfaceAddress]]) -> bool:
    """Take the messages of one datagram; True while more will come."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind = _HEADER.unpack_from(data, at)[:2]
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or size < _HEADER.size:
            return False
        if kind == _RTM_NEWADDR:
            family, index, ip = _one(data[at + _HEADER.size : at + size])
            if ip:
                rows.append((family, InterfaceAddress(names.get(index, str(index)), ip, index)))
        at += (size + 3) & ~3
    return True


def _one(message: bytes) -> tuple[int, int, str]:
    family, _, _, _, index = _ADDRESS.unpack_from(message)
    values: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, at)
        if size < _ATTRIBUTE.size:
            break
        values[kind] = message[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    # Of a point-to-point link IFA_ADDRESS is the other end's, IFA_LOCAL ours; IPv6 has only the first.
    raw = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS) or b""
    if family not in (socket.AF_INET, socket.AF_INET6) or len(raw) != (4 if family == socket.AF_INET else 16):
        return family, index, ""
    return family, index, socket.inet_ntop(family, raw)
