"""nginx in front: what a worker learns of the client, and what nginx leaves to the router."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.programs import free_port, wait_for
from support.stack import Stack

WORKERS = Path(__file__).parent / "workers"
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "443",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
    "X-Request-Start": "t=1700000000123",
    "Proxy": "http://evil.example",
}


@pytest.fixture(scope="module")
def mirror(stack: Stack) -> Iterator[str]:
    """A worker for mirror.com that shows what it was asked; built, not mounted, so that the engine may be elsewhere."""
    uwsgi = ["uwsgi", "--plugin", "python3", "--socket", ":3031", "--master", "--processes", "2", "--need-app"]
    code = (WORKERS / "mirror.py").read_text()
    start = "import os, sys; open('/tmp/mirror.py', 'w').write(sys.argv[1]); os.execvp('uwsgi', sys.argv[2:])"
    argv = [*uwsgi, "--buffer-size", "65535", "--wsgi-file", "/tmp/mirror.py", "--callable", "app"]
    run = ("-l", "fastroute.key=mirror.com", "--no-healthcheck", "--entrypoint", "python3", stack.image("foo"))
    with stack.container(*run, "-c", start, code, *argv) as name:
        wait_for(lambda: stack.get("mirror.com").status == 200, "mirror.com answers")
        yield name


def seen_by_worker(stack: Stack, headers: dict[str, str], port: int | None = None, **rest: Any) -> dict[str, Any]:
    answer = stack.get("mirror.com", "/a/b?q=1", headers=headers, port=port, **rest)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.text)
    return found


def test_a_client_cannot_say_who_it_is(stack: Stack, mirror: str) -> None:
    environ = seen_by_worker(stack, FORGED)
    client = environ["REMOTE_ADDR"]
    assert client != "6.6.6.6"
    assert environ["HTTP_X_FORWARDED_FOR"] == environ["HTTP_X_REAL_IP"] == client
    assert environ["HTTP_X_FORWARDED_PROTO"] == environ["REQUEST_SCHEME"] == "http"
    assert environ["HTTP_X_FORWARDED_HOST"] == "mirror.com"
    assert environ["HTTP_X_FORWARDED_PORT"] == environ["SERVER_PORT"] == "80"
    assert not environ.keys() & {"HTTP_FORWARDED", "HTTP_PROXY", "HTTPS"}
    # nginx asks the clock once in a turn of its loop.
    assert abs(int(environ["HTTP_X_REQUEST_START"].removeprefix("t=")) / 1000 - time.time()) < 20


@contextlib.contextmanager
def second_nginx(stack: Stack, setting: str) -> Iterator[int]:
    """Another nginx before the stack's router, with one more environment variable; the port at which it is asked."""
    port = free_port()
    front = f"{stack.project}_front:/run/fastroute/front:ro"
    writable = ("--read-only", "--tmpfs", "/tmp", "-v", "/var/cache/nginx")
    run = ("-e", setting, "-v", front, "-p", f"127.0.0.1:{port}:8080", *writable)
    with stack.container(*run, stack.image("nginx"), network="bridge") as name:
        wait_for(lambda: stack.inspect(name)["State"]["Health"]["Status"] == "healthy", "the second nginx healthy")
        yield port


def test_the_request_arrives_as_the_client_sent_it(stack: Stack, mirror: str) -> None:
    environ = seen_by_worker(stack, {"Host": "Mirror.COM:8080", "Cookie": "a=b", "X-Own": "kept"})
    assert (environ["HTTP_HOST"], environ["HTTP_X_FORWARDED_PORT"]) == ("Mirror.COM:8080", "8080")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["REQUEST_URI"]) == ("/a/b", "q=1", "/a/b?q=1")
    assert (environ["HTTP_COOKIE"], environ["HTTP_X_OWN"]) == ("a=b", "kept")


