"""Server-sent events arrive one by one, by every way, whatever the application does about it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from contextlib import ExitStack

import pytest
from support.fronts import WAYS, Node, Way, shows_http
from support.nginx_mode import PROGRAMS
from support.workers import Connection, Worker, refused_address

TYPE = b"Content-Type: text/event-stream\r\n"
WITH_ACCEPT = {"Accept": "text/event-stream"}


class Events:
    """A worker that sends each event after the client has got the one before."""

    def __init__(self, protocol: str, head: bytes = TYPE, chunked: bool = False) -> None:
        self.got = threading.Semaphore(1)
        self._protocol, self._head, self._chunked = protocol, head, chunked

    def __call__(self, connection: Connection) -> None:
        if self._protocol == "uwsgi":
            connection.read_packet()
        else:
            reader = connection.sock.makefile("rb")
            while reader.readline() not in (b"\r\n", b""):
                pass
        # It closes: without saying so, a request that follows at once may meet that.
        coding = b"Transfer-Encoding: chunked\r\nConnection: close\r\n" if self._chunked else b""
        connection.send(b"HTTP/1.1 200 OK\r\n%b%b\r\n" % (self._head, coding))
        for number in range(3):
            if not self.got.acquire(timeout=5):
                return
            event = b"data: %d\n" % number
            connection.send(b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event)
        if self._chunked:
            connection.send(b"0\r\n\r\n")
        # Who closes without having read all of the request resets, and the kernel throws the last event away.
        connection.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            connection.until_eof()


def events_of(way: Way, worker: Events, method: str = "GET", body: bytes | None = None, **headers: str) -> list[bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=10)
    try:
        connection.request(method, "/events", body, {"Host": "a.test", **headers})
        answer = connection.getresponse()
        assert answer.status == 200
        assert "X-Accel-Buffering" not in answer.headers
        lines = []
        while line := answer.readline():
            lines.append(line)
            worker.got.release()
        return lines
    finally:
        connection.close()


ALL = [b"data: %d\n" % number for number in range(3)]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("way", [way for way in WAYS if way[0] == "nginx"], ids="-".join)
def test_nginx_alone_passes_on_each_event_to_whoever_accepts_them(way: tuple[str, str], program: str) -> None:
    mode, protocol = way
    for method, body in (("GET", None), ("POST", b"x" * 200_000)):
        events = Events(protocol)
        with Worker(events) as worker, Way(mode, Node("a.test", worker.address, protocol), program=program) as path:
            assert events_of(path, events, method, body, **WITH_ACCEPT) == ALL
            assert path.ask(b"GET / HTTP/1.0\r\nHost: nobody.test\r\nAccept: text/event-stream\r\n\r\n")[0] == 404


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("protocol", "chunked"), [("uwsgi", False), ("http", False), ("http", True)])
def test_through_the_router_each_event_reaches_anybody(protocol: str, chunked: bool, program: str) -> None:
    events = Events(protocol, chunked=chunked)
    with Worker(events) as worker, Way("router", Node("a.test", worker.address, protocol), program=program) as path:
        assert events_of(path, events) == ALL
        assert events_of(path, events, "POST", b"x" * 200_000) == ALL


def test_nginx_alone_passes_on_each_event_in_chunks_to_anybody() -> None:
    events = Events("http", chunked=True)
    with Worker(events) as worker, Way("nginx", Node("a.test", worker.address, "http")) as path:
        assert events_of(path, events) == ALL


def test_an_include_counts_for_whoever_accepts_events_too() -> None:
    """Protection, limits of methods, error pages: in the location or the server, and nginx takes them all."""
    includes = {
        "denied.test.location.conf": "deny all;\n",
        "limited.test.location.conf": "limit_except GET { deny all; }\nadd_header X-Mine yes;\n",
        "pages.test.location.conf": "error_page 403 = @mine;\nif ($arg_x) { return 403; }\n",
        "pages.test.conf": 'location @mine { return 200 "mine"; }\n',
        "server.test.location.conf": "deny all;\n",
        "server.test.conf": 'error_page 403 = @mine;\nlocation @mine { return 200 "mine"; }\n',
        "nested.test.location.conf": "location /inner { return 204; }\n",
    }
    with ExitStack() as stack:
        worker = stack.enter_context(Worker(shows_http))
        hosts = [name.removesuffix(".location.conf") for name in includes if name.endswith(".location.conf")]
        nodes = [Node(host, worker.address, "http") for host in (*hosts, "a.test/api", "a.test:8080/api")]
        nodes.append(Node("dead.test", refused_address(), "uwsgi"))
        way = stack.enter_context(Way("nginx", *nodes, includes=includes))

        def ask(host: str, target: str = "/", method: str = "GET") -> tuple[int, bytes]:
            accept = "Accept: text/event-stream\r\nConnection: close\r\n"
            return way.ask(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{accept}\r\n".encode())

        assert ask("denied.test")[0] == 403
        assert (ask("limited.test")[0], ask("limited.test", "/", "DELETE")[0]) == (200, 403)
        assert (ask("pages.test")[0], ask("pages.test", "/?x=1")) == (200, (200, b"mine"))
        assert (ask("nested.test")[0], ask("nested.test", "/inner")[0]) == (200, 204)
        assert ask("server.test") == (200, b"mine")
        assert ask("dead.test")[0] == 502
        assert b"no worker of dead.test" in ask("dead.test")[1]
        for host in ("a.test", "a.test:8080"):
            assert [ask(host, target)[0] for target in ("/api", "//api//x", "/", "/apis")] == [200, 200, 404, 404]
            assert b'"target": "//api//x"' in ask(host, "//api//x")[1]
