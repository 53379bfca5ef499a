"""A datagram relay between announcers and a router, on real sockets: it loses, delays, doubles, reorders and forges.

Announcers send to :attr:`port`; the router sees the relay as the sender and answers through it.  ``forge`` makes of
each datagram (and of those recorded so far) what is sent besides it.
"""

from __future__ import annotations

import heapq
import itertools
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

Forge = Callable[[random.Random, bytes, Sequence[bytes]], list[bytes]]

RECORDED = 500


def nothing(rng: random.Random, datagram: bytes, recorded: Sequence[bytes]) -> list[bytes]:
    """Forges nothing."""
    return []


def forgeries(rng: random.Random, datagram: bytes, recorded: Sequence[bytes]) -> list[bytes]:
    """What somebody without the secret can make: old packets again, joins made leaves, bytes changed, ends cut off."""
    old = rng.choice(recorded)
    at = rng.randrange(len(old))
    flipped = old[:at] + bytes([old[at] ^ 1 << rng.randrange(8)]) + old[at + 1 :]
    other_way = old[:3] + bytes([rng.choice((0, 1, 2))]) + old[4:]
    return rng.sample([old, flipped, other_way, old[:at], rng.randbytes(at)], 2)


class HostileLink(AbstractContextManager["HostileLink"]):
    """To the router at 127.0.0.1:``port``.  ``loss`` is a probability each way, ``delay`` seconds at most."""

    def __init__(
        self, port: int, *, loss: float = 0.0, delay: float = 0.0, forge: Forge = nothing, seed: int = 0
    ) -> None:
        self._router = "127.0.0.1", port
        self._loss, self._delay, self._forge = loss, delay, forge
        self._random = random.Random(seed)
        self._front = self._socket()
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._due: list[tuple[float, int, socket.socket, tuple[str, int], bytes]] = []
        self._order = itertools.count()
        self.recorded: list[bytes] = []
        self._answers: list[bytes] = []
        self.forged = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @staticmethod
    def _socket() -> socket.socket:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.setblocking(False)
        return sock

    def send(self, datagram: bytes) -> None:
        """To the router, from a sender of its own."""
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.sendto(datagram, self._router)

    def _run(self) -> None:
        while not self._stop.is_set():
            wait = 0.05 if not self._due else min(0.05, max(0.0, self._due[0][0] - time.monotonic()))
            for key, _ in self._selector.select(wait):
                self._read(key.fileobj, key.data)  # type: ignore[arg-type]
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, sock, to, datagram = heapq.heappop(self._due)
                try:
                    sock.sendto(datagram, to)
                except OSError:
                    continue

    def _read(self, sock: socket.socket, announcer: tuple[str, int] | None) -> None:
        while True:
            try:
                datagram, sender = sock.recvfrom(65_539)
            except OSError:
                return
            if announcer is not None:
                self._pass(self._front, announcer, datagram, self._answers)
                continue
            if sender not in self._backs:
                self._backs[sender] = self._socket()
                self._selector.register(self._backs[sender], selectors.EVENT_READ, sender)
            self._pass(self._backs[sender], self._router, datagram, self.recorded)

    def _pass(self, sock: socket.socket, to: tuple[str, int], datagram: bytes, recorded: list[bytes]) -> None:
        recorded.append(datagram)
        del recorded[:-RECORDED]
        copies = 0 if self._random.random() < self._loss else 2 if self._random.random() < self._loss else 1
        forged = self._forge(self._random, datagram, recorded)
        self.forged += len(forged)
        for copy in (*[datagram] * copies, *forged):
            at = time.monotonic() + self._random.random() * self._delay
            heapq.heappush(self._due, (at, next(self._order), sock, to, copy))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._selector.close()
        for sock in (self._front, *self._backs.values()):
            sock.close()
