"""The sockets to one router: datagrams out, acks in, and the router's coming and going as far as a socket shows it.

An edge: what to say is decided in :mod:`.session`.  Rules: nothing here blocks; what the kernel does not take at once
waits (in order) until it does, and nothing new is made meanwhile; trouble is said when it begins and when it ends.

A unix router can answer only to a path, so we bind one of our own beside its socket.  Router and controller may live
in different containers (and under different users) that share just this directory: abstract names would not do, and
the mode lets the router write whatever its uid.  Being connected, the socket takes datagrams from the router alone.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastroute.controller.router_mode.packets_in_flight import EntryId
from fastroute.controller.router_mode.session import RouterSession
from fastroute.router.protocol.address import join_host_port
from fastroute.router.protocol.proof import Prover
from fastroute.router.protocol.subscription import Ack, decode_ack
from fastroute.router.protocol.wire import MAX_PACKET
from fastroute.router.runtime.ack_socket import bind_for_acks, connect

#: docs/reference/wire.md, "Batch".
UDP_LIMIT = 1_400
UNIX_LIMIT = 32_768
#: Packets under way at once: a default UDP receive buffer keeps some 100 packets of 1,400 bytes, a unix queue ten.
UDP_WINDOW = 32
UNIX_WINDOW = 4
#: Seconds between looks at whether a unix router's socket is there, and still the same.
SOCKET_CHECK_INTERVAL = 0.25

log = logging.getLogger("fastroute.controller.announce.announcer")


class LinkLoop(Protocol):
    """What a link needs of the selector loop that owns it."""

    def watch(self, sock: socket.socket, link: RouterLink, *, writing: bool) -> None:
        """Tell ``link`` when ``sock`` is readable (and writable, if ``writing``)."""

    def forget(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""


@dataclass(frozen=True, slots=True)
class AnnounceListener:
    """Called about the packets to routers, by the thread that sends them."""

    #: Gets kind, text, key and container id of each line for the event log.
    on_line: Callable[[str, str, str, str], object]
    #: Gets the seconds that each ack of a change took.
    on_ack: Callable[[float], object]


NO_LISTENER = AnnounceListener(lambda kind, text, key, id: None, lambda seconds: None)


class RouterLink:
    """The link to one router address.

    ``name`` is the configured address, ``target`` is where datagrams go.  ``prover`` seals what is sent and checks that
    acks come from the router.
    """

    def __init__(
        self,
        name: str,
        target: tuple[str, int] | str,
        session: RouterSession,
        loop: LinkLoop,
        prover: Prover | None = None,
        listener: AnnounceListener = NO_LISTENER,
    ) -> None:
        self.name, self.target, self.session = name, target, session
        self._loop, self._prover, self._listener = loop, prover, listener
        self._sock: socket.socket | None = None
        self._file: tuple[int, int, int] | None = None
        self._own_path: Path | None = None
        self._next_check = 0.0
        self._outbox: deque[bytes] = deque()
        self._trouble = ""
        self._warned_no_acks = False
        self._problem = ""
        self._boot = ""

    def __str__(self) -> str:
        if isinstance(self.target, str):
            return self.target
        text = join_host_port(*self.target)
        return text if text == self.name else f"{self.name} ({text})"

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do."""
        timer = self.session.due if self._sock is not None and not self._outbox else float("inf")
        return min(timer, self._next_check) if isinstance(self.target, str) or self._sock is None else timer

    def lacks(self, names: Collection[EntryId] | None = None) -> str:
        """As :meth:`.session.RouterSession.lacks`, or what is wrong with the socket."""
        lacks = self.session.lacks(names)
        return (lacks and self._trouble) or lacks

    def step(self, now: float) -> None:
        """Check the socket, connect and send, as far as each is due."""
        if now >= self._next_check:
            self._check_socket(now)
        if self._sock is not None and not self._outbox:
            self._outbox.extend(self.session.poll(now))
            self._flush(now)
            self._report()

    def ready(self, now: float) -> None:
        """The socket is readable or writable."""
        self._read(now)
        self._flush(now)
        self._report()

    def close(self) -> None:
        """Close the socket and remove its path."""
        if self._sock is not None:
            self._loop.forget(self._sock)
            self._sock.close()
            self._sock = None
        if self._own_path is not None:
            self._own_path.unlink(missing_ok=True)
            self._own_path = None
        self._outbox.clear()

    def status(self, now: float) -> dict[str, object]:
        """This router as JSON."""
        unproven = self._prover.unproven if self._prover else 0
        return {
            "router": str(self),
            **self.session.status(now),
            "unproven_acks": unproven,
            "trouble": self._trouble or None,
        }

    # Connecting

    def _check_socket(self, now: float) -> None:
        self._next_check = now + SOCKET_CHECK_INTERVAL
        try:
            if not isinstance(self.target, str):
                self._next_check = float("inf") if self._sock else now + SOCKET_CHECK_INTERVAL
                if self._sock is None:
                    self._open(now)
            elif self._sock is None or self._file_there() != self._file:
                self.close()
                self._file = self._file_there()
                self._open(now)
        except OSError as error:
            self._lost(now, f"{error.strerror or error}")

    def _file_there(self) -> tuple[int, int, int]:
        """Which socket is at the path: an inode number alone may be used again at once."""
        status = os.stat(str(self.target))
        return status.st_dev, status.st_ino, status.st_ctime_ns

    def _open(self, now: float) -> None:
        sock = connect(self.target)
        try:
            self._own_path = bind_for_acks(sock, self.target)
        except OSError as error:
            if not self._warned_no_acks:
                self._warned_no_acks = True
                log.warning("router %s: can't ack, no socket of ours can be made beside it: %s", self, error)
        self._sock = sock
        self._loop.watch(sock, self, writing=False)
        self.session.wake(now)
        if self._trouble:
            log.info("router %s: there now", self)
            self._trouble = ""

    def _lost(self, now: float, reason: str) -> None:
        self.close()
        self._next_check = now + SOCKET_CHECK_INTERVAL
        if not self._trouble:
            log.warning("router %s: %s; keeps trying", self, reason)
        self._trouble = reason

    # Sending and receiving

    def _flush(self, now: float) -> None:
        while self._sock is not None and self._outbox:
            try:
                self._sock.send(self._outbox[0] if self._prover is None else self._prover.seal(self._outbox[0]))
            except (BlockingIOError, InterruptedError):
                self._loop.watch(self._sock, self, writing=True)
                return
            except OSError as error:
                if isinstance(self.target, str):
                    self._lost(now, f"{error.strerror or error}")
                    return
                # UDP: the ICMP answer to an earlier datagram, or no route just now.  The datagram counts as lost.
                log.debug("router %s: %s", self, error)
            self._outbox.popleft()
        if self._sock is not None:
            self._loop.watch(self._sock, self, writing=False)

    def _read(self, now: float) -> None:
        while self._sock is not None:
            try:
                datagram = self._sock.recv(MAX_PACKET)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.debug("router %s: %s", self, error)
                if isinstance(self.target, str):
                    self._lost(now, f"{error.strerror or error}")
                return
            if (answer := self._opened(datagram)) is not None:
                self.session.receive(answer, now)

    def _opened(self, datagram: bytes) -> Ack | None:
        """The ack that ``datagram`` is, if it is one to be believed."""
        if self._prover is None:
            return decode_ack(datagram)
        if (ack := self._prover.open(datagram)) is None and self._prover.unproven == 1:
            log.warning("router %s: an ack without a valid proof is not believed; has it the same secret?", self)
        return ack

    def _report(self) -> None:
        """Tell the listener what was sent and answered, and log each change of the session once."""
        lines, ack_times = self.session.stats.take()
        for line in lines:
            self._listener.on_line(line.kind, f"router {self}: {line.text}", line.key, line.id)
        for seconds in ack_times:
            self._listener.on_ack(seconds)
        if self.session.boot != self._boot:
            self._boot = self.session.boot
            if self._boot:
                log.info("router %s: acks (boot id %s)", self, self._boot)
            else:
                log.warning("router %s: silent; every node again at every heartbeat, as to an original uWSGI", self)
        if self.session.problem != self._problem:
            self._problem = self.session.problem
            if self._problem:
                log.warning("router %s: %s", self, self._problem)
