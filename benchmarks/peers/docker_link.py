"""The Docker API by a unix socket of our own, which can be cut: connections end, and new ones are refused."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import AbstractContextManager
from pathlib import Path

PIECE = 65536


class DockerLink(AbstractContextManager["DockerLink"]):
    """To the engine at the unix socket ``engine``; :attr:`url` is what clients are told."""

    def __init__(self, path: Path, engine: str) -> None:
        self.url = f"unix://{path}"
        self._path, self._engine = path, engine
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.mend()

    def cut(self) -> None:
        """End all connections; nobody listens any more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._path.unlink()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Listen again."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine:
            try:
                engine.connect(self._engine)
            except OSError:
                return
            with self._lock:
                self._open |= {client, engine}
            answers = threading.Thread(target=_pass_on, args=(engine, client), daemon=True)
            answers.start()
            _pass_on(client, engine)
            answers.join()
            with self._lock:
                self._open -= {client, engine}


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """All bytes, and their end."""
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
