"""A router's subscription socket with the real table behind it, in a thread: for announcers over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

from support.lossy_link import Held, TableRouter


class TableServer:
    """Listens on ``address`` (host and port, or a path) until :meth:`close`; ``before`` is the router that it was
    before, whose pools and boot id it has."""

    def __init__(self, address: tuple[str, int] | str, before: TableServer | None = None) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if isinstance(address, tuple) and ":" in address[0]:
            family = socket.AF_INET6
        if isinstance(address, str):
            Path(address).unlink(missing_ok=True)
        self.router = TableRouter()
        self.router.starts = time.monotonic_ns()  # a boot id of its own
        if before is not None:
            self.router = before.router
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sock.bind(address)
        self._sock.settimeout(0.05)
        self._stop = threading.Event()
        self.address = self._sock.getsockname()
        self.datagrams: list[bytes] = []
        self.held: Held = set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                data, sender = self._sock.recvfrom(65_539)
            except TimeoutError:
                continue
            self.datagrams.append(data)
            answer = self.router.datagram(data, time.monotonic())
            self.held = self.router.held()
            if answer and sender:
                try:
                    self._sock.sendto(answer, socket.MSG_DONTWAIT, sender)
                except OSError:
                    continue

    def close(self) -> None:
        """Stop listening; the path stays, as after a kill."""
        self._stop.set()
        self._thread.join()
        self._sock.close()
