"""Socket calls on raw descriptors, for what ``os`` lacks.  Off the common path: each wraps the descriptor for a moment.

Sessions keep descriptors as numbers because ``os.read`` and ``os.write`` on them cost less than socket objects.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
#: A probe each second; the last one that is not answered is the third.
_KEEPALIVE: Final = (
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)


def shut_for_writing(fd: int) -> None:
    """End of file for the peer of ``fd``; nothing when that is too late."""
    wrapped = _wrap(fd)
    if wrapped is not None:
        try:
            wrapped.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        wrapped.detach()


def reset_at_close(fd: int) -> None:
    """Closing ``fd`` tells its peer that something went wrong (TCP; a unix socket has no such sign)."""
    _set(fd, socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)


def no_delay(fd: int) -> None:
    """What goes out in several writes must not wait for acknowledgements with its last piece (Nagle)."""
    _set(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def send_at_once(fd: int) -> None:
    """What a corked socket holds goes out, and what comes later does not wait."""
    _set(fd, socket.IPPROTO_TCP, socket.TCP_CORK, 0)


def end_when_deaf(fd: int) -> None:
    """The connection ends (``ETIMEDOUT``) when its peer's kernel answers nothing for some 3 s, whether something is on
    its way or not."""
    for level, option, value in _KEEPALIVE:
        _set(fd, level, option, value)


def _set(fd: int, level: int, option: int, value: int | bytes) -> None:
    wrapped = _wrap(fd)
    if wrapped is not None:
        try:
            wrapped.setsockopt(level, option, value)
        except OSError:
            pass
        wrapped.detach()


def _wrap(fd: int) -> socket.SocketType | None:
    # The family is not looked at by these calls; naming one saves three questions to the kernel.
    try:
        return socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    except OSError:
        return None
