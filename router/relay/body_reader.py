"""uWSGI's ``fastrouter-post-buffering``: a body is read whole before a worker is asked, so slow senders hold none.

Up to that many bytes stay in memory, behind the packet; a larger body waits in a temporary file and is fed to the
worker from there, chunk by chunk.  A body whose length nobody said is not buffered.
"""

from __future__ import annotations

import errno
import os

from fastroute.router.relay.packet_reader import PacketReader
from fastroute.router.relay.sides import BODY, CHUNK, ROUNDS


class BodyReader(PacketReader):
    """State BODY: reads until ``body_left`` is 0, then :meth:`on_body`."""

    __slots__ = ()

    def on_body(self) -> None:
        """The body is here: behind the packet, or in ``spool``."""
        raise NotImplementedError

    def read_body(self) -> None:
        """Begin: the packet is here, perhaps with the beginning of the body."""
        self.state = BODY
        # The client is registered from here on.
        self.watched = True
        try:
            if len(self.packet) - self.end + self.body_left > self.relay.post_buffering:
                # Most relays never need it.
                from tempfile import TemporaryFile

                self.spool = TemporaryFile(buffering=0)  # noqa: SIM115  # it outlives this call
                self.spool.write(self.packet[self.end :])
                self.packet = self.packet[: self.end]
            else:
                self.partial = bytearray(self.packet)
        except OSError as error:
            self._no_room(error)
            return
        self.more_body()

    def more_body(self) -> None:
        """Read what there is, until it is others' turn."""
        for _ in range(ROUNDS):
            try:
                data = os.read(self.cfd, min(CHUNK, self.body_left))
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            if not data:
                self.client_eof = True
                self.refuse("bad-request", f"the connection ended {self.body_left} bytes before the end of the body")
                return
            self.seen = self.relay.now
            self.body_left -= len(data)
            try:
                self._keep(data)
            except OSError as error:
                self._no_room(error)
                return
            if not self.body_left:
                self._whole()
                return
        self.arm()

    def refill(self) -> None:
        """The next chunk of a body in ``spool`` waits for the worker; nothing does when it is over."""
        if self.spool is None:
            return
        self.up, self.up_at = self.spool.read(CHUNK), 0
        if not self.up:
            self.spool.close()
            self.spool = None

    def _keep(self, data: bytes) -> None:
        if self.spool is None:
            assert self.partial is not None
            self.partial += data
            return
        written = self.spool.write(data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _whole(self) -> None:
        if self.spool is not None:
            self.spool.seek(0)
        elif self.partial is not None:
            self.packet = bytes(self.partial)
            self.partial = None
        self.on_body()

    def _no_room(self, error: OSError) -> None:
        self.relay.warn("post-buffering", "a body can't be buffered: %s", error)
        self.refuse("no-node", "this router has no room for the body")
