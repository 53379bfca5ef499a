"""A relay with keys whose clients stay and whose path is taken off: by both fronts, to workers of both protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.relaying import RelayProcess
from support.uwsgi_client import read_answer, request_packet
from support.workers import Connection, Script, Worker, http, read_head, response

from fastroute.router.relay.node import Node

PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "uwsgi"])
FRONTS = pytest.mark.parametrize("front", ["http", "uwsgi"])


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One for all tests: each begins with a snapshot of its own."""
    with RelayProcess(tmp_path_factory.mktemp("relay"), http=True, timeout=5.0) as process:
        yield process


def uwsgi_says(connection: Connection) -> None:
    """A uwsgi worker that answers with what it sees."""
    connection.read_packet()
    names = (b"SCRIPT_NAME", b"PATH_INFO", b"REQUEST_URI", b"HTTP_X_FORWARDED_PREFIX")
    seen = {name.decode(): connection.vars.get(name, b"").decode() for name in names}
    seen["body"] = connection.body().decode()
    connection.send(response(json.dumps(seen).encode()))


def http_says(connection: Connection) -> None:
    """The same in HTTP, in chunks, on a connection that it keeps."""
    while True:
        first, *lines = read_head(connection).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = connection.exactly(int(headers.get("content-length", "0"))).decode()
        prefix = headers.get("x-forwarded-prefix", "")
        text = json.dumps({"target": first.split()[1], "HTTP_X_FORWARDED_PREFIX": prefix, "body": body}).encode()
        connection.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
        )


def serve(relay: RelayProcess, worker: Worker, protocol: str, key: str, **options: Any) -> None:
    named = {"protocol": protocol, "session": "v1"}
    relay.tell(
        ["reset"], ["pool", key, {"algorithm": "wrr", **options}], ["node", key, worker.address, named], ["done"]
    )


def ask(
    relay: RelayProcess, front: str, path: str, body: bytes = b"", **headers: str
) -> tuple[list[str], dict[str, str]]:
    """The lines of the answer's head, and what the worker saw."""
    if front == "uwsgi":
        more = {"HTTP_" + name.upper(): value for name, value in headers.items()}
        method = "POST" if body else "GET"
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", method=method, path=path, body=body, **more))
            data = b""
            while piece := client.recv(65536):
                data += piece
    else:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: foo.com", *lines, *length, "", ""])
        with relay.connect_http() as client:
            client.sendall(head.encode() + body)
            data = b""
            while b"}" not in data:
                data += client.recv(65536)
    head_text, _, rest = data.partition(b"\r\n\r\n")
    seen = rest[rest.index(b"{") : rest.rindex(b"}") + 1]
    return head_text.decode().split("\r\n"), json.loads(seen)


SCRIPTS: dict[str, Script] = {"http": http_says, "uwsgi": uwsgi_says}


@PROTOCOLS
@FRONTS
def test_the_path_of_the_key_is_taken_off(relay: RelayProcess, front: str, protocol: str) -> None:
    with Worker(SCRIPTS[protocol]) as worker:
        serve(relay, worker, protocol, "foo.com/api", mount="script-name")
        for path, script_name, rest in (("/api/x?q=1", "/api", "/x"), ("/api", "/api", ""), ("/api/", "/api", "/")):
            _, seen = ask(relay, front, path, b"body", x_forwarded_prefix="/evil")
            assert (seen["HTTP_X_FORWARDED_PREFIX"], seen["body"]) == ("/api", "body")
            if protocol == "uwsgi":
                assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["REQUEST_URI"]) == (script_name, rest, path)
            else:
                assert seen["target"] == (rest or "/") + path[path.find("?") :] * ("?" in path)


@PROTOCOLS
@FRONTS
def test_without_being_asked_to_the_path_stays(relay: RelayProcess, front: str, protocol: str) -> None:
    with Worker(SCRIPTS[protocol]) as worker:
        for options in ({}, {"mount": "keep"}, {"mount": "keep", "sticky": "cookie:fr"}):
            serve(relay, worker, protocol, "foo.com/api", **options)
            _, seen = ask(relay, front, "/api/x")
            assert seen.get("target", seen.get("PATH_INFO")) == "/api/x"
            assert not seen.get("SCRIPT_NAME")


