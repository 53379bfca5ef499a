"""The sockets to one router: datagrams out, acks in, and the router's coming and going as far as a socket shows it.

An edge: what to say is decided in :mod:`.delivery`.  Rules: nothing here blocks; what the kernel does not take at once
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastroute.controller.router_mode.session import Delivery
from fastroute.router.address import join_host_port
from fastroute.router.proof import Prover
from fastroute.router.runtime.ack_socket import bind_for_acks, connect
from fastroute.router.subscription import Ack, decode_ack
from fastroute.router.wire import MAX_PACKET

#: docs/reference/wire.md, "Batch".
UDP_LIMIT = 1_400
UNIX_LIMIT = 32_768
#: Under way at once: a default UDP receive buffer keeps some 100 packets of 1,400 bytes, a unix queue ten.
UDP_WINDOW = 32
UNIX_WINDOW = 4
#: Seconds between looks at whether a unix router's socket is there, and still the same.
LOOK = 0.25

log = logging.getLogger("fastroute.controller.announce.announcer")


class Waiter(Protocol):
    """What a link needs of the loop that owns it."""

    def watch(self, sock: socket.socket, link: Link, *, writing: bool) -> None:
        """Tell ``link`` when ``sock`` is readable (and writable, if ``writing``)."""

    def forget(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Who wants to know: ``say`` is called with kind, text, key and container id of what was sent and answered,
    ``acked`` with the seconds that each ack of a change took."""

    say: Callable[[str, str, str, str], object]
    acked: Callable[[float], object]


NOBODY = Witness(lambda kind, text, key, id: None, lambda seconds: None)


class Link:
    """One router address.  ``name`` is how it was configured, ``target`` where datagrams go; ``prover`` proves them,
    and that acks are the router's."""

    def __init__(
        self,
        name: str,
        target: tuple[str, int] | str,
        delivery: Delivery,
        waiter: Waiter,
        prover: Prover | None = None,
        witness: Witness = NOBODY,
    ) -> None:
        self.name, self.target, self.delivery = name, target, delivery
        self._waiter, self._prover, self._witness = waiter, prover, witness
        self._sock: socket.socket | None = None
        self._file: tuple[int, int, int] | None = None
        self._own_path: Path | None = None
        self._next_look = 0.0
        self._outbox: deque[bytes] = deque()
        self._trouble = ""
        self._mute = False
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
        timer = self.delivery.due if self._sock is not None and not self._outbox else float("inf")
        return min(timer, self._next_look) if isinstance(self.target, str) or self._sock is None else timer

    def step(self, now: float) -> None:
        """Look, connect and send, as far as it is time for it."""
        if now >= self._next_look:
            self._look(now)
        if self._sock is not None and not self._outbox:
            self._outbox.extend(self.delivery.poll(now))
            self._flush(now)
            self._report()

    def ready(self, now: float) -> None:
        """The socket is readable or writable."""
        self._read(now)
        self._flush(now)
        self._report()

    def close(self) -> None:
        """Give up the socket and its path."""
        if self._sock is not None:
            self._waiter.forget(self._sock)
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
            **self.delivery.status(now),
            "unproven_acks": unproven,
            "trouble": self._trouble or None,
        }

    # Connecting

    def _look(self, now: float) -> None:
        self._next_look = now + LOOK
        try:
            if not isinstance(self.target, str):
                self._next_look = float("inf") if self._sock else now + LOOK
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
        found = os.stat(str(self.target))
        return found.st_dev, found.st_ino, found.st_ctime_ns

    def _open(self, now: float) -> None:
        sock = connect(self.target)
        try:
            self._own_path = bind_for_acks(sock, self.target)
        except OSError as error:
            if not self._mute:
                self._mute = True
                log.warning("router %s: can't ack, no socket of ours can be made beside it: %s", self, error)
        self._sock = sock
        self._waiter.watch(sock, self, writing=False)
        self.delivery.wake(now)
        if self._trouble:
            log.info("router %s: there now", self)
            self._trouble = ""

    def _lost(self, now: float, reason: str) -> None:
        self.close()
        self._next_look = now + LOOK
        if not self._trouble:
            log.warning("router %s: %s; keeps trying", self, reason)
        self._trouble = reason

    # Sending and receiving

    def _flush(self, now: float) -> None:
        while self._sock is not None and self._outbox:
            try:
                self._sock.send(self._outbox[0] if self._prover is None else self._prover.seal(self._outbox[0]))
            except (BlockingIOError, InterruptedError):
                self._waiter.watch(self._sock, self, writing=True)
                return
            except OSError as error:
                if isinstance(self.target, str):
                    self._lost(now, f"{error.strerror or error}")
                    return
                # UDP: the ICMP answer to an earlier datagram, or no route just now.  The datagram counts as lost.
                log.debug("router %s: %s", self, error)
            self._outbox.popleft()
        if self._sock is not None:
            self._waiter.watch(self._sock, self, writing=False)

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
                self.delivery.receive(answer, now)

    def _opened(self, datagram: bytes) -> Ack | None:
        """The ack that ``datagram`` is, if it is one to be believed."""
        if self._prover is None:
            return decode_ack(datagram)
        if (ack := self._prover.open(datagram)) is None and self._prover.unproven == 1:
            log.warning("router %s: an ack without a valid proof is not believed; has it the same secret?", self)
        return ack

    def _report(self) -> None:
        """Say what changed, once, and what was sent and answered."""
        said, seconds = self.delivery.tally.take()
        for one in said:
            self._witness.say(one.kind, f"router {self}: {one.text}", one.key, one.id)
        for each in seconds:
            self._witness.acked(each)
        if self.delivery.boot != self._boot:
            self._boot = self.delivery.boot
            if self._boot:
                log.info("router %s: acks (boot id %s)", self, self._boot)
            else:
                log.warning("router %s: silent; every node again at every heartbeat, as to an original uWSGI", self)
        if self.delivery.problem != self._problem:
            self._problem = self.delivery.problem
            if self._problem:
                log.warning("router %s: %s", self, self._problem)
