"""nginx mode: which other protocols a client may change to, and what it hears of those that a worker offers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.nginx_mode import PROGRAMS, ServedNginx, Sink
from support.nginx_states import route
from support.workers import Connection, Worker, response

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def http_worker(connection: Connection) -> None:
    """Says which headers of an upgrade came; changes to websocket where it is asked to, and echoes four bytes."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.exactly(1)
    names = (b"upgrade:", b"connection:", b"http2-settings:")
    came = [line.lower() for line in head.split(b"\r\n") if line.lower().startswith(names)]
    if b"upgrade: websocket" in came:
        connection.send(SWITCHED)
        connection.send(connection.exactly(4))
    else:
        connection.send(response(b"; ".join(came), b"Connection: Upgrade, close\r\nUpgrade: h2,h2c\r\n"))


@pytest.fixture(scope="module", params=PROGRAMS)
def nginx(request: pytest.FixtureRequest) -> Iterator[ServedNginx]:
    with ServedNginx(PROGRAMS[request.param]) as running, Worker(http_worker) as http:
        sink = Sink(running)
        try:
            sink.settle(route("foo.com", http.address, protocol="http"))
            yield running
        finally:
            sink.close()


def asked(nginx: ServedNginx, host: str, more: bytes, path: bytes = b"/") -> tuple[bytes, bytes]:
    """Head and body of the answer to a request with the headers ``more``; four bytes go behind it."""
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\nping" % (path, host.encode(), more))
        data = b""
        while piece := client.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    ("upgrade", "connection", "passes"),
    [
        (b"websocket", b"Upgrade", True),
        (b"WebSocket", b"keep-alive, upgrade", True),
        (b"websocket", b"keep-alive", False),
        (b"h2c", b"Upgrade, HTTP2-Settings", False),
        (b"H2C", b"Upgrade", False),
        (b"HTTP/2.0", b"Upgrade", False),
        (b"websocket, h2c", b"Upgrade", False),
        (b"h2c, websocket", b"Upgrade", False),
    ],
)
def test_a_client_may_change_to_websocket_and_never_to_http_2(
    nginx: ServedNginx, upgrade: bytes, connection: bytes, passes: bool
) -> None:
    more = b"Upgrade: %b\r\nConnection: %b, close\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" % (upgrade, connection)
    head, body = asked(nginx, "foo.com", more)
    if passes:
        assert head.startswith(b"HTTP/1.1 101 ")
        assert head.lower().count(b"\r\nupgrade: websocket") == 1
        assert body == b"ping"
    else:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body in (b"", b"connection: close"), "nothing of it reached the worker"
