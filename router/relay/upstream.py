"""The upstream side of a request: a connection to a node, new or one that it kept, with the request on its way."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import termios
from typing import Final

from fastroute.router.relay.connection import READ, UNREGISTERED, Connection, os_write
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.codec import Codec
from fastroute.router.relay.node import Node

#: No descriptor or no memory for a socket: our trouble, not the node's.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

#: Asks how many bytes are there to be read.
_UNREAD: Final = termios.FIONREAD
#: Where the kernel writes how many.  Not ``bytes``: ioctl tries to write to what it is given, and fails at a price.
_unread_count: Final = bytearray(4)
_ZERO: Final = bytes(4)
_ioctl: Final = fcntl.ioctl

_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class UpstreamConnection(Connection):
    """A connection to ``node``."""

    __slots__ = ("codec", "node", "request", "reused", "sent")

    def __init__(self, fd: int, node: Node, request: bytes, codec: Codec | None, sent: int,
                 reused: bool = False) -> None:  # fmt: skip
        # As in Connection, but not by it: code that sets attributes of two classes is never specialized (0.2 us).
        self.fd = fd
        self.corked = False
        self.mask = UNREGISTERED
        self.pending = request if sent < len(request) else b""
        self.pending_at = sent
        self.eof = False
        self.node = node
        #: What is written first; empty once the client gets the answer, as it is not needed any more.
        self.request = request
        #: How the bytes are understood; None: they pass through as they are.
        self.codec = codec
        #: Bytes of the request that the node took at once.
        self.sent = sent
        #: It had served another request before.
        self.reused = reused


class OutOfSockets(Exception):
    """The system has no descriptor or no memory for another socket; ``error`` says which."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def connect(context: RelayContext, node: Node, request: bytes, codec: Codec | None) -> UpstreamConnection:
    """A new connection to ``node``, with as much of the ``request`` written as goes out at once.

    Nothing sent: the connection is not there yet.  Raises ``OSError`` when the node can't be reached, and
    ``OutOfSockets``.
    """
    try:
        sock = socket.SocketType(node.target[0], _STREAM, 0)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise OutOfSockets(error) from None
        raise
    try:
        code = sock.connect_ex(node.target[1])
    except (OSError, OverflowError, ValueError):
        code = errno.EINVAL
    fd = sock.detach()
    if code and code != errno.EINPROGRESS:
        context.closing.append(fd)
        raise OSError(code, os.strerror(code))
    try:
        sent = os_write(fd, request)
    except BlockingIOError:
        sent = 0
    except OSError:
        context.closing.append(fd)
        raise
    return UpstreamConnection(fd, node, request, codec, sent)


def connect_by_idle(context: RelayContext, node: Node, codec: Codec) -> UpstreamConnection | None:
    """A connection that ``node`` kept, with the request on its way; ``None`` when there is none for this request.

    One is taken only while nothing is there to be read: what a worker said unasked must not become an answer.  For a
    request that can be sent again it is enough that no byte is there: that the worker has closed shows when it gets no
    answer.  Reading tells of both, and is for all others.
    """
    idle = context.idle
    while (fd := idle.take(node, context.now, codec.safe)) >= 0:
        sent = -1
        if _has_no_bytes(fd) if codec.safe else _is_silent(fd):
            try:
                sent = os_write(fd, codec.request)
            except BlockingIOError:
                sent = 0
            except OSError:
                pass
        if sent >= 0:
            upstream = UpstreamConnection(fd, node, codec.request, codec, sent, reused=True)
            upstream.mask = READ
            return upstream
        context.closing.append(fd)
    return None


def _has_no_bytes(fd: int) -> bool:
    """True while no byte is there to be read; cheaper than :func:`_is_silent`, which raises and catches."""
    _ioctl(fd, _UNREAD, _unread_count)
    return _unread_count == _ZERO


def _is_silent(fd: int) -> bool:
    """True while nothing is there to be read, not even its end."""
    try:
        os.read(fd, 1)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
