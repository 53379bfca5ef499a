"""Through nginx and the router: workers and clients that are slow, rude or gone."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Nginx, Program, Router, UwsgiWorker, free_port, listens, wait_for
from support.uwsgi_client import ask, read_answer, request_packet, send_datagram, subscription_packet
from support.workers import Connection, Script, Worker, answers, closes_early, never_answers, resets

MEGABYTE = 1 << 20
HUNDRED = 100 * MEGABYTE
#: nginx passes on everything as it comes, so that slowness reaches the router.
UNBUFFERED = "uwsgi_buffering off; uwsgi_request_buffering off;"


@pytest.fixture
def router() -> Iterator[Router]:
    with Router("--timeout", "1", "--key-grace", "1") as router:
        yield router


@pytest.fixture
def nginx(router: Router) -> Iterator[Nginx]:
    with Nginx(f"127.0.0.1:{router.port}", UNBUFFERED) as nginx:
        yield nginx


def relay_of(router: Router) -> int:
    """Process id of its only relay."""
    for task in Path(f"/proc/{router.process.pid}/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            if b"fastroute.router.relay.main\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise AssertionError("no relay")


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def join(router: Router, worker: Worker, key: str = "foo.com") -> None:
    send_datagram(router.port, subscription_packet(key, worker.address))
    router.wait_line(f"{key} => new node: {worker.address}")
    # The log comes first; a relay has applied it within a moment.
    wait_for(lambda: ask(router.port, key, path="/?joined").status not in (404, 503), f"{key} is served")
    worker.requests.clear()


def connect(nginx: Nginx, head: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", nginx.port), 20)
    client.sendall(head.encode() + b"\r\n\r\n")
    return client


def unless_joining(script: Script) -> Script:
    """``script``, but the question whether the key is known yet gets an answer."""

    def either(connection: Connection) -> None:
        connection.read_packet()
        if connection.vars.get(b"QUERY_STRING") == b"joined":
            connection.worker.requests.remove(connection)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        connection.read_packet = lambda: None  # type: ignore[method-assign]
        script(connection)

    return either


def test_a_client_that_reads_slowly_gets_a_hundred_megabytes_and_costs_no_memory(router: Router, nginx: Nginx) -> None:
    def floods(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUNDRED)
        for _ in range(100):
            connection.send(b"x" * MEGABYTE)

    with Worker(unless_joining(floods)) as worker:
        join(router, worker)
        relay = relay_of(router)
        before, most, got = memory_of(relay), 0, 0
        with connect(nginx, "GET / HTTP/1.0\r\nHost: foo.com") as client:
            while piece := client.recv(MEGABYTE):
                got += len(piece)
                if got % 5 == 0:
                    time.sleep(0.001)
                most = max(most, memory_of(relay))
        assert got > HUNDRED
        assert most - before < 2 * MEGABYTE


def test_a_worker_that_reads_slowly_gets_a_hundred_megabytes_and_costs_no_memory(router: Router, nginx: Nginx) -> None:
    def reads_slowly(connection: Connection) -> None:
        left, most, turns = HUNDRED, 0, 0
        while left:
            left -= len(connection.sock.recv(min(left, MEGABYTE)))
            turns += 1
            if turns % 20 == 0:
                time.sleep(0.001)
                most = max(most, memory_of(relay))
        connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d" % most)

    with Worker(unless_joining(reads_slowly)) as worker:
        join(router, worker)
        relay = relay_of(router)
        before = memory_of(relay)
        with connect(nginx, f"POST / HTTP/1.0\r\nHost: foo.com\r\nContent-Length: {HUNDRED}") as client:
            for _ in range(100):
                client.sendall(b"x" * MEGABYTE)
            answer = read_answer(client)
        assert answer.status == 200
        assert int(answer.body) - before < 2 * MEGABYTE


def test_a_worker_is_told_at_once_that_the_browser_left(router: Router, nginx: Nginx) -> None:
    ended: list[float] = []

    def works(connection: Connection) -> None:
        try:
            connection.until_eof()
        finally:
            ended.append(time.monotonic())

    with Worker(unless_joining(works)) as worker:
        join(router, worker)
        delays = []
        for turn in range(3):
            client = connect(nginx, "GET / HTTP/1.1\r\nHost: foo.com")
            wait_for(lambda turn=turn: len(worker.requests) > turn, "the worker has it")
            time.sleep(0.15)  # it takes its time
            left = time.monotonic()
            client.close()
            wait_for(lambda turn=turn: len(ended) > turn, "the worker sees it")
            delays.append(ended[-1] - left)
        assert min(delays) < 0.1


def status(nginx: Nginx, method: str = "GET", body: bytes = b"", host: str = "foo.com") -> tuple[int, str | None]:
    """Status and our own reason, through nginx."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20)
    try:
        connection.request(method, "/", body, {"Host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("X-Fastroute-Error")
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("script", "get", "post"),
    [
        (never_answers, (504, "timeout"), (504, "timeout")),
        (closes_early, (502, "bad-gateway"), (502, "bad-gateway")),
        (resets, (502, "bad-gateway"), (502, "bad-gateway")),
    ],
    ids=["never answers", "closes early", "resets"],
)
def test_the_browser_gets_our_reason(
    router: Router, nginx: Nginx, script: Script, get: tuple[int, str], post: tuple[int, str]
) -> None:
    with Worker(unless_joining(script)) as worker:
        join(router, worker)
        assert status(nginx) == get
        assert status(nginx, "POST", b"x" * 10) == post


def test_a_get_survives_a_worker_that_closes_and_a_post_is_not_sent_twice(router: Router, nginx: Nginx) -> None:
    with Worker(unless_joining(closes_early)) as bad, Worker(answers()) as good:
        join(router, bad)
        join(router, good)
        assert [status(nginx)[0] for _ in range(6)] == [200] * 6
        posts = [status(nginx, "POST", b"x")[0] for _ in range(6)]
        assert sorted(posts) == [200] * 3 + [502] * 3


def test_a_refusal_that_comes_before_the_upload_is_over_reaches_the_browser(router: Router, nginx: Nginx) -> None:
    def refuses(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    with Worker(unless_joining(refuses)) as worker:
        join(router, worker)
        for _ in range(5):
            head = f"POST / HTTP/1.1\r\nHost: foo.com\r\nConnection: close\r\nContent-Length: {20 * MEGABYTE}"
            with connect(nginx, head) as client:
                try:
                    client.sendall(bytes(20 * MEGABYTE))
                except OSError:
                    pass  # nginx has its answer and closes
                data = client.recv(100)
            assert data.startswith(b"HTTP/1.1 413")


def test_a_name_that_does_not_resolve_costs_no_request(router: Router, nginx: Nginx) -> None:
    with Worker(answers()) as good:
        send_datagram(router.port, subscription_packet("foo.com", "nowhere.invalid:80"))
        router.wait_line("new pool: foo.com")
        wait_for(lambda: status(nginx)[0] == 503, "the key is known and has no node")
        join(router, good)
        assert [status(nginx)[0] for _ in range(5)] == [200] * 5


def test_a_key_is_known_for_its_grace_and_forgotten_then(router: Router, nginx: Nginx) -> None:
    with Worker(answers()) as worker:
        join(router, worker)
        send_datagram(router.port, subscription_packet("foo.com", worker.address, leave=True))
        wait_for(lambda: status(nginx) == (503, "no-node"), "known, and no node")
        left = time.monotonic()
        wait_for(lambda: status(nginx) == (404, "no-key"), "forgotten", 5)
        assert time.monotonic() - left > 0.7


WEBSOCKET_APP = """
    import uwsgi
    def application(environ, start_response):
        uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv().upper())
"""


def frame(text: bytes) -> bytes:
    """A masked text frame (with a mask of zeros)."""
    return b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text


def test_a_websocket_of_a_real_uwsgi_worker_works_through_uwsgi_pass(nginx: Nginx, router: Router) -> None:
    with UwsgiWorker("ws", subscribe=f"server=127.0.0.1:{router.port},key=foo.com", app=WEBSOCKET_APP) as worker:
        router.wait_line(f"foo.com => new node: {worker.address}")
        head = (
            "GET /chat HTTP/1.1\r\nHost: foo.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
        )
        with connect(nginx, head) as client:
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(1000)
            assert data.startswith(b"HTTP/1.1 101")
            assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data
            for text in (b"hello", b"again"):
                client.sendall(frame(text))
                assert client.recv(100) == b"\x81" + bytes([len(text)]) + text.upper()
                time.sleep(1.2)  # longer than the answer's time-out, which must not count any more


def test_gunicorn_keeping_its_connection_does_not_hold_a_client_that_is_done(router: Router, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
    )
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "--protocol", "uwsgi", "--bind", f"127.0.0.1:{port}", "--worker-class",
        "gthread", "--chdir", str(tmp_path), "app:application",
    ]  # fmt: skip
    with Program(*command) as gunicorn:
        gunicorn.wait_for(lambda: listens(port), "gunicorn listens")
        send_datagram(router.port, subscription_packet("foo.com", f"127.0.0.1:{port}"))
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "gunicorn answers")
        times = []
        for _ in range(3):
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", router.port), 10) as client:
                client.sendall(request_packet("foo.com"))
                client.shutdown(socket.SHUT_WR)
                # gunicorn takes the end of the connection for half a request, and answers that as well.
                assert read_answer(client).body[:2] == b"ok"
            times.append(time.monotonic() - start)
        assert min(times) < 1, "gunicorn would wait for two seconds"


def test_many_browsers_that_leave_at_any_moment_leave_nothing_behind(router: Router, nginx: Nginx) -> None:
    def slow(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(50):
            connection.send(b"x" * 10_000)
            time.sleep(0.002)

    with Worker(unless_joining(slow)) as worker:
        join(router, worker)
        relay = relay_of(router)
        wait_for(lambda: ask(router.port, "nope").status == 404, "it serves")
        before = len(os.listdir(f"/proc/{relay}/fd"))
        go = threading.Barrier(20)

        def leaves(number: int) -> None:
            go.wait()
            for turn in range(5):
                with connect(nginx, "GET / HTTP/1.1\r\nHost: foo.com") as client:
                    client.settimeout(0.001 + (number * 7 + turn) % 11 / 200)
                    try:
                        client.recv(100_000)
                    except TimeoutError:
                        pass

        threads = [threading.Thread(target=leaves, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: len(os.listdir(f"/proc/{relay}/fd")) <= before, "all descriptors are closed")
