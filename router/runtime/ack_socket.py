"""The socket of an announcer to one router, and where a unix router answers it: a path beside its own.  One edge.

A unix router can answer only to a path.  Router and announcer may live in different containers (and under different
users) that share just this directory: abstract names would not do, and the mode lets the router write whatever its uid.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path

from fastroute.router.protocol.address import MAX_UNIX_PATH

ACK_PREFIX = ".fastroute-ack-"


def connect(target: tuple[str, int] | str) -> socket.socket:
    """A datagram socket that does not block, connected to (IP, port), a path or ``@abstract``; else ``OSError``."""
    family = socket.AF_UNIX
    if not isinstance(target, str):
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.connect("\0" + target[1:] if isinstance(target, str) and target.startswith("@") else target)
    except OSError:
        sock.close()
        raise
    return sock


def bind_for_acks(sock: socket.socket, target: tuple[str, int] | str, directory: Path | None = None) -> Path | None:
    """Give a unix ``target`` something to answer to; the path to unlink in the end, where there is one.

    ``directory``: where that path is, if not beside the router's own, where one may have no right to write.
    ``OSError`` when that can't be had: the router hears us all the same, but can't answer."""
    if not isinstance(target, str):
        return None
    if target.startswith("@"):
        sock.bind("")
        return None
    return bind_in(sock, directory or Path(target).parent)


def bind_in(sock: socket.socket, directory: Path) -> Path:
    """Bind the datagram socket ``sock`` to a new path in ``directory``, removing what dead announcers left there."""
    remove_stale(directory)
    path = directory / f"{ACK_PREFIX}{secrets.token_hex(4)}"
    if len(os.fsencode(path)) > MAX_UNIX_PATH:
        raise OSError(f"{path} is too long for a socket: at most {MAX_UNIX_PATH} bytes")
    sock.bind(str(path))
    path.chmod(0o666)
    return path


def remove_stale(directory: Path) -> None:
    """Unlink acks' sockets that nobody listens on: their announcers were killed."""
    for path in directory.glob(f"{ACK_PREFIX}*"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
