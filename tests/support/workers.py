"""Workers that do as they are told: a real listening socket, and a script that plays the worker on each connection.

A script takes a :class:`Connection`, reads and writes as it likes, and returns; the connection is closed then.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from fastroute.router.protocol.wire import decode_vars

DEADLINE = 10.0
#: Numbers the addresses where nobody listens.
_refused = itertools.count(1)


class Connection:
    """The worker's end of one relayed request."""

    def __init__(self, sock: socket.socket, worker: Worker) -> None:
        self.sock = sock
        self.worker = worker
        self.header = b""
        self.vars: dict[bytes, bytes] = {}
        sock.settimeout(DEADLINE)

    def read_packet(self) -> None:
        """Read header and vars, and note the request."""
        self.header = self.exactly(4)
        self.vars = dict(decode_vars(self.exactly(self.header[1] | self.header[2] << 8)))
        self.worker.requests.append(self)

    def exactly(self, size: int) -> bytes:
        """``size`` bytes, or EOFError."""
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError(f"{len(data)} of {size} bytes")
            data += piece
        return data

    def body(self) -> bytes:
        """The request's body, by CONTENT_LENGTH."""
        return self.exactly(int(self.vars.get(b"CONTENT_LENGTH") or b"0"))

    def until_eof(self) -> bytes:
        """All that comes until the relay ends its side."""
        data = b""
        while piece := self.sock.recv(65536):
            data += piece
        return data

    def send(self, data: bytes) -> None:
        """Everything, however long the relay takes."""
        self.sock.sendall(data)

    def reset(self) -> None:
        """Close so that the relay gets a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Connection], None]


def response(body: bytes, headers: bytes = b"") -> bytes:
    """A plain 200."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), headers, body)


def answers(body: bytes = b"hello") -> Script:
    """Reads the whole request, answers, closes."""

    def script(connection: Connection) -> None:
        connection.read_packet()
        connection.body()
        connection.send(response(body))

    return script


def answers_http(body: bytes = b"hello") -> Script:
    """The same in HTTP/1.1, for requests without a body; keeps the connection, as such workers do."""

    def script(connection: Connection) -> None:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.exactly(1)
            connection.worker.requests.append(connection)
            connection.send(response(body))

    return script


def read_head(connection: Connection) -> bytes:
    """One request's head; noted as a request of the worker."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.exactly(1)
    connection.header = head
    connection.worker.requests.append(connection)
    return head


def http(*turns: bytes | Callable[[Connection], None]) -> Script:
    """Answers one request after the other on each connection, the last again and again; ends with the relay's end."""

    def script(connection: Connection) -> None:
        number = 0
        while True:
            head = read_head(connection)
            length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            body = connection.exactly(int(length or b"0"))
            turn = turns[min(number, len(turns) - 1)]
            number += 1
            if callable(turn):
                turn(connection)
            else:
                connection.send(turn.replace(b"BODY", body))

    return script


def closes_early(connection: Connection) -> None:
    """Reads the vars and closes without a byte."""
    connection.read_packet()


def never_answers(connection: Connection) -> None:
    """Reads the vars and waits for the relay to give up."""
    connection.read_packet()
    connection.until_eof()


def resets(connection: Connection) -> None:
    """Reads the vars and resets."""
    connection.read_packet()
    connection.reset()


def echoes_body(connection: Connection) -> None:
    """Answers with the request's body, piece by piece, as it comes."""
    connection.read_packet()
    left = int(connection.vars.get(b"CONTENT_LENGTH") or b"0")
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
    while left:
        piece = connection.sock.recv(min(left, 65536))
        if not piece:
            return
        left -= len(piece)
        connection.send(piece)


class Worker:
    """Listens at ``address`` (given as tests need it: a port of its own, or a unix path) and plays ``script``."""

    def __init__(self, script: Script, path: Path | str | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.script = script
        self.requests: list[Connection] = []
        self.errors: list[BaseException] = []
        family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(str(path) if path else (host, port))
        self._listener.listen(64)
        if path:
            self.address = str(path)
        else:
            shown = f"[{host}]" if ":" in host else host
            self.address = f"{shown}:{self._listener.getsockname()[1]}"
        self._closed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening: connecting is refused from now on."""
        if not self._closed:
            self._closed = True
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._play, args=(Connection(sock, self),), daemon=True).start()

    def _play(self, connection: Connection) -> None:
        try:
            self.script(connection)
        except (OSError, EOFError) as error:
            self.errors.append(error)
        finally:
            connection.sock.close()


class BlackHole:
    """A port that accepts nothing and refuses nothing: its queue is full, so connecting to it hangs."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._sockets = [listener]
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            self._sockets.append(client)

    def __enter__(self) -> BlackHole:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()


def refused_address() -> str:
    """An address of this machine where nobody ever listens; another each time."""
    number = next(_refused)
    return f"127.9.{number >> 8}.{number & 255}:1"
