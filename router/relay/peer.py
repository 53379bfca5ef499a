"""Whether the client at the other end of a TCP connection is still there, although it sends no more.

A client that only ended its side waits for its answer; one that closed does not, and TCP says the same of both.  Where
the client runs in our network namespace (nginx beside the router), the kernel knows whether its socket is somebody's.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_ALL_STATES: Final = 0xFFFF_FFFF
_NO_COOKIE: Final = b"\xff" * 8
_ENOENT: Final = 2
#: Bytes of an nlmsghdr; where the inode is in the inet_diag_msg behind it (sock_diag(7)).
_HEADER: Final = 16
_INODE_AT: Final = _HEADER + 68


def peer_is_gone(fd: int) -> bool:
    """True when the peer of the connection ``fd`` surely has no socket any more; False as well when nobody can tell."""
    connection = socket.socket(fileno=os.dup(fd))
    try:
        family = int(connection.family)
        if family not in (socket.AF_INET, socket.AF_INET6):
            return False
        ours, theirs = connection.getsockname(), connection.getpeername()
        answer = _look_up(family, theirs[0], theirs[1], ours[0], ours[1])
    except OSError:
        return False
    finally:
        connection.close()
    if len(answer) < _HEADER + 4:
        return False
    (kind,) = struct.unpack_from("=H", answer, 4)
    if kind == _NLMSG_ERROR:
        local = theirs[0].startswith(("127.", "::ffff:127.")) or theirs[0] == "::1"
        return bool(local and struct.unpack_from("=i", answer, _HEADER)[0] == -_ENOENT)
    if kind != _SOCK_DIAG_BY_FAMILY or len(answer) < _INODE_AT + 4:
        return False
    return bool(struct.unpack_from("=I", answer, _INODE_AT)[0] == 0)


def _look_up(family: int, address: str, port: int, peer: str, peer_port: int) -> bytes:
    """What the kernel says of the socket at ``address`` that is connected to ``peer``."""
    packed = [socket.inet_pton(family, text.partition("%")[0]).ljust(16, b"\0") for text in (address, peer)]
    identity = struct.pack("!HH", port, peer_port) + packed[0] + packed[1] + bytes(4) + _NO_COOKIE
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + identity
    header = struct.pack("=IHHII", _HEADER + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                       _SOCK_DIAG) as kernel:  # fmt: skip
        kernel.send(header + body)
        return kernel.recv(4096)
