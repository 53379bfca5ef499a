"""The client's side of a request: nginx, or whoever speaks uwsgi to a front socket."""

from __future__ import annotations

import os

from fastroute.router.relay.connection import CHUNK, Connection
from fastroute.router.relay.rawsocket import send_at_once, shut_for_writing


class ClientConnection(Connection):
    """``corked``: TCP keeps what would not fill a packet until the connection is closed (or 0.2 s, tcp(7))."""

    __slots__ = ("corked",)

    def __init__(self, fd: int, corked: bool) -> None:
        Connection.__init__(self, fd)
        self.corked = corked

    def uncork(self) -> None:
        """The answer goes on: what there is of it must not wait."""
        if self.corked:
            self.corked = False
            send_at_once(self.fd)

    def shut(self) -> None:
        """End of file for the client; it may still send."""
        shut_for_writing(self.fd)

    def discard(self) -> None:
        """Read what the client sends and throw it away; ``eof`` says whether that was all."""
        try:
            self.eof = not os.read(self.fd, CHUNK)
        except BlockingIOError:
            pass
        except OSError:
            self.eof = True
