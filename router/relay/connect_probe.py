"""A connection to a node over which nothing is sent: whether anybody accepts there."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import Final

from fastroute.router.relay.node import Node

#: What :meth:`ConnectProbe.result` says.
PENDING: Final = 0
ACCEPTED: Final = 1
REFUSED: Final = 2

_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class ConnectProbe:
    """Connects to ``node`` at once; to be asked again while it is ``PENDING``."""

    __slots__ = ("_code", "_socket")

    def __init__(self, node: Node) -> None:
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(node.target[0], _STREAM)
            self._code = self._socket.connect_ex(node.target[1])
        except OSError as error:
            self._code = error.errno or errno.EINVAL
        if self._code != errno.EINPROGRESS:
            self.close()

    @property
    def reason(self) -> str:
        """Why it was refused, for people."""
        return os.strerror(self._code)

    def result(self) -> int:
        """What it has come to by now."""
        sock = self._socket
        if sock is not None:
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLOUT)
            if not poll.poll(0):
                return PENDING
            self._code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.close()
        # A unix socket whose queue is full has somebody behind it.
        return ACCEPTED if self._code in (0, errno.EAGAIN) else REFUSED

    def close(self) -> None:
        """Give up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
