"""The listening sockets of a relay: when to listen, accepting, what stops it for a while.

Several accepts a wake-up, and the packet is read at once: with TCP_DEFER_ACCEPT, or behind nginx, it is nearly always
there.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fastroute.router.logs import get_logger
from fastroute.router.relay.attempt import EXHAUSTED
from fastroute.router.relay.giving_way import LEAST, longest_waiting
from fastroute.router.relay.session import Session

if TYPE_CHECKING:
    from fastroute.router.relay.loop import Relay
    from fastroute.router.relay.sides import Sides

#: Connections taken from one listening socket before others get their turn.
ACCEPTS: Final = 16
#: Connections taken over at the end, of those the kernel had accepted before we stopped.
LAST_ACCEPTS: Final = 1024
#: Seconds without accepting after the system was out of descriptors.
PAUSE: Final = 0.5
#: One of how many descriptors is kept for the workers' side of what was accepted; and the least number.
SPARE_SHARE: Final = 8
LEAST_SPARE: Final = 16
#: Seconds between looks for who may give way, when there was hardly anybody.
LOOK: Final = 0.1

_EXCLUSIVE: Final = select.EPOLLIN | select.EPOLLEXCLUSIVE

log = get_logger("fastroute.relay")


class Front:
    """``several``: other relays accept from the same sockets.  ``max_sessions``: how many the descriptors allow, of
    which there are ``max_descriptors``."""

    def __init__(self, relay: Relay, listeners: Sequence[int], several: bool, max_sessions: int,
                 max_descriptors: int) -> None:  # fmt: skip
        self._relay = relay
        self.listeners = {fd: socket.SocketType(fileno=fd) for fd in listeners}
        self._mask = _EXCLUSIVE if several else select.EPOLLIN
        self._max_sessions = max(16, max_sessions)
        # The kernel gives the lowest number that is free: whoever gets this one knows that all below are taken.
        self._short = max_descriptors - max(LEAST_SPARE, max_descriptors // SPARE_SHARE)
        self._next_look = 0.0
        self._listening = False
        self.paused_until = 0.0
        self._corked = {fd: _prepare(listener) for fd, listener in self.listeners.items()}

    def listen(self, wanted: bool) -> None:
        """Listen if it is ``wanted`` and there is nothing against it; asked once a turn."""
        wanted = wanted and self._relay.now >= self.paused_until
        if wanted == self._listening:
            return
        if not wanted:
            self._stop()
            return
        for fd in self.listeners:
            self._relay.epoll.register(fd, self._mask)
        self._listening = True

    def accept(self, fd: int, limit: int) -> None:
        """Take what waits at ``fd``, ``limit`` connections at most."""
        relay = self._relay
        listener, corked = self.listeners[fd], self._corked[fd]
        for _ in range(limit):
            try:
                client, _address = listener._accept()  # type: ignore[attr-defined]  # accept() costs two objects more
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self.exhausted(error)
                elif error.errno not in (errno.ECONNABORTED, errno.EPROTO, errno.EINTR):
                    relay.warn("accept", "accept: %s", error.strerror)
                return
            os.set_blocking(client, False)
            session: Sides = Session(relay, client, corked)
            relay.young.append((relay.now, session))
            try:
                session.on_head()
            except Exception as fault:
                relay.failed(session, fault)
            if client >= self._short and self._make_room():
                # Descriptors are free at the end of this turn.
                return
            if len(relay.by_worker) >= self._max_sessions and not self._make_room():
                self.exhausted(OSError(errno.EMFILE, f"{self._max_sessions} requests are all the descriptors allow"))
                return

    def exhausted(self, error: OSError) -> None:
        """Out of descriptors or memory: no new connections for a moment, and say so."""
        relay = self._relay
        self._make_room()
        # Of those who are watched somebody may give way by then.
        pause = LOOK if relay.by_client else PAUSE
        self.paused_until = relay.now + pause
        self._stop()
        relay.warn("exhausted", "not accepting for %g s: %s (%d requests in flight)", pause, error.strerror,
                   len(relay.by_worker))  # fmt: skip

    def _make_room(self) -> bool:
        """End the requests that have waited for their clients the longest.  True if there were any."""
        relay = self._relay
        if relay.now < self._next_look:
            return False
        waiting = longest_waiting(relay.by_client.values(), relay.now)
        if len(waiting) < LEAST:
            self._next_look = relay.now + LOOK
        for session in waiting:
            session.fault = "gave-way"
            session.close()
        if waiting:
            relay.errors["gave-way"] = relay.errors.get("gave-way", 0) + len(waiting)
            relay.errors_changed = True
            relay.warn("gave-way", "descriptors run short: %d connections that waited for their clients were ended",
                       len(waiting))  # fmt: skip
        return bool(waiting)

    def close(self, serves: bool) -> None:
        """The end: what the kernel has accepted for us is taken over if this relay ``serves``; then nothing more."""
        for fd in self.listeners if serves else ():
            self.accept(fd, LAST_ACCEPTS)
        self._stop()
        # The master closed its own: who connects from now on is refused at once, and may go elsewhere.
        for listener in self.listeners.values():
            listener.close()
        self.listeners.clear()

    def _stop(self) -> None:
        if self._listening:
            self._listening = False
            for fd in self.listeners:
                self._relay.epoll.unregister(fd)


def _prepare(listener: socket.SocketType) -> bool:
    """What a listening socket passes on to its connections, and what saves a wake-up; best effort.

    True: its connections are corked, so that the common answer and the end of file behind it are one packet.
    """
    listener.setblocking(False)
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    for option, value in ((socket.TCP_NODELAY, 1), (socket.TCP_DEFER_ACCEPT, 1), (socket.TCP_CORK, 1)):
        try:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError as error:
            log.warning("listening socket: option %d: %s", option, error.strerror)
    return True