def test_a_trusted_proxy_says_who_the_client_is(stack: Stack, mirror: str) -> None:
    with second_nginx(stack, "FASTROUTE_TRUSTED_PROXIES=0.0.0.0/0") as port:
        environ = seen_by_worker(stack, {**FORGED, "X-Forwarded-For": "203.0.113.7"}, port)
    assert environ["REMOTE_ADDR"] == environ["HTTP_X_REAL_IP"] == "203.0.113.7"
    assert environ["HTTP_X_FORWARDED_FOR"].startswith("203.0.113.7, ")
    assert environ["HTTP_X_FORWARDED_PROTO"] == environ["REQUEST_SCHEME"] == "https"
    assert (environ["HTTP_X_FORWARDED_HOST"], environ["HTTP_X_FORWARDED_PORT"]) == ("evil.example", "443")
    assert environ["HTTPS"] == "on"
    assert environ["HTTP_FORWARDED"] == "for=6.6.6.6"
    assert environ["HTTP_X_REQUEST_START"] == "t=1700000000123"
    assert "HTTP_PROXY" not in environ


#: What is another thing by each: the client's port is not known behind a proxy, the connection is nginx's own, and by
#: uwsgi nginx says Content-Length twice.
OF_ONE_FRONT = ("DOCUMENT_ROOT", "REMOTE_PORT", "HTTP_CONNECTION", "HTTP_CONTENT_LENGTH", "HTTP_X_REQUEST_START")
#: Of the client: each nginx has one of its own.
OF_THE_CLIENT = ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


def test_with_one_variable_nginx_speaks_http_and_the_worker_learns_the_same(stack: Stack, mirror: str) -> None:
    with second_nginx(stack, "FASTROUTE_NGINX_CONF=nginx-http.conf") as port:
        for headers in (FORGED, {"Host": "Mirror.COM:8080", "Cookie": "a=b"}):
            for body in (b"", b"x" * 100_000):
                uwsgi, http = (
                    seen_by_worker(stack, headers, at, method="POST" if body else "GET", body=body)
                    for at in (stack.port, port)
                )
                for seen in (uwsgi, http):
                    client = seen["REMOTE_ADDR"]
                    assert seen["HTTP_X_FORWARDED_FOR"] == seen["HTTP_X_REAL_IP"] == client != "6.6.6.6"
                    for var in (*OF_THE_CLIENT, *OF_ONE_FRONT):
                        seen.pop(var, None)
                    seen["SERVER_NAME"] = seen["SERVER_NAME"].lower()
                assert http == uwsgi
        assert stack.get("nobody.example", port=port).status == 404


def test_a_wrong_trusted_network_is_refused_with_its_name(stack: Stack) -> None:
    setting = "FASTROUTE_TRUSTED_PROXIES=10.0.0.0/8,example.com"
    with pytest.raises(AssertionError, match=r"docker run.* 2\n.*example.com is no network"):
        stack.docker("run", "--rm", "--network", "none", "-e", setting, stack.image("nginx"))


def test_a_large_body_arrives(stack: Stack, mirror: str) -> None:
    size = 24 << 20
    assert seen_by_worker(stack, {}, method="POST", body=bytes(size))["body"] == size


def test_a_body_of_unknown_length_arrives(stack: Stack, mirror: str) -> None:
    chunks = (bytes(1 << 16) for _ in range(320))
    environ = seen_by_worker(stack, {}, method="POST", body=chunks)
    assert environ["body"] == 320 << 16


def test_many_headers_arrive_and_too_many_are_told_by_the_router(stack: Stack, mirror: str) -> None:
    environ = seen_by_worker(stack, {f"X-Long-{number}": "v" * 7000 for number in range(7)})
    assert len(environ["HTTP_X_LONG_6"]) == 7000


def test_an_upgraded_connection_carries_bytes_both_ways(stack: Stack) -> None:
    code = (WORKERS / "upgrade.py").read_text()
    run = ("-l", "fastroute.key=socket.com", "--no-healthcheck", "--entrypoint", "python3", stack.image("foo"))
    with stack.container(*run, "-c", code) as name:
        stack.wait_state(name, "ready")
        with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: socket.com\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            stream = link.makefile("rb")
            assert b" 101 " in stream.readline()
            while stream.readline() != b"\r\n":
                pass
            for word in (b"first\n", b"second\n"):
                link.sendall(word)
                assert stream.readline() == word.upper()
