"""What a worker learns of its client, by every way: both modes, both protocols, Debian's nginx and the newest."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest
from support.fronts import SHOWS, WAYS, Node, Way
from support.nginx_mode import PROGRAMS
from support.programs import UwsgiWorker
from support.workers import Connection, Worker, response

MODES = sorted({mode for mode, _ in WAYS})


class Site:
    """One nginx that trusts nobody, one that trusts its client, and a worker of each protocol for a.test and b.test."""

    def __init__(self, mode: str, program: str, stack: ExitStack) -> None:
        nodes = []
        for protocol, script in SHOWS.items():
            for host in ("a", "b"):
                worker = stack.enter_context(Worker(script))
                nodes.append(Node(f"{host}.{protocol}.test", worker.address, protocol))
        self.plain = stack.enter_context(Way(mode, *nodes, program=program))
        self.behind = stack.enter_context(Way(mode, *nodes, program=program, trusted=("127.0.0.0/8",)))


@pytest.fixture(scope="module", params=[(mode, program) for mode in MODES for program in PROGRAMS], ids="-".join)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(*request.param, stack)  # type: ignore[call-arg]


@pytest.fixture(params=SHOWS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("port", "expected"), [("", "80"), (":8000", "8000"), (":443", "443"), (":", "80")])
def test_the_port_is_the_hosts_or_the_usual_one(site: Site, protocol: str, port: str, expected: str) -> None:
    seen = site.plain.seen("/", f"Host: a.{protocol}.test{port}", "X-Forwarded-Port: 7", "X-Forwarded-Proto: https")
    assert (seen["x-forwarded-port"], seen["x-forwarded-proto"]) == (expected, "http")
    if protocol == "uwsgi":
        assert (seen["SERVER_PORT"], seen["REQUEST_SCHEME"]) == (expected, "http")


@pytest.mark.parametrize("way", ["plain", "behind"])
@pytest.mark.parametrize("header", [[], ["X-Request-Start: t=1700000000123"], ["X-Request-Start: yesterday"]])
def test_a_worker_learns_when_nginx_passed_the_request_on(
    site: Site, protocol: str, header: list[str], way: str
) -> None:
    before = time.time()
    seen = getattr(site, way).seen("/", f"Host: a.{protocol}.test", *header)["x-request-start"]
    if way == "behind" and header == ["X-Request-Start: t=1700000000123"]:
        assert seen == "t=1700000000123", "what a trusted proxy said stays"
        return
    assert re.fullmatch(r"t=\d{13}", seen)
    # nginx asks the clock once in a turn of its loop.
    assert before - 1 <= int(seen[2:]) / 1000 <= time.time()


@pytest.mark.parametrize(
    ("headers", "scheme", "host", "port"),
    [
        ([], "http", "", "80"),
        (["X-Forwarded-Proto: https"], "https", "", "443"),
        (["X-Forwarded-Proto: HTTPS"], "https", "", "443"),
        (["X-Forwarded-Proto: wss"], "https", "", "443"),
        (["X-Forwarded-Proto: ws"], "http", "", "80"),
        (["X-Forwarded-Proto: https, http"], "https", "", "443"),
        (["X-Forwarded-Proto: http,https"], "http", "", "80"),
        (["X-Forwarded-Proto: gopher"], "http", "", "80"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Port: 8443"], "https", "", "8443"),
        (["X-Forwarded-Port: 8443, 80"], "http", "", "8443"),
        (["X-Forwarded-Port: none"], "http", "", "80"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: shop.test"], "https", "shop.test", "443"),
        (["X-Forwarded-Host: shop.test:9000, inner.test"], "http", "shop.test:9000", "9000"),
        (["X-Forwarded-Host: [::1]"], "http", "[::1]", "80"),
    ],
)
def test_a_trusted_proxy_is_believed(
    site: Site, protocol: str, headers: list[str], scheme: str, host: str, port: str
) -> None:
    own = f"a.{protocol}.test"
    seen = site.behind.seen("/", f"Host: {own}", *headers, "X-Forwarded-For: 203.0.113.7")
    found = [seen[f"x-forwarded-{name}"] for name in ("proto", "host", "port")]
    assert found == [scheme, host or own, port]
    assert seen["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
    assert seen["host"] == own
    if protocol == "uwsgi":
        assert (seen["SERVER_PORT"], seen["REQUEST_SCHEME"], seen.get("HTTPS", "")) == (
            port, scheme, "on" if scheme == "https" else "",
        )  # fmt: skip


def test_the_host_in_the_target_wins(site: Site, protocol: str) -> None:
    """RFC 9112, 3.2.2; the worker reads the same host that the key was found by."""
    own, other = f"a.{protocol}.test", f"b.{protocol}.test"
    for target, host, port in (
        (f"http://{own}/x?q=1", own, "80"),
        (f"HTTP://{own}:8000/x?q=1", f"{own}:8000", "8000"),
        (f"https://{own}/x?q=1", own, "80"),
    ):
        seen = site.plain.seen(target, f"Host: {other}")
        assert seen["host"] == seen["x-forwarded-host"] == host
        assert (seen["target"], seen["x-forwarded-port"]) == ("/x?q=1", port)
    for target in (f"http://{own}", f"http://{own}/"):
        assert site.plain.seen(target, f"Host: {other}")["host"] == own
    assert site.plain.seen(f"/http://{own}/", f"Host: {other}")["host"] == other
    assert site.plain.seen(f"/?u=http://{own}/", f"Host: {other}")["host"] == other


def test_a_host_that_could_be_read_in_two_ways_reaches_nobody_or_is_one(site: Site, protocol: str) -> None:
    own, other = f"a.{protocol}.test", f"b.{protocol}.test"
    request = f"GET / HTTP/1.1\r\nHost: {own}\r\nHost: {other}\r\nConnection: close\r\n\r\n"
    status, body = site.plain.ask(request.encode())
    assert status == 400 or (f'"host": "{own}"'.encode() in body and other.encode() not in body)
    assert site.plain.ask(f"GET http://u@{own}/ HTTP/1.1\r\nHost: {other}\r\n\r\n".encode())[0] == 400


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_an_answers_head_of_sixty_kilobytes_passes_and_a_larger_one_is_told(way: tuple[str, str]) -> None:
    mode, protocol = way
    lines = {host: b"X-Long: %b\r\n" % (b"v" * 6000) * count for host, count in (("long", 10), ("longer", 15))}
    with ExitStack() as stack:
        nodes = []
        for host, more in lines.items():
            worker = stack.enter_context(Worker(partial(SHOWS[protocol], more=more)))
            nodes.append(Node(f"{host}.test", worker.address, protocol))
        path = stack.enter_context(Way(mode, *nodes))
        assert path.seen("/", "Host: long.test")["host"] == "long.test"
        status, text = path.ask(b"GET / HTTP/1.1\r\nHost: longer.test\r\nConnection: close\r\n\r\n")
        assert status == 502
        assert b"too large" in text or b"a head of over" in text


def test_the_systems_limit_of_descriptors_is_raised() -> None:
    """More requests at once than a soft limit, as new engines set one of 1,024, would let through."""
    together = threading.Barrier(150, timeout=20)

    def script(connection: Connection) -> None:
        connection.read_packet()
        together.wait()
        connection.send(response(b"all are here"))

    with Worker(script) as worker:
        limited = ("prlimit", "--nofile=100:10000")
        with Way("router", Node("a.test", worker.address, "uwsgi"), prefix=limited) as way, \
             ThreadPoolExecutor(together.parties) as clients:  # fmt: skip
            request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
            answers = list(clients.map(way.ask, [request] * together.parties))
    assert set(answers) == {(200, b"all are here")}


LARGE = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(64 << 20))])
        return (b"x" * 65536 for _ in range(1024))
"""


def scaled(config: str) -> str:
    """nginx's limit of an answer's file, 1 GB unless it is set, divided by 128."""
    set_here = re.search(r"uwsgi_max_temp_file_size (\d+)m;", config)
    if set_here:
        return config.replace(set_here[0], f"uwsgi_max_temp_file_size {int(set_here[1]) // 128}m;")
    return config.replace("uwsgi_buffers ", "uwsgi_max_temp_file_size 8m; uwsgi_buffers ")


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_larger_than_a_gigabyte_reaches_a_client_slower_than_its_worker(mode: str) -> None:
    """uWSGI gives up after 4 s (1 here) in which nobody takes anything; the client waits until it has sent all."""
    with UwsgiWorker("foo", "--socket-timeout", "1", app=LARGE) as worker, \
         Way(mode, Node("a.test", worker.address, "uwsgi"), edit=scaled) as way, \
         socket.create_connection(("127.0.0.1", way.port), timeout=20) as client:  # fmt: skip
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        worker.wait_line("generated ")
        answer = client.makefile("rb").read()
        assert len(answer.partition(b"\r\n\r\n")[2]) == 64 << 20, worker.output()
