"""Probes against workers that refuse, hang, speak uwsgi or HTTP, and answer well or badly."""

from __future__ import annotations

import queue
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from fastroute.controller.decide.messages import Probed
from fastroute.controller.desired import ProbeTarget
from fastroute.controller.observe import probe
from fastroute.controller.observe.probe import Prober, request
from fastroute.router.protocol.key import example_host
from fastroute.router.protocol.wire import decode_header, decode_vars
from fastroute.router.sidecar.probe import attempt as attempt_once
from fastroute.router.sidecar.probe import request as get_packet


class Worker(socketserver.ThreadingTCPServer):
    """Answers each connection with ``answer`` (``None``: not at all) and keeps what was asked."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: bytes | None, port: int = 0) -> None:
        self.answer, self.asked = answer, list[bytes]()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: Worker

    def handle(self) -> None:
        with suppress(OSError):
            if data := self.request.recv(65_536):
                self.server.asked.append(data)
                if self.server.answer is None:
                    self.request.recv(1)
                else:
                    self.request.sendall(self.server.answer)


@contextmanager
def worker(answer: bytes | None, port: int = 0) -> Iterator[Worker]:
    with Worker(answer, port) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield one
        finally:
            one.shutdown()
            thread.join()


@pytest.fixture
def prober() -> Iterator[tuple[Prober, queue.SimpleQueue[Probed]]]:
    outcomes: queue.SimpleQueue[Probed] = queue.SimpleQueue()
    one = Prober(outcomes.put)
    yield one, outcomes
    one.stop()


def target(address: str, path: str = "", protocol: str = "uwsgi") -> ProbeTarget:
    return ProbeTarget("c1@t", address, protocol, path, "foo.com", 0)


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 x\r\n\r\n", False),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 x\r\n\r\n", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 404 NOT FOUND\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH_9\r\n", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("protocol", ["uwsgi", "http"])
def test_any_status_below_500_but_400_is_a_yes(prober, protocol: str, answer: bytes, good: bool) -> None:
    with worker(answer) as one:
        prober[0].start(target(one.address, "/up", protocol))
        assert (prober[1].get(timeout=5).problem == "") is good


def test_a_uwsgi_worker_is_asked_in_its_own_protocol() -> None:
    packet = request(target("127.0.0.1:1", "/up?deep=1"))
    modifier1, size, modifier2 = decode_header(packet)
    variables = dict(decode_vars(packet[4:]))
    assert (modifier1, size, modifier2) == (0, len(packet) - 4, 0)
    assert variables[b"REQUEST_METHOD"] == b"GET"
    assert (variables[b"PATH_INFO"], variables[b"QUERY_STRING"]) == (b"/up", b"deep=1")
    assert variables[b"HTTP_HOST"] == b"foo.com"


@pytest.mark.parametrize(
    ("key", "host", "name", "port"),
    [
        ("a.test/api", "a.test", "a.test", "80"),
        ("a.test:8080/api", "a.test:8080", "a.test", "8080"),
        ("*.a.test/api", "probe.a.test", "probe.a.test", "80"),
        ("[::1]:81", "[::1]:81", "[::1]", "81"),
        ("[::1]", "[::1]", "[::1]", "80"),
    ],
)
def test_a_probe_asks_as_a_client_of_the_key_would(key: str, host: str, name: str, port: str) -> None:
    asked = example_host(key)
    assert f"\r\nHost: {host}\r\n".encode() in get_packet("/up", "http", asked)
    variables = dict(decode_vars(get_packet("/up", "uwsgi", asked)[4:]))
    found = [variables[word].decode() for word in (b"HTTP_HOST", b"SERVER_NAME", b"SERVER_PORT")]
    assert found == [host, name, port]


def test_a_worker_that_starts_late_is_found_soon_after(prober) -> None:
    with worker(b"") as one:
        port = one.server_address[1]
    prober[0].start(target(f"127.0.0.1:{port}"))
    assert "no connection" in prober[1].get(timeout=5).problem
    with worker(b"", port):
        while prober[1].get(timeout=5).problem:
            pass


def test_a_worker_that_accepts_and_says_nothing_is_given_up_and_asked_again(prober, monkeypatch) -> None:
    monkeypatch.setattr(probe, "GET_TIMEOUT", 0.05)
    with worker(None) as one:
        prober[0].start(target(one.address, "/up"))
        for _ in range(2):
            assert "no answer within" in prober[1].get(timeout=5).problem
        one.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        while prober[1].get(timeout=5).problem:
            pass


def test_a_probe_that_nobody_waits_for_ends_and_others_go_on(prober) -> None:
    with worker(None) as silent, worker(b"HTTP/1.1 200 OK\r\n\r\n") as good:
        hung = target(silent.address, "/up")
        prober[0].start(hung)
        prober[0].cancel(hung)
        prober[0].start(target(good.address, "/up"))
        assert prober[1].get(timeout=5) == Probed(target(good.address, "/up"), "")


def test_a_probe_that_was_stopped_can_be_started_again(prober) -> None:
    with worker(b"HTTP/1.1 200 OK\r\n\r\n") as one:
        again = target(one.address, "/up")
        prober[0].start(again)
        prober[0].cancel(again)
        prober[0].start(again)
        assert prober[1].get(timeout=5).problem == ""


@pytest.mark.parametrize("answer", [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b""])
def test_the_sidecars_attempt_takes_no_interim_answer_for_the_answer(answer: bytes) -> None:
    packet = get_packet("/", "http", "foo.com")
    for status, good in ((b"200 OK", True), (b"500 Broken", False)):
        with worker(answer + b"HTTP/1.1 " + status + b"\r\n\r\n") as one:
            assert (attempt_once(one.server_address, packet, "/") == "") == good  # type: ignore[arg-type]
