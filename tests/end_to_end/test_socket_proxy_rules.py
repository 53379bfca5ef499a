"""The rules of the socket-proxy, on a real nginx before a stand-in for Docker: what is refused does not reach Docker.

The proxy as it is in the stack: tests/docker/test_socket_proxy.py.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Program, free_port, listens
from support.workers import Connection, Worker, read_head, response

CONFIGURATION = Path(__file__).parents[2] / "compose/socket-proxy/nginx.conf"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The port of the proxy, and the first lines of what has reached Docker."""
    lines = []

    def docker(connection: Connection) -> None:
        lines.append(read_head(connection).split(b"\r\n")[0])
        connection.send(response(b"ok"))

    port = free_port()
    text = CONFIGURATION.read_text().replace("/var/run/docker.sock", f"{tmp_path}/docker.sock")
    (tmp_path / "nginx.conf").write_text(text.replace(" /tmp/", f" {tmp_path}/"))
    (tmp_path / "listen.conf").write_text(f"listen 127.0.0.1:{port};")
    (tmp_path / "swarm.conf").touch()
    with (
        Worker(docker, path=tmp_path / "docker.sock"),
        Program("nginx", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")) as nginx,
    ):
        nginx.wait_for(lambda: listens(port), "nginx listens")
        yield port, lines


def status(port: int, request: str) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request.encode("latin-1"))
        return int(client.makefile("rb").readline().split()[1])


REFUSED = {
    "no host": "GET /version HTTP/1.1\r\n\r\n",
    "two hosts": "GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no name of a host": "GET /version HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "no length": "GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "a head of 40 kB": f"GET /version HTTP/1.1\r\nHost: a\r\nX-Long: {'x' * 40_000}\r\n\r\n",
    "a target with another host": "GET http://b/images/json HTTP/1.1\r\nHost: a\r\n\r\n",
    "the page of refusals": "GET /refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "an upgrade": "GET /version HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "another coding of the body": "GET /version HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a version to come": "GET /version HTTP/9.9\r\nHost: a\r\n\r\n",
    "a body": "GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
}


def test_what_is_refused_does_not_reach_docker_in_any_form(proxy: tuple[int, list[bytes]]) -> None:
    port, lines = proxy
    assert {name: status(port, request) for name, request in REFUSED.items()} == dict.fromkeys(REFUSED, 403)
    assert status(port, "GET /version?a=//b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") == 200
    assert lines == [b"GET /version?a=//b HTTP/1.1"]
