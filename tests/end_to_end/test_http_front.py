"""The router's HTTP front with real programs around it: nginx before it, uWSGI, gunicorn and websockets behind it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.http_front import APP, Gunicorn, HttpRouter
from support.programs import Nginx, Router, UwsgiWorker, wait_for
from support.workers import Worker, answers
from websockets.sync.client import connect as websocket
from websockets.sync.server import ServerConnection, serve

from fastroute.router.relay.http.request_head import BadHead
from fastroute.router.relay.http.request_vars import path_info

HOSTS = {"uwsgi": "a.com", "http": "b.com"}
PROTOCOLS = pytest.mark.parametrize("protocol", HOSTS)


@pytest.fixture(scope="module")
def router() -> Iterator[HttpRouter]:
    with UwsgiWorker("u", app=APP) as uwsgi, Gunicorn() as gunicorn:
        nodes = (f"a.com={uwsgi.address}", f"b.com=127.0.0.1:{gunicorn.port},protocol=http")
        with HttpRouter(*(word for node in nodes for word in ("--node", node))) as router:
            yield router


@pytest.fixture(scope="module", params=["direct", "tcp", "unix"])
def url(request: pytest.FixtureRequest, router: HttpRouter) -> Iterator[str]:
    """The router's HTTP front itself, or nginx that keeps its connections to it."""
    if request.param == "direct":
        yield f"http://127.0.0.1:{router.http_port}"
        return
    upstream = f"127.0.0.1:{router.http_port}" if request.param == "tcp" else f"unix:{router.unix}"
    settings = """
        location / {
            proxy_pass http://fastroute; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme; proxy_request_buffering off;
        }
    """
    section = f"upstream fastroute {{ server {upstream}; keepalive 16; }}"
    with Nginx("127.0.0.1:1", http=section, location=settings) as nginx:
        yield f"http://127.0.0.1:{nginx.port}"


@PROTOCOLS
def test_requests_of_all_kinds(url: str, protocol: str) -> None:
    with httpx.Client(base_url=url, headers={"Host": HOSTS[protocol]}, timeout=30) as client:
        for _ in range(3):
            assert client.get("/").text == "0"
            assert client.post("/echo", content=b"x" * 70_000).content == b"x" * 70_000
            assert client.post("/echo", content=b"").content == b""
            answer = client.head("/")
            assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1", b"")
            assert len(client.get("/stream/30").content) == 30 * 65_536
        assert client.get("/", headers={"Host": "nobody"}).status_code == 404
        assert client.get("/", headers={"X-Forwarded-For": "203.0.113.9"}).headers["x-method"] == "GET"


@PROTOCOLS
def test_a_large_body_either_way(url: str, protocol: str) -> None:
    size = 20 << 20
    with httpx.Client(base_url=url, headers={"Host": HOSTS[protocol]}, timeout=60) as client:
        assert client.post("/", content=b"x" * size).text == str(size)
        assert len(client.get(f"/stream/{size >> 16}").content) == size


def test_a_body_without_length_reaches_a_uwsgi_worker_whole(url: str) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    with httpx.Client(base_url=url, headers={"Host": "a.com"}, timeout=30) as client:
        assert client.post("/", content=body()).text == "2000000"
        assert client.get("/").text == "0"


