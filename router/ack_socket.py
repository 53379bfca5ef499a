"""The socket to which a unix router answers an announcer: a path beside the router's own.  One edge.

A unix router can answer only to a path.  Router and announcer may live in different containers (and under different
users) that share just this directory: abstract names would not do, and the mode lets the router write whatever its uid.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path

from fastroute.router.address import MAX_UNIX_PATH

ACK_PREFIX = ".fastroute-ack-"


def bind_beside(sock: socket.socket, router: Path) -> Path:
    """Bind the datagram socket ``sock`` to a new path beside ``router``, removing what dead announcers left there."""
    remove_stale(router.parent)
    path = router.parent / f"{ACK_PREFIX}{secrets.token_hex(4)}"
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
