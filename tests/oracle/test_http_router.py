"""Our HTTP front beside uWSGI's own HTTP router (``--http``, ``--http-subscription-server``): the same subscriptions,
the same requests, the same choices; and each difference that docs/differences.md lists."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from oracle.differences import differs
from oracle.subjects import Subject
from support.programs import Program, Router, free_port, listens
from support.workers import Connection, Worker, response

Workers = tuple[Worker, Worker, Worker]


class HttpSubject(Subject):
    """One of the two routers, asked by HTTP."""

    def __init__(self, name: str, port: int, stats_port: int, http_port: int) -> None:
        super().__init__(name, port, stats_port)
        self.http_port = http_port

    def send(self, text: str) -> bytes:
        """All that comes for ``text``, until the router closes."""
        with socket.create_connection(("127.0.0.1", self.http_port), 10) as client:
            client.sendall(text.encode("latin-1"))
            data = b""
            try:
                while piece := client.recv(65536):
                    data += piece
            except ConnectionResetError:
                pass
        return data

    def request(self, *lines: str, first: str = "GET / HTTP/1.1", host: str = "a.test", body: str = "") -> bytes:
        """The answer to one request."""
        hosts = [f"Host: {host}"] if host else []
        return self.send("\r\n".join([first, *hosts, *lines, "Connection: close", "", body]))

    def seen(self, *lines: str, **more: str) -> dict[str, Any]:
        """What the worker got of it, or nothing."""
        answer = self.request(*lines, **more)
        if not answer.startswith(b"HTTP/1.1 200"):
            return {}
        vars_: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return vars_

    def by(self, host: str, count: int) -> list[str]:
        """Which workers answered ``count`` requests, one after the other."""
        return [self.seen(host=host)["by"] for _ in range(count)]


class HttpPair(NamedTuple):
    """The two, started alike."""

    ours: HttpSubject
    original: HttpSubject


@pytest.fixture(scope="module")
def pair() -> Iterator[HttpPair]:
    port, stats, http, ours_stats = (free_port() for _ in range(4))
    original = Program(
        "uwsgi", "--plugin", "http", "--master", "--http", f"127.0.0.1:{port}",
        "--http-subscription-server", f"127.0.0.1:{port}", "--http-stats", f"127.0.0.1:{stats}",
    )  # fmt: skip
    options = ("--stats", f"127.0.0.1:{ours_stats}", "--listen-http", f"127.0.0.1:{http}", "--http-trusted", "none")
    with original, Router(*options) as router:
        original.wait_for(lambda: listens(port) and listens(stats), "uWSGI's HTTP router listens")
        yield HttpPair(
            HttpSubject("ours", router.port, ours_stats, http),
            HttpSubject("the original", port, stats, port),
        )


@pytest.fixture(scope="module")
def abc(pair: HttpPair) -> Iterator[Workers]:
    """Three workers, of which the first serves a.test."""
    with ExitStack() as stack:
        workers = tuple(stack.enter_context(Worker(_shows)) for _ in "abc")
        for subject in pair:
            subject.subscribe("a.test", workers[0].address)
        yield workers  # type: ignore[misc]


def _shows(connection: Connection) -> None:
    connection.read_packet()
    shown: dict[str, Any] = {name.decode(): value.decode("latin-1") for name, value in connection.vars.items()}
    size = int(shown.get("CONTENT_LENGTH") or "0")
    shown["body"] = connection.exactly(size).decode("latin-1")
    connection.send(response(json.dumps(shown | {"by": connection.worker.address}).encode()))


def test_nodes_take_turns_alike(pair: HttpPair, abc: Workers) -> None:
    addresses = [worker.address for worker in abc]
    for subject in pair:
        subject.subscribe_in_turn("turns.test", addresses)
        assert subject.by("turns.test", 6) == addresses * 2, subject.name


def test_who_leaves_gets_nothing_more(pair: HttpPair, abc: Workers) -> None:
    for subject in pair:
        subject.subscribe("leave.test", abc[0].address)
        subject.subscribe("leave.test", abc[1].address)
        subject.unsubscribe("leave.test", abc[0].address)
        assert subject.by("leave.test", 3) == [abc[1].address] * 3, subject.name


def test_the_worker_learns_the_same(pair: HttpPair, abc: Workers) -> None:
    first = "POST /x%2Fy/z?q=1&r HTTP/1.1"
    vars_ = [subject.seen("Content-Length: 3", "X-Some: t", first=first, body="abc") for subject in pair]
    for name in ("REQUEST_METHOD", "REQUEST_URI", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "REMOTE_ADDR",
                 "HTTP_HOST", "HTTP_X_SOME", "CONTENT_LENGTH", "body"):  # fmt: skip
        assert vars_[0][name] == vars_[1][name], name


def test_dots_in_paths_are_resolved_alike(pair: HttpPair, abc: Workers) -> None:
    for target in ("/a/../b", "/a/./b", "/%41/b%3f"):
        infos = {subject.seen(first=f"GET {target} HTTP/1.1")["PATH_INFO"] for subject in pair}
        assert len(infos) == 1, (target, infos)


@differs("HTTP: vars")
def test_vars_are_those_that_nginx_sends_only_here(pair: HttpPair, abc: Workers) -> None:
    ours, theirs = (set(subject.seen()) for subject in pair)
    assert theirs - ours == {"SCRIPT_NAME", "UWSGI_ROUTER", "HTTP_CONNECTION"}
    assert {"REQUEST_SCHEME", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_FORWARDED_FOR"} <= ours - theirs
    assert pair.ours.seen()["SERVER_NAME"] == "a.test"
    assert pair.original.seen()["SERVER_NAME"] == socket.gethostname()


@differs("HTTP: vars")
def test_doubled_slashes_are_one_only_here(pair: HttpPair, abc: Workers) -> None:
    infos = [subject.seen(first="GET /a//b HTTP/1.1")["PATH_INFO"] for subject in pair]
    assert infos == ["/a/b", "/a//b"]


@differs("HTTP: who asks")
def test_what_a_client_says_of_itself_is_believed_only_there(pair: HttpPair, abc: Workers) -> None:
    lines = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "Proxy: evil", "X_Under: 1")
    ours, theirs = (subject.seen(*lines) for subject in pair)
    assert (theirs["HTTP_X_FORWARDED_FOR"], theirs["HTTP_X_FORWARDED_PROTO"]) == ("203.0.113.9", "https")
    assert {"HTTP_PROXY", "HTTP_X_UNDER"} <= set(theirs)
    assert (ours["HTTP_X_FORWARDED_FOR"], ours["HTTP_X_FORWARDED_PROTO"]) == ("127.0.0.1", "http")
    assert not {"HTTP_PROXY", "HTTP_X_UNDER"} & set(ours)


@differs("HTTP: a body in chunks")
def test_a_body_in_chunks_has_its_length_only_here(pair: HttpPair, abc: Workers) -> None:
    chunks = {"first": "POST / HTTP/1.1", "body": "3\r\nabc\r\n0\r\n\r\n"}
    ours, theirs = (subject.seen("Transfer-Encoding: chunked", **chunks) for subject in pair)
    assert (ours["CONTENT_LENGTH"], ours["body"]) == ("3", "abc")
    assert "CONTENT_LENGTH" not in theirs
    assert theirs["HTTP_TRANSFER_ENCODING"] == "chunked"


@differs("HTTP: what could be read in two ways")
def test_what_could_be_read_in_two_ways_is_passed_on_only_there(pair: HttpPair, abc: Workers) -> None:
    both = ("Content-Length: 3", "Transfer-Encoding: chunked")
    ours, theirs = (subject.request(*both, first="POST / HTTP/1.1", body="3\r\nabc\r\n0\r\n\r\n") for subject in pair)
    assert ours.startswith(b"HTTP/1.1 400 ")
    assert b'"HTTP_TRANSFER_ENCODING": "chunked"' in theirs
    assert b'"CONTENT_LENGTH": "3"' in theirs


@differs("HTTP: a target that names a host")
def test_a_target_that_names_a_host_counts_only_here(pair: HttpPair, abc: Workers) -> None:
    first = "GET http://a.test/p HTTP/1.1"
    assert pair.ours.seen(first=first, host="nobody.test")["PATH_INFO"] == "/p"
    assert pair.original.seen(first=first, host="nobody.test") == {}


@differs("HTTP: no worker can answer")
def test_who_is_not_known_is_told_so_only_here(pair: HttpPair, abc: Workers) -> None:
    for host, status in (("nobody.test", b"404"), ("", b"400")):
        assert pair.ours.request(host=host).startswith(b"HTTP/1.1 " + status)
        assert pair.original.request(host=host) == b""


@differs("HTTP: connections")
def test_the_next_request_on_a_connection_is_answered_only_here(pair: HttpPair, abc: Workers) -> None:
    two = "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
    ours, theirs = (subject.send(two) for subject in pair)
    assert ours.count(b"HTTP/1.1 200 ") == 2
    assert theirs.count(b"HTTP/1.1 200 ") == 1


@differs("HTTP: Expect")
def test_a_client_that_waits_for_100_is_told_to_go_on_only_here(pair: HttpPair, abc: Workers) -> None:
    head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    for subject in pair:
        with socket.create_connection(("127.0.0.1", subject.http_port), 0.5) as client:
            client.sendall(head.encode())
            try:
                told = client.recv(100)
            except TimeoutError:
                told = b""
        assert told == (b"HTTP/1.1 100 Continue\r\n\r\n" if subject is pair.ours else b""), subject.name