@PROTOCOLS
@FRONTS
def test_a_cookie_is_set_once_and_not_where_it_is_there(relay: RelayProcess, front: str, protocol: str) -> None:
    with Worker(SCRIPTS[protocol]) as worker:
        serve(relay, worker, protocol, "foo.com/api", sticky="cookie:fr", mount="script-name")
        ours = "Set-Cookie: fr=v1; Path=/api; HttpOnly; SameSite=Lax"
        for _ in range(2):
            head, _ = ask(relay, front, "/api/x")
            assert [line for line in head if "ookie" in line] == [ours]
            head, _ = ask(relay, front, "/api/x", cookie="fr=other; fr=v1")
            assert not [line for line in head if "ookie" in line]
        head, _ = ask(relay, front, "/api/x", b"body", cookie="fr=other")
        assert [line for line in head if "ookie" in line] == [ours]


def test_a_uwsgi_worker_that_keeps_its_connection_sets_it_too(relay: RelayProcess) -> None:
    """As gunicorn does: the connection is used again for the next request, with and without a cookie to set."""

    def script(connection: Connection) -> None:
        while True:
            connection.read_packet()
            connection.send(response(b"{}"))

    with Worker(script) as worker:
        serve(relay, worker, "uwsgi", "foo.com", sticky="cookie:fr")
        for number in range(12):
            cookie = {"HTTP_COOKIE": "fr=v1"} if number % 2 else {}
            with relay.connect() as client:
                client.sendall(request_packet("foo.com", **cookie))  # type: ignore[arg-type]
                data = b""
                while not data.endswith(b"{}"):
                    data += client.recv(65536)
            assert data.count(b"Set-Cookie: fr=v1;") == (not cookie)


@PROTOCOLS
def test_an_answer_before_the_end_of_the_body_sets_it(relay: RelayProcess, protocol: str) -> None:
    def early(connection: Connection) -> None:
        if protocol == "uwsgi":
            connection.read_packet()
        else:
            read_head(connection)
        connection.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with Worker(early) as worker:
        serve(relay, worker, protocol, "foo.com", sticky="cookie:fr")
        packet = request_packet("foo.com", method="POST", CONTENT_LENGTH="1000000")
        with relay.connect() as client:
            client.sendall(packet + b"x" * 1000)
            answer = read_answer(client)
        assert (answer.status, answer.headers["set-cookie"].partition(";")[0]) == (413, "fr=v1")


def test_a_tunnel_begins_with_it(relay: RelayProcess) -> None:
    tunnel = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello"
    with Worker(http(tunnel)) as worker:
        serve(relay, worker, "http", "foo.com", sticky="cookie:fr")
        with relay.connect_http() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: foo.com\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
            data = b""
            while not data.endswith(b"hello"):
                data += client.recv(65536)
        assert data.count(b"\r\nSet-Cookie: fr=v1; Path=/; HttpOnly; SameSite=Lax\r\n") == 1


def test_the_routers_own_answers_set_nothing(relay: RelayProcess) -> None:
    with Worker(lambda connection: connection.read_packet()) as worker:
        serve(relay, worker, "uwsgi", "foo.com", sticky="cookie:fr")
        answer = relay.ask()
        assert answer.status == 502
        assert "set-cookie" not in answer.headers


def test_nodes_of_other_keys_pass_as_ever() -> None:
    """The slots that the common path reads: nothing of a rewriting is looked at for nodes without one."""
    import random

    from support.entries import put

    from fastroute.router.protocol.node_options import KeyOptions
    from fastroute.router.relay.pool import Pool

    pool = Pool("foo.com", "wrr", random.Random(0))
    node: Node = put(pool, "127.0.0.1:80")
    assert node.passes
    assert not pool.asks_client
    pool.set_options(KeyOptions("wrr", sticky="cookie:fr"))
    assert not node.passes
    assert pool.asks_client
    pool.set_options(KeyOptions("wrr"))
    assert node.passes
    assert not pool.asks_client
