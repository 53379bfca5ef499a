"""nginx mode: which other protocols a client may change to, and what it hears of those that a worker offers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.nginx_mode import PROGRAMS, ServedNginx, Sink
from support.nginx_states import route
from support.programs import Program, Router, free_port, listens
from support.workers import Connection, Worker, response

from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.user_templates import built_in

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def http_worker(connection: Connection) -> None:
    """Says which headers of an upgrade came; changes to websocket where it is asked to, and echoes four bytes."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.exactly(1)
    names = (b"upgrade:", b"connection:", b"http2-settings:")
    came = [line.lower() for line in head.split(b"\r\n") if line.lower().startswith(names)]
    answer(connection, b"upgrade: websocket" in came, b"; ".join(came))


def uwsgi_worker(connection: Connection) -> None:
    """The same by uwsgi, but for what it says."""
    connection.read_packet()
    answer(connection, connection.vars.get(b"HTTP_UPGRADE", b"").lower() == b"websocket", b"uwsgi")


def answer(connection: Connection, websocket: bool, body: bytes) -> None:
    if websocket:
        connection.send(SWITCHED)
        connection.send(connection.exactly(4))
    else:
        connection.send(response(body, b"Connection: Upgrade, close\r\nUpgrade: h2,h2c\r\n"))


@pytest.fixture(scope="module", params=PROGRAMS)
def nginx(request: pytest.FixtureRequest) -> Iterator[ServedNginx]:
    with ServedNginx(PROGRAMS[request.param]) as running, Worker(http_worker) as http, Worker(uwsgi_worker) as uwsgi:
        (running.home / "templates" / "includes").mkdir()
        for host in ("foo.com", "bar.com"):
            (running.home / "templates" / "includes" / f"{host}.conf").write_text("add_header X-Mine yes always;\n")
        sink = Sink(running)
        try:
            sink.settle(
                route("foo.com", http.address, protocol="http"), route("foo.com:81", http.address, protocol="http"),
                route("foo.com:82", uwsgi.address), route("bar.com", uwsgi.address), route("bar.com:82", uwsgi.address),
                route("bar.com:81", http.address, protocol="http"), route("foo.com/a", http.address, protocol="http"),
            )  # fmt: skip
            yield running
        finally:
            sink.close()


@pytest.fixture(scope="module", params=PROGRAMS)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of nginx in front of a router."""
    port, home = free_port(), tmp_path_factory.mktemp("front")
    with Worker(http_worker) as http, Worker(uwsgi_worker) as uwsgi:
        nodes = ("--node", f"foo.com={http.address},protocol=http", "--node", f"bar.com={uwsgi.address}")
        with Router(*nodes) as router:
            text = main_file(MainFileOptions((f"127.0.0.1:{router.port}",), listen=(f"127.0.0.1:{port}",)), built_in())
            text = f"daemon off;\npid {home}/pid;\n{text}".replace("/var/log/nginx", str(home))
            (home / "nginx.conf").write_text(text)
            with Program(PROGRAMS[request.param], "-e", "stderr", "-c", str(home / "nginx.conf")) as nginx:
                nginx.wait_for(lambda: listens(port), "nginx listens")
                yield port


def asked(port: int, host: str, more: bytes, path: str = "/") -> tuple[bytes, bytes]:
    """Head and body of the answer to a request with the headers ``more``; four bytes go behind it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\nping" % (path.encode(), host.encode(), more))
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
    head, body = asked(nginx.port, "foo.com", more)
    if passes:
        assert head.startswith(b"HTTP/1.1 101 ")
        assert head.lower().count(b"\r\nupgrade: websocket") == 1
        assert body == b"ping"
    else:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body in (b"", b"connection: close"), "nothing of it reached the worker"


PLACES = [
    (host + port, path) for host in ("foo.com", "bar.com") for port in ("", ":81", ":82") for path in ("/", "//a", "/a")
]
WEBSOCKET = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(("host", "path"), PLACES)
def test_what_a_worker_offers_is_not_passed_on_and_websockets_are(nginx: ServedNginx, host: str, path: str) -> None:
    head, _ = asked(nginx.port, host, b"Connection: close\r\n", path)
    assert_offers_nothing(head)
    assert b"\r\nX-Mine: yes" in head, "an include's headers stay"
    assert_websocket(*asked(nginx.port, host, WEBSOCKET, path))
    assert_offers_nothing(asked(nginx.port, host, b"Upgrade: h2c\r\nConnection: Upgrade, close\r\n", path)[0])


@pytest.mark.parametrize("host", ["foo.com", "bar.com"])
def test_the_same_in_front_of_a_router(front: int, host: str) -> None:
    assert_offers_nothing(asked(front, host, b"Connection: close\r\n")[0])
    assert_websocket(*asked(front, host, WEBSOCKET))
    assert_offers_nothing(asked(front, host, b"Upgrade: h2c\r\nConnection: Upgrade, close\r\n")[0])


def assert_offers_nothing(head: bytes) -> None:
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"upgrade" not in head.lower()


def assert_websocket(head: bytes, body: bytes) -> None:
    assert head.startswith(b"HTTP/1.1 101 ")
    assert head.lower().count(b"\r\nupgrade: websocket") == 1
    assert body == b"ping"
