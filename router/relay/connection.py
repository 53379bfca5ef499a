"""One connection of a request: its descriptor, what epoll waits for on it, bytes that wait to be written, its end.

A descriptor is registered with epoll only while something is expected of it that cannot be had at once: a registration
is a system call, and the kernel is the cost of a relay.
"""

from __future__ import annotations

import os
import select
from typing import Final

from fastroute.router.relay.rawsocket import send_at_once, shut_for_writing

#: Bytes of one read.  With the packet (64 KiB), the beginning of its body and one chunk each way, a request stays under
#: 256 KiB.
CHUNK: Final = 65_536

#: Found once: each look into a module is a search by name.
os_read: Final = os.read
os_write: Final = os.write

#: Masks of epoll.
OUT: Final = select.EPOLLOUT
ERR: Final = select.EPOLLERR
RDHUP: Final = select.EPOLLRDHUP
HANGUP: Final = select.EPOLLERR | select.EPOLLHUP
READ: Final = select.EPOLLIN | select.EPOLLRDHUP
#: Not registered with epoll.  A mask of 0 is registered: epoll still tells when the peer is gone.
UNREGISTERED: Final = -1


class Connection:
    """The client's side of a request (nginx, or whoever speaks uwsgi to a front socket), or the upstream side."""

    __slots__ = ("corked", "eof", "fd", "mask", "pending", "pending_at")

    def __init__(self, fd: int, corked: bool = False) -> None:
        self.fd = fd
        #: TCP keeps what would not fill a packet until the connection is closed (or 0.2 s, tcp(7)).
        self.corked = corked
        #: What epoll waits for, or ``UNREGISTERED``.
        self.mask = UNREGISTERED
        #: Bytes that wait to be written, from ``pending_at`` on.
        self.pending = b""
        self.pending_at = 0
        #: The peer has ended its side: nothing more comes.
        self.eof = False

    def register(self, epoll: select.epoll, mask: int) -> None:
        """Wait for ``mask`` from now on; nothing was waited for before."""
        epoll.register(self.fd, mask)
        self.mask = mask

    def arm(self, epoll: select.epoll, mask: int) -> None:
        """Wait for ``mask`` from now on."""
        before = self.mask
        if mask == before:
            return
        if before == UNREGISTERED:
            epoll.register(self.fd, mask)
        elif mask == UNREGISTERED:
            epoll.unregister(self.fd)
        else:
            epoll.modify(self.fd, mask)
        self.mask = mask

    def write(self, data: bytes) -> int:
        """Write ``data``; what does not go out at once is ``pending``.  Nothing may be pending before.

        Returns the number of bytes that went out.  Raises ``OSError`` when the peer takes no more.
        """
        try:
            sent = os_write(self.fd, data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.pending, self.pending_at = data, sent
        return sent

    def flush(self) -> int:
        """Write what is pending.  Returns the number of bytes that went out; raises ``OSError`` as :meth:`write`."""
        try:
            sent = os.write(self.fd, memoryview(self.pending)[self.pending_at :])
        except BlockingIOError:
            return 0
        self.pending_at += sent
        if self.pending_at == len(self.pending):
            self.pending = b""
        return sent

    def uncork(self) -> None:
        """More is to be written later: what there is must not wait for it."""
        if self.corked:
            self.corked = False
            send_at_once(self.fd)

    def shut(self) -> None:
        """End of file for the peer, which may still send."""
        shut_for_writing(self.fd)

    def discard(self) -> None:
        """Read what the peer sends and throw it away; ``eof`` says whether that was all."""
        try:
            self.eof = not os.read(self.fd, CHUNK)
        except BlockingIOError:
            pass
        except OSError:
            self.eof = True