def test_nginx_keeps_its_connection_and_is_believed_for_whom_it_asks(router: HttpRouter) -> None:
    settings = """
        location / {
            proxy_pass http://fastroute; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-For $http_x_forwarded_for;
        }
    """
    section = f"upstream fastroute {{ server 127.0.0.1:{router.http_port}; keepalive 1; }}"
    with Nginx("127.0.0.1:1", http=section, location=settings) as nginx:
        url = f"http://127.0.0.1:{nginx.port}/"
        answers = [httpx.get(url, headers={"Host": "a.com"}) for _ in range(3)]
        assert len({answer.headers["x-port"] for answer in answers}) == 1, "one connection for all"
        assert {answer.headers["x-scheme"] for answer in answers} == {"https"}
        said = httpx.get(url, headers={"Host": "a.com", "X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
        assert said.headers["x-client"] == "203.0.113.9"


@pytest.mark.parametrize("merge", ["on", "off"])
def test_paths_are_decoded_as_nginx_decodes_them(merge: str) -> None:
    paths = [
        "/", "/a/b", "/a//b", "//a", "//", "/a//.", "/.//a", "/a//./b",
        "/a/b//", "/a%2Fb", "/a%2f%2Fb", "/a/./b", "/a/.", "/.", "/a/../b", "/a/..", "/a/b/..",
        "/a/b/../", "/a/%2e%2E/b", "/a..b/.c/...", "/%41%3f%23", "/a+b", "/\xe9%C3%A9", "/a%0ab", "/a/", "/a//",
        "/%252e", "/..", "/a/../..", "/%2e%2e/a", "/a%00b", "/%", "/%4", "/%zz",
    ]  # fmt: skip
    with Worker(answers()) as worker, Nginx(worker.address, http=f"merge_slashes {merge};") as nginx:
        for path in paths:
            with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as client:
                client.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode("latin-1"))
                status = int(client.recv(65536).split()[1])
            try:
                ours = path_info(path.encode("latin-1"), merge == "on")
            except BadHead:
                assert status == 400, path
            else:
                assert (status, worker.requests[-1].vars[b"PATH_INFO"]) == (200, ours), path


def test_a_websocket(router: HttpRouter) -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with (
                HttpRouter("--node", f"ws.com=127.0.0.1:{port},protocol=http") as front,
                socket.create_connection(("127.0.0.1", front.http_port)) as sock,
                websocket("ws://ws.com/", sock=sock) as client,
            ):
                for message in ("one", "x" * 100_000):
                    client.send(message)
                    assert client.recv(timeout=10) == message
        finally:
            server.shutdown()
            thread.join()


class KeptLoad:
    """GETs one after the other on connections that are kept; a connection ends only where an answer said so."""

    def __init__(self, port: int, host: str, threads: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, host)) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int, host: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not self._over.is_set():
            try:
                connection.request("GET", "/", headers={"Host": host})
                answer = connection.getresponse()
                answer.read()
                self.seen[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen[repr(error)] += 1
                connection.close()
        connection.close()

    def end(self) -> Counter[str]:
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.seen


@pytest.mark.parametrize("how", ["reload", "upgrade"])
def test_kept_connections_survive_a_change_of_relays(how: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fastroute-place-"))
    with UwsgiWorker("u", app=APP) as worker:
        options = ("--run-dir", str(folder), "--node", f"a.com={worker.address}", "--processes", "2")
        with HttpRouter(*options) as router:
            load = KeptLoad(router.http_port, "a.com")
            wait_for(lambda: load.seen["200"] > 50, "requests are answered")
            if how == "reload":
                router.send_signal(signal.SIGHUP)
                router.wait_line("reloaded")
            else:
                same = ("--listen", f"127.0.0.1:{router.port}", "--listen-http", f"127.0.0.1:{router.http_port}",
                        "--listen-http", str(router.unix), "--listen-mode", "0666")  # fmt: skip
                successor = Router.at(router.port, router.admin_port, *same, *options)
                with successor:
                    router.wait_line("handed over to the router with pid")
                    before = load.seen["200"]
                    wait_for(lambda: load.seen["200"] > before + 50, "the new router answers")
                    assert set(load.end()) == {"200"}
                    return
            before = load.seen["200"]
            wait_for(lambda: load.seen["200"] > before + 50, "the new relays answer")
            assert set(load.end()) == {"200"}


@PROTOCOLS
def test_the_answer_of_a_worker_that_is_killed_is_seen_to_be_broken(protocol: str) -> None:
    """It has said how long the answer is; or, of a worker that speaks HTTP, that chunks follow."""
    paths = ["/sized/2000"] if protocol == "uwsgi" else ["/sized/2000", "/stream/2000"]
    for path in paths:
        worker = UwsgiWorker("u", app=APP) if protocol == "uwsgi" else Gunicorn()
        with worker:
            address = worker.address if isinstance(worker, UwsgiWorker) else f"127.0.0.1:{worker.port}"
            with (
                HttpRouter("--node", f"a.com={address},protocol={protocol}") as router,
                httpx.Client(headers={"Host": "a.com"}, timeout=20) as client,
                client.stream("GET", f"http://127.0.0.1:{router.http_port}{path}") as answer,
            ):
                assert answer.status_code == 200
                got = answer.iter_raw()
                assert next(got)
                os.killpg(worker.process.pid, signal.SIGKILL)
                with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                    for _ in got:
                        pass
