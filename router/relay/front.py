"""The listening sockets of a relay: when to listen, accepting, what stops it for a while.

Several accepts a wake-up, and the packet is read at once: with TCP_DEFER_ACCEPT, or behind nginx, it is nearly always
there.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

from fastroute.router.relay.connection import UNREGISTERED, Connection
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http_client import HttpClient, HttpListener
from fastroute.router.relay.http_events import accept_client, drop_client, read_request
from fastroute.router.relay.request import Request, Requests
from fastroute.router.relay.request_events import read_head
from fastroute.router.relay.shedding import (
    MIN_SHED,
    clients_to_shed,
    descriptors_wanted,
    forget_arrived,
    requests_to_shed,
)
from fastroute.router.relay.states import HEAD
from fastroute.router.relay.upstream import EXHAUSTED
from fastroute.router.runtime.logs import get_logger

#: Connections taken from one listening socket before others get their turn.
ACCEPTS_PER_EVENT: Final = 16
#: Connections taken over at the end, of those the kernel had accepted before we stopped.
FINAL_ACCEPTS: Final = 1024
#: One of how many descriptors is kept for the upstream side of what was accepted; and the least number.
SPARE_SHARE: Final = 8
MIN_SPARE: Final = 16
#: Seconds without accepting after the system was out of descriptors.
EXHAUSTED_PAUSE: Final = 0.5
#: Seconds between searches for requests to shed, when the last one found hardly any.
SHED_INTERVAL: Final = 0.1
#: Seconds between looks, while descriptors run short, which of the awaited requests have come.
COUNT_INTERVAL: Final = 0.01

_set_blocking: Final = os.set_blocking
_EXCLUSIVE: Final = select.EPOLLIN | select.EPOLLEXCLUSIVE

log = get_logger("fastroute.relay")


class FrontSockets:
    """The sockets at which clients connect.

    * ``several``: other relays accept from the same sockets.
    * ``http_listeners``: those where clients speak HTTP; at ``listeners`` they speak uwsgi.
    * ``max_requests``: how many requests the descriptors allow, of which there are ``max_descriptors``.
    * ``on_fault`` is called for a request that met a fault of this router, ``on_client_fault`` for an HTTP client.
    """

    def __init__(self, context: RelayContext, requests: Requests, listeners: Sequence[int], several: bool,
                 http_listeners: Sequence[int], max_requests: int, max_descriptors: int,
                 on_fault: Callable[[Request, Exception], None],
                 on_client_fault: Callable[[HttpClient, Exception], None]) -> None:  # fmt: skip
        self._context = context
        self._requests = requests
        self.listeners = {fd: socket.SocketType(fileno=fd) for fd in (*listeners, *http_listeners)}
        self._mask = _EXCLUSIVE if several else select.EPOLLIN
        #: Connections of clients and upstream sides: clients that do not close after their answer count, too, and who
        #: has not sent its request yet counts with the upstream side that it will need.
        self._max_sides = 2 * max(16, max_requests)
        # The kernel gives the lowest number that is free: whoever gets this one knows that all below are taken.
        self._short = max_descriptors - max(MIN_SPARE, max_descriptors // SPARE_SHARE)
        self._next_shed = self._next_count = 0.0
        self._on_fault = on_fault
        self._on_client_fault = on_client_fault
        self._listening = False
        self.paused_until = 0.0
        #: Each socket, whether its connections are corked, and what is known of its clients where they speak HTTP.
        self._kinds: dict[int, tuple[socket.SocketType, bool, HttpListener | None]] = {}
        for fd, listener in self.listeners.items():
            http = HttpListener(listener, context) if fd in http_listeners else None
            self._kinds[fd] = listener, _prepare(listener, http is None), http

    def listen(self, wanted: bool) -> None:
        """Listen if it is ``wanted`` and nothing is against it.  Called once a turn."""
        context = self._context
        if context.exhausted:
            self._pause(context.exhausted)
            context.exhausted = ""
        wanted = wanted and context.now >= self.paused_until
        if wanted == self._listening:
            return
        if not wanted:
            self._stop()
            return
        if self._is_full() and not self._shed():
            # One more would be accepted each time, until there is no descriptor for its upstream side.
            return
        for fd in self.listeners:
            context.epoll.register(fd, self._mask)
        self._listening = True

    def accept(self, fd: int, limit: int) -> None:
        """Accept what waits at ``fd``, at most ``limit`` connections."""
        context, requests = self._context, self._requests
        listener, corked, http = self._kinds[fd]
        if self._is_full() and not self._shed():
            context.exhausted = f"{self._max_sides // 2} requests are all the descriptors allow"
            return
        # Each of them takes two at most.
        room = max(1, (self._max_sides - descriptors_wanted(requests)) // 2)
        for _ in range(min(limit, room)):
            try:
                client, address = listener._accept()  # type: ignore[attr-defined]  # accept() costs two objects more
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    context.exhausted = error.strerror or str(error)
                elif error.errno not in (errno.ECONNABORTED, errno.EPROTO, errno.EINTR):
                    context.warn("accept", "accept: %s", error.strerror)
                return
            _set_blocking(client, False)
            if http is not None:
                http_client = accept_client(context, requests, client, http.peer_of(address))
                try:
                    read_request(context, requests, http_client)
                except Exception as fault:
                    self._on_client_fault(http_client, fault)
                if not http_client.served:
                    requests.early.add(client)
            else:
                request = Request(context, requests, Connection(client, corked))
                try:
                    read_head(request)
                except Exception as fault:
                    self._on_fault(request, fault)
                if request.transfer.state == HEAD:
                    requests.early.add(client)
            if client >= self._short and self._shed():
                # Descriptors are free at the end of this turn.
                return

    def _is_full(self) -> bool:
        """Whether descriptors may not do for one more client."""
        requests = self._requests
        if descriptors_wanted(requests) < self._max_sides:
            return False
        if self._context.now >= self._next_count:
            self._next_count = self._context.now + COUNT_INTERVAL
            forget_arrived(requests)
        return descriptors_wanted(requests) >= self._max_sides

    def _pause(self, reason: str) -> None:
        """Out of descriptors or memory: no new connections for a moment, and say so."""
        context = self._context
        self._shed()
        # Of those whose clients are waited for, somebody may give way by then.
        waiting = any(request.transfer.client.mask != UNREGISTERED for request in self._requests.by_client.values())
        pause = SHED_INTERVAL if waiting else EXHAUSTED_PAUSE
        self.paused_until = context.now + pause
        context.warn("exhausted", "not accepting for %g s: %s (%d requests in flight)", pause, reason,
                     len(self._requests.by_upstream))  # fmt: skip

    def _shed(self) -> bool:
        """End the requests that have waited for their clients the longest.  Returns False when there were none."""
        context = self._context
        if context.now < self._next_shed:
            return False
        idle = clients_to_shed(self._requests.kept.values(), context.now)
        for client in idle:
            drop_client(context, self._requests, client)
        if idle:
            context.warn(
                "idle-clients", "descriptors run short: %d connections without a request were closed", len(idle)
            )
            return True
        waiting = requests_to_shed(self._requests.by_client.values(), context.now)
        if len(waiting) < MIN_SHED:
            self._next_shed = context.now + SHED_INTERVAL
        for request in waiting:
            request.cut_off("gave-way")
        if waiting:
            context.count_error("gave-way", len(waiting))
            context.warn("gave-way", "descriptors run short: %d connections that waited for their clients were ended",
                         len(waiting))  # fmt: skip
        return bool(waiting)

    def close(self, serves: bool) -> None:
        """Accept nothing more, but for what the kernel has accepted for us already, if this relay ``serves``."""
        for fd in self.listeners if serves else ():
            self.accept(fd, FINAL_ACCEPTS)
        self._stop()
        # The master closed its own: a client that connects from now on is refused at once, and may go elsewhere.
        for listener in self.listeners.values():
            listener.close()
        self.listeners.clear()

    def _stop(self) -> None:
        if self._listening:
            self._listening = False
            for fd in self.listeners:
                self._context.epoll.unregister(fd)


def _prepare(listener: socket.SocketType, cork: bool) -> bool:
    """What a listening socket passes on to its connections, and what saves a wake-up; best effort.

    True: its connections are corked, so that the common answer and the end of file behind it are one packet.  That is
    not wanted where connections stay (``cork`` false).
    """
    listener.setblocking(False)
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    for option, value in ((socket.TCP_NODELAY, 1), (socket.TCP_DEFER_ACCEPT, 1), (socket.TCP_CORK, int(cork))):
        try:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError as error:
            log.warning("listening socket: option %d: %s", option, error.strerror)
    return cork
