"""Real servers behind the router, each as its users start it, through nginx: what docs/workers.md says of them."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import web_apps
from support.programs import Nginx, Program, Router, UwsgiWorker, free_port, listens, wait_for
from support.uwsgi_client import request_packet
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fastroute.controller.desired import ProbeTarget
from fastroute.controller.observe.probe import attempt

HERE = Path(web_apps.__file__).parent
BIN = Path(sys.executable).parent
PARTS = b"".join(web_apps.PARTS)

GUNICORN = "gunicorn --bind 127.0.0.1:{port} --threads 4 --keep-alive 30 web_apps:wsgi"
#: name -> protocol of its nodes, command
SERVERS = {
    "gunicorn": ("http", GUNICORN),
    "gunicorn-sync": ("http", GUNICORN.replace("--threads 4 ", "")),
    "gunicorn-uwsgi": ("uwsgi", GUNICORN + " --protocol uwsgi"),
    "uwsgi": ("uwsgi", "uwsgi --plugin python3 --socket 127.0.0.1:{port} --module web_apps:wsgi --die-on-term"
                       " --master --processes 2"),
    "uvicorn": ("http", "uvicorn --host 127.0.0.1 --port {port} web_apps:asgi"),
    "hypercorn": ("http", "hypercorn --bind 127.0.0.1:{port} web_apps:asgi"),
    "granian": ("http", "granian --interface asgi --host 127.0.0.1 --port {port} web_apps:asgi"),
    "node": ("http", f"node {HERE}/web_app.js {{port}}"),
}  # fmt: skip
ASGI = ("uvicorn", "hypercorn", "granian")


@dataclass(frozen=True)
class Site:
    """nginx in front of the router, which has one key for each server."""

    nginx: Nginx
    servers: dict[str, Program]
    ports: dict[str, int]

    def ask(self, name: str, path: str = "/", method: str = "GET", body: object = None, **headers: str) -> tuple[
        http.client.HTTPResponse, bytes
    ]:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=20)
        chunked = not isinstance(body, bytes | None)
        connection.request(method, path, body, {"Host": f"{name}.test"} | headers, encode_chunked=chunked)  # type: ignore[arg-type]
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer, data


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        servers, ports, nodes = {}, {}, []
        for name, (protocol, command) in SERVERS.items():
            port = ports[name] = free_port()
            program, *words = command.format(port=port).split()
            found = BIN / program if (BIN / program).exists() else shutil.which(program)
            if found:
                servers[name] = stack.enter_context(Program(str(found), *words, env={"PYTHONPATH": str(HERE)}))
                nodes += ["--node", f"{name}.test=127.0.0.1:{port},protocol={protocol}"]
        router = stack.enter_context(Router(*nodes))
        nginx = stack.enter_context(Nginx(f"127.0.0.1:{router.port}"))
        for name, server in servers.items():
            server.wait_for(lambda port=ports[name]: listens(port), f"{name} listens")  # type: ignore[misc]
        yield Site(nginx, servers, ports)


@pytest.mark.parametrize("name", SERVERS)
def test_a_real_server(site: Site, name: str) -> None:
    if name not in site.servers:
        pytest.skip(f"no {name} on this machine")
    protocol, address = SERVERS[name][0], f"127.0.0.1:{site.ports[name]}"
    probe = ProbeTarget(name, address, protocol, "/", f"{name}.test", 0)
    wait_for(lambda: not asyncio.run(attempt(probe)), f"the controller's probe of {name} says yes")
    for _ in range(4):
        answer, body = site.ask(name)
        assert (answer.status, body.isdigit(), answer.headers["Content-Length"]) == (200, True, str(len(body)))
    assert site.ask(name, "/echo", "POST", b"abc" * 100_000)[1] == b"abc" * 100_000
    in_chunks = {"Transfer-Encoding": "chunked"}
    assert site.ask(name, "/echo", "POST", iter([b"in ", b"chunks"]), **in_chunks)[1] == b"in chunks"
    assert site.ask(name, "/echo", "POST", b"body", Expect="100-continue")[1] == b"body"
    answer, body = site.ask(name, "/", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert answer.headers["Content-Length"] != "0"
    answer, body = site.ask(name, "/empty")
    assert (answer.status, body) == (204, b"")
    assert site.ask(name, "/stream")[1] == PARTS
    headers = json.loads(site.ask(name, "/headers", **{"X-Forwarded-For": "192.0.2.1", "X-Own": "a, b"})[1])
    assert (headers["host"], headers["x-own"]) == (f"{name}.test", "a, b")
    if protocol == "http":
        assert headers["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
        assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", str(site.nginx.port))
        assert headers.get("connection", "keep-alive") == "keep-alive"
    assert site.ask(name)[0].status == 200


@pytest.mark.parametrize("name", SERVERS)
def test_a_body_that_the_application_does_not_read_is_no_request(site: Site, name: str) -> None:
    """It has arrived as a whole, so the connection is kept: the server has to drop it."""
    if name not in site.servers:
        pytest.skip(f"no {name} on this machine")
    smuggled = b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
    if SERVERS[name][0] == "uwsgi":
        smuggled = request_packet("a", path="/stream")
    wait_for(lambda: site.ask(name)[0].status == 200, f"{name} answers")
    for _ in range(8):
        assert site.ask(name, "/", "POST", smuggled)[1].isdigit()
        assert json.loads(site.ask(name, "/headers")[1])["host"] == f"{name}.test"


@pytest.mark.parametrize("name", [name for name in SERVERS if name.startswith("gunicorn")])
def test_early_hints_are_not_the_answer(site: Site, name: str) -> None:
    wait_for(lambda: site.ask(name)[0].status == 200, f"{name} answers")
    for _ in range(4):
        begun = time.monotonic()
        answer, body = site.ask(name, "/hints")
        assert (answer.status, body.isdigit()) == (200, True)
        assert time.monotonic() - begun < 10, "not when the server's keep-alive of 30 s ends"


@pytest.mark.parametrize("options", [(), ("--lazy-apps", "--processes", "4", "--cheaper", "1")], ids=["plain", "lazy"])
def test_a_uwsgi_worker_that_reloads_at_sighup_fails_no_request(options: tuple[str, ...]) -> None:
    with Router() as router, Nginx(f"127.0.0.1:{router.port}") as nginx:
        site = Site(nginx, {}, {})
        with UwsgiWorker("one", *options, subscribe=f"server=127.0.0.1:{router.port},key=foo.test") as worker:
            wait_for(lambda: site.ask("foo")[0].status == 200, "the worker answers")
            worker.send_signal(signal.SIGHUP)
            seen = []
            while worker.output().count("spawned uWSGI worker 1 ") < 2:
                seen.append(site.ask("foo")[0].status)
            seen += [site.ask("foo")[0].status for _ in range(20)]
            assert set(seen) == {200}
            assert "node removed" not in router.output()


@pytest.mark.parametrize("name", ASGI)
def test_websockets(site: Site, name: str) -> None:
    wait_for(lambda: site.ask(name)[0].status == 200, f"{name} answers")
    with socket.create_connection(("127.0.0.1", site.nginx.port)) as sock, \
         connect(f"ws://{name}.test/ws", sock=sock) as client:  # fmt: skip
        for size in (1, 200, 100_000):
            client.send("x" * size)
            assert client.recv(10) == "x" * size
        client.close()
        with pytest.raises(ConnectionClosed):
            client.recv(10)
