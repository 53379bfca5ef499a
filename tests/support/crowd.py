"""Many clients at once, on one thread: each sends one request and reads its answer to the end."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import Counter
from collections.abc import Iterable

from support.uwsgi_client import request_packet
from support.waiting import DEADLINE


class Crowd:
    """``size`` clients of the front at ``address`` that have asked for ``host``; closed with its ``with`` block."""

    def __init__(self, address: int | str, host: str, size: int, **more: str | bytes) -> None:
        self._poll = select.epoll()
        self._clients: dict[int, socket.socket] = {}
        self._got: dict[int, bytes] = {}
        #: Status of each answer; 0: the connection ended without one.
        self.statuses: Counter[int] = Counter()
        #: Whole answers, in the order of their ends.
        self.answers: list[bytes] = []
        packet = request_packet(host, **more)  # type: ignore[arg-type]
        for _ in range(size):
            client = socket.socket(socket.AF_INET if isinstance(address, int) else socket.AF_UNIX)
            client.settimeout(DEADLINE)
            client.connect(("127.0.0.1", address) if isinstance(address, int) else address)
            client.sendall(packet)
            client.setblocking(False)
            self._clients[client.fileno()] = client
            self._got[client.fileno()] = b""
            self._poll.register(client.fileno(), select.EPOLLIN)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave(self._clients.copy())
        self._poll.close()

    def __len__(self) -> int:
        """How many have no answer yet."""
        return len(self._clients)

    def leave(self, clients: Iterable[int] | None = None, count: int = 0) -> None:
        """Some close without an answer: ``clients`` by descriptor, or the first ``count``."""
        for fd in list(self._clients)[:count] if clients is None else clients:
            self._clients.pop(fd).close()

    def read(self, seconds: float = 0.0) -> None:
        """Take in what is there, or comes within ``seconds``."""
        for fd, _ in self._poll.poll(seconds):
            client = self._clients[fd]
            piece = b""
            with contextlib.suppress(ConnectionError):
                piece = client.recv(1 << 16)
            if piece:
                self._got[fd] += piece
                continue
            answer = self._got.pop(fd)
            self.answers.append(answer)
            self.statuses[int(answer[9:12] or 0)] += 1
            self._clients.pop(fd).close()

    def finish(self, seconds: float = 30.0) -> Counter[int]:
        """Read until everybody has an answer: the statuses."""
        end = time.monotonic() + seconds
        while self._clients:
            assert time.monotonic() < end, f"{len(self)} have no answer; {self.statuses}"
            self.read(0.1)
        return self.statuses
