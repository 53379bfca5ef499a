"""A real relay's HTTP front: clients that keep their connection, in front of workers of both protocols."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.relaying import RelayProcess, read_all
from support.uwsgi_client import request_packet
from support.waiting import wait_for
from support.workers import Connection, Script, Worker, answers, closes_early, echoes_body, http, read_head, response

from fastroute.router.relay.http.request_head import MAX_REQUEST_HEAD


@pytest.fixture(params=["tcp", "unix"], scope="module")
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One for all tests: each begins with a snapshot of its own."""
    directory = tmp_path_factory.mktemp("relay")
    with RelayProcess(
        directory, unix=request.param == "unix", http=True, timeout=5.0, client_timeout=1.0, idle_timeout_http=0.5
    ) as process:
        yield process


class Client:
    """One connection; what comes back is read by h11."""

    def __init__(self, relay: RelayProcess) -> None:
        self.sock = relay.connect_http()
        self._state = h11.Connection(h11.CLIENT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, text: str | bytes) -> None:
        self.sock.sendall(text.encode("latin-1") if isinstance(text, str) else text)

    def send_all(self, data: bytes) -> None:
        """As much of ``data`` as the relay takes."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def read(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body.  h11 fails when it is broken off."""
        self._state.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        self._state.send(h11.EndOfMessage())
        body = b""
        while True:
            event = self._state.next_event()
            if event is h11.NEED_DATA:
                self._state.receive_data(self.sock.recv(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
        return status, headers, body

    def ask(self, text: str | bytes, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        self.send(text)
        return self.read(method)

    @property
    def is_closed(self) -> bool:
        """Whether the relay has ended the connection, now or within the deadline."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def get(path: str = "/", host: str = "foo.com", *lines: str, method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {host}", *lines, "", ""])


def post(body: bytes, *lines: str) -> bytes:
    return get("/", "foo.com", f"Content-Length: {len(body)}", *lines, method="POST").encode() + body


def chunked(*parts: bytes) -> bytes:
    head = get("/", "foo.com", "Transfer-Encoding: chunked", method="POST").encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def serve(relay: RelayProcess, worker: Worker, protocol: str) -> None:
    relay.serve([("foo.com", worker.address, 1, 0, 0, 0, 0, protocol)])


def uwsgi(answer: bytes) -> Script:
    def script(connection: Connection) -> None:
        connection.read_packet()
        connection.send(answer.replace(b"BODY", connection.body()))

    return script


def worker_that(protocol: str, answer: bytes) -> Worker:
    """Says ``answer`` to each request, in which BODY is the request's."""
    return Worker(http(answer) if protocol == "http" else uwsgi(answer))


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "uwsgi"])


@PROTOCOLS
def test_requests_follow_each_other_on_one_connection(relay: RelayProcess, protocol: str) -> None:
    with worker_that(protocol, HELLO) as worker, Client(relay) as client:
        serve(relay, worker, protocol)
        for _ in range(3):
            status, headers, body = client.ask(get())
            assert (status, body) == (200, b"hello")
            assert "connection" not in headers
        assert len(worker.requests) == 3


@PROTOCOLS
def test_pipelined_requests_are_answered_in_order_and_none_is_lost(relay: RelayProcess, protocol: str) -> None:
    with worker_that(protocol, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nBODY") as worker, Client(relay) as client:
        serve(relay, worker, protocol)
        bodies = [b"%03d" % number for number in range(200)]
        client.send(b"".join(post(body) for body in bodies))
        assert [client.read()[2] for _ in bodies] == bodies


def test_bytes_behind_a_request_are_not_read_without_bound(relay: RelayProcess) -> None:
    goes_on = threading.Event()

    def waits(connection: Connection) -> None:
        connection.read_packet()
        goes_on.wait(10)
        connection.send(HELLO)

    with Worker(waits) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        client.send(get())
        wait_for(lambda: worker.requests)
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.send(b"x" * (64 << 20))
        goes_on.set()
        client.sock.settimeout(10)
        assert client.read()[0] == 200
        assert client.read()[0] == 413
        assert client.is_closed


@PROTOCOLS
@pytest.mark.parametrize(
    ("answer", "body", "framing"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", "content-length"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", b"hello", "transfer-encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n", b"hello",
         "transfer-encoding"),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", b"", ""),
        (b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n", b"", ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello",
         "content-length"),
    ],
)  # fmt: skip
def test_answers_leave_the_connection_open(
    relay: RelayProcess, protocol: str, answer: bytes, body: bytes, framing: str
) -> None:
    def then_closes(connection: Connection) -> None:
        connection.send(answer)
        if b"Connection: close" in answer:
            connection.sock.shutdown(socket.SHUT_RDWR)

    worker = Worker(http(then_closes)) if protocol == "http" else Worker(uwsgi(answer))
    with worker, Client(relay) as client:
        serve(relay, worker, protocol)
        for _ in range(2):
            _, headers, got = client.ask(get())
            assert got == body
            assert {"content-length", "transfer-encoding"} & set(headers) == ({framing} if framing else set())


@PROTOCOLS
def test_head(relay: RelayProcess, protocol: str) -> None:
    with worker_that(protocol, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n") as worker:
        serve(relay, worker, protocol)
        with Client(relay) as client:
            for _ in range(2):
                status, headers, body = client.ask(get(method="HEAD"), "HEAD")
                assert (status, headers["content-length"], body) == (200, "7", b"")


@PROTOCOLS
@pytest.mark.parametrize("how", ["1.0", "close"])
def test_connections_that_do_not_stay(relay: RelayProcess, protocol: str, how: str) -> None:
    request = get(version="1.0") if how == "1.0" else get("/", "foo.com", "Connection: close")
    with worker_that(protocol, HELLO) as worker, Client(relay) as client:
        serve(relay, worker, protocol)
        status, headers, body = client.ask(request)
        assert (status, headers["connection"], body) == (200, "close", b"hello")
        assert client.is_closed


@PROTOCOLS
@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_bodies(relay: RelayProcess, protocol: str, size: int) -> None:
    body = b"x" * size
    with (
        worker_that(protocol, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nBODY" % size) as worker,
        Client(relay) as client,
    ):
        serve(relay, worker, protocol)
        for _ in range(2):
            status, headers, got = client.ask(post(body))
            assert (status, got) == (200, body)
            assert "connection" not in headers


@PROTOCOLS
def test_an_answer_before_the_end_of_the_body_is_the_last_of_its_connection(relay: RelayProcess, protocol: str) -> None:
    """Nobody knows then whether the worker reads the rest; if it does, its whole answer arrives all the same."""

    def answers_at_once(connection: Connection) -> None:
        if protocol == "http":
            read_head(connection)
        else:
            connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + connection.exactly(5))
        connection.send(connection.exactly(5))

    with Worker(answers_at_once) as worker, Client(relay) as client:
        serve(relay, worker, protocol)
        client.send(post(b"firstother")[:-5])
        begun = b""
        while not begun.endswith(b"first"):
            begun += client.sock.recv(1000)
        assert b"\r\nConnection: close\r\n" in begun
        client.send("other")
        assert read_all(client.sock) == b"other"


@pytest.mark.parametrize("parts", [(), (b"abc",), (b"abc", b"de" * 50_000, b"f"), (b"x" * 262_000,)])
def test_a_uwsgi_worker_gets_a_body_in_chunks_with_its_length(relay: RelayProcess, parts: tuple[bytes, ...]) -> None:
    with Worker(echoes_body) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        client.send(chunked(*parts) + get().encode())
        assert client.read()[2] == b"".join(parts)
        assert client.read()[0] == 200
        assert worker.requests[0].vars[b"CONTENT_LENGTH"] == b"%d" % len(b"".join(parts))
        assert b"HTTP_TRANSFER_ENCODING" not in worker.requests[0].vars


def test_an_http_worker_gets_a_body_in_chunks_as_it_comes(relay: RelayProcess) -> None:
    got = []

    def reads_chunks(connection: Connection) -> None:
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.exactly(1)
        got.append(body)
        connection.send(HELLO)

    with Worker(http(reads_chunks)) as worker, Client(relay) as client:
        serve(relay, worker, "http")
        client.send(chunked(b"abc", b"de") + chunked(b"f"))
        assert [client.read()[2] for _ in range(2)] == [b"hello"] * 2
        assert got == [b"5\r\nabcde\r\n0\r\n\r\n", b"1\r\nf\r\n0\r\n\r\n"]
        assert b"Transfer-Encoding: chunked\r\n" in worker.requests[0].header


@PROTOCOLS
def test_a_client_that_waits_for_100_is_told_to_go_on(relay: RelayProcess, protocol: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nBODY"
    with worker_that(protocol, answer) as worker, Client(relay) as client:
        serve(relay, worker, protocol)
        client.send(get("/", "foo.com", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        line = b""
        while not line.endswith(b"\r\n\r\n"):
            line += client.sock.recv(1)
        assert line == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.ask(b"12345")[2] == b"12345"
        assert b"xpect" not in worker.requests[0].header
        assert b"HTTP_EXPECT" not in worker.requests[0].vars


@PROTOCOLS
def test_an_upgrade_is_a_tunnel(relay: RelayProcess, protocol: str) -> None:
    switch = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def upgrades(connection: Connection) -> None:
        if protocol == "uwsgi":
            connection.read_packet()
            assert connection.vars[b"HTTP_UPGRADE"] == b"websocket"
        connection.send(switch)
        connection.send(connection.exactly(5))
        connection.send(connection.exactly(4))
        connection.sock.shutdown(socket.SHUT_WR)
        connection.until_eof()

    with Worker(http(upgrades) if protocol == "http" else upgrades) as worker, Client(relay) as client:
        serve(relay, worker, protocol)
        client.send(get("/", "foo.com", "Upgrade: websocket", "Connection: Upgrade") + "early")
        got = b""
        while not got.endswith(b"early"):
            got += client.sock.recv(100)
        assert got == switch + b"early"
        client.send("late")
        assert client.sock.recv(4) == b"late"
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed


@PROTOCOLS
@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
)  # fmt: skip
def test_an_answer_that_breaks_off_is_seen_to_be_broken(relay: RelayProcess, protocol: str, answer: bytes) -> None:
    def breaks_off(connection: Connection) -> None:
        connection.send(answer)
        connection.sock.shutdown(socket.SHUT_RDWR)

    worker = Worker(http(breaks_off)) if protocol == "http" else Worker(uwsgi(answer))
    with worker, Client(relay) as client:
        serve(relay, worker, protocol)
        client.send(get())
        with pytest.raises((h11.RemoteProtocolError, ConnectionResetError)):
            client.read()


def test_own_answers_keep_the_connection_where_the_body_was_read(relay: RelayProcess) -> None:
    relay.serve(keys=["down.com"])
    with Client(relay) as client:
        assert client.ask(get("/", "nobody"))[0] == 404
        assert client.ask(get("/", "down.com"))[0] == 503
        body = get("/", "nobody", "Content-Length: 5", method="POST")
        assert client.ask(body + "12345")[0] == 404
        status, headers, body_ = client.ask(get("/", "nobody", method="HEAD"), "HEAD")
        assert (status, body_, headers["x-fastroute-error"]) == (404, b"", "no-key")
        status, headers, _ = client.ask(body + "12")
        assert (status, headers["connection"]) == (404, "close")
        client.send("345" + get())
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed
    with Client(relay) as client:
        request = get("/", "nobody", "Transfer-Encoding: chunked", method="POST")
        assert client.ask(request + "5\r\nabcde\r\n0\r\n\r\n" + get())[1]["connection"] == "close"


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\r\n\r\n", get("/\0"), get("/", "a b"), get("/..", "foo.com"), get() + "x", "\0\1\0\0a",
        get("/", "foo.com", "Content-Length: 1", "Transfer-Encoding: chunked"), get("/", "foo.com", "Host: bar.com"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_ends_the_connection(relay: RelayProcess, text: str) -> None:
    with Worker(answers()) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        first = text == get() + "x"
        client.send(text + ("\r\n\r\n" + get() if first else get("/smuggled")))
        if first:
            assert client.read()[0] == 200
        status, headers, _ = client.read()
        assert (status, headers["x-fastroute-error"], headers["connection"]) == (400, "bad-request", "close")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed
        assert len(worker.requests) == int(first)


def test_a_head_that_is_too_large(relay: RelayProcess) -> None:
    with Client(relay) as client:
        client.send(get("/", "foo.com", "X: " + "x" * MAX_REQUEST_HEAD))
        status, headers, _ = client.read()
        assert (status, headers["x-fastroute-error"]) == (413, "too-large")


def test_a_bad_chunk_ends_the_request(relay: RelayProcess) -> None:
    with Worker(answers()) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        request = get("/", "foo.com", "Transfer-Encoding: chunked", method="POST")
        assert client.ask(request + "5\r\nabcdef\r\n0\r\n\r\n")[0] == 400
        assert not worker.requests


def test_a_worker_that_does_not_answer_is_a_502(relay: RelayProcess) -> None:
    with Worker(closes_early) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        assert client.ask(post(b"x"))[0] == 502
        with Worker(answers()) as other:
            serve(relay, other, "uwsgi")
            assert client.ask(get())[2] == b"hello"


def test_a_silent_client_is_closed(relay: RelayProcess) -> None:
    with Worker(answers()) as worker, Client(relay) as idle, Client(relay) as slow, Client(relay) as mute:
        serve(relay, worker, "uwsgi")
        idle.ask(get())
        slow.send("GET / HT")
        assert idle.is_closed
        assert slow.read()[0] == 400
        assert mute.is_closed


def test_a_client_that_is_gone_costs_nothing(relay: RelayProcess) -> None:
    goes_on = threading.Event()

    def waits(connection: Connection) -> None:
        connection.read_packet()
        goes_on.wait(10)
        connection.send(HELLO)

    with Worker(waits) as worker:
        serve(relay, worker, "uwsgi")
        before = relay.descriptors()
        clients = [Client(relay) for _ in range(5)]
        for client in clients:
            client.send(get())
        wait_for(lambda: len(worker.requests) == 5)
        for client in clients:
            client.sock.close()
        goes_on.set()
        wait_for(lambda: relay.descriptors() <= before)


def test_who_asks_and_for_whom(relay: RelayProcess) -> None:
    with Worker(answers()) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        client.ask(get("/", "foo.com", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"))
        said = worker.requests[0].vars
        on_unix = isinstance(relay.http_front, str)
        # The relay of this test trusts no networks, so only a unix socket's peers are believed.
        assert said[b"REMOTE_ADDR"] == (b"203.0.113.9" if on_unix else b"127.0.0.1")
        assert said[b"REQUEST_SCHEME"] == (b"https" if on_unix else b"http")
        assert (b"HTTPS" in said) == on_unix


def test_both_fronts_give_the_same_statuses(relay: RelayProcess) -> None:
    with Worker(closes_early) as broken, Client(relay) as client:
        relay.serve([("broken.com", broken.address)], keys=["down.com"])
        for host, status in (("broken.com", 502), ("down.com", 503), ("nobody", 404)):
            assert relay.ask(request_packet(host)).status == status
            assert client.ask(get("/", host))[0] == status


def test_draining_closes_idle_connections_and_says_so_in_answers(tmp_path: Path) -> None:
    goes_on = threading.Event()

    def waits(connection: Connection) -> None:
        connection.read_packet()
        goes_on.wait(10)
        connection.send(HELLO)

    with RelayProcess(tmp_path, http=True) as relay, Worker(waits) as worker:
        serve(relay, worker, "uwsgi")
        with Client(relay) as idle, Client(relay) as busy:
            busy.send(get())
            wait_for(lambda: worker.requests)
            assert idle.ask(get("/", "nobody"))[0] == 404
            relay.terminate()
            assert idle.is_closed
            goes_on.set()
            status, headers, body = busy.read()
            assert (status, headers["connection"], body) == (200, "close", b"hello")
            assert busy.is_closed
        assert relay.process.wait(10) == 0


def test_idle_connections_give_way_when_descriptors_run_short(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, http=True, descriptors=256) as relay, Worker(answers()) as worker:
        serve(relay, worker, "uwsgi")
        clients = []
        for _ in range(400):
            client = Client(relay)
            clients.append(client)
            assert client.ask(get())[0] == 200
        assert relay.ask().status == 200
        for client in clients:
            client.sock.close()


def test_a_kept_connection_costs_less_than_2_kilobytes(tmp_path: Path) -> None:
    count = 2000
    with RelayProcess(tmp_path, http=True, unix=True) as relay, Worker(answers()) as worker, ExitStack() as stack:
        serve(relay, worker, "uwsgi")

        def memory() -> int:
            return int(Path(f"/proc/{relay.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        def connect(number: int) -> None:
            for _ in range(number):
                client = stack.enter_context(Client(relay))
                assert client.ask(get("/nobody", "foo.com", "User-Agent: x"))[0] == 200

        connect(200)
        before = memory()
        connect(count)
        assert (memory() - before) / count < 2048


def test_a_uwsgi_worker_that_keeps_its_connection_is_noticed(relay: RelayProcess) -> None:
    def keeps(connection: Connection) -> None:
        while True:
            connection.read_packet()
            connection.send(HELLO)

    with Worker(keeps) as worker:
        serve(relay, worker, "uwsgi")

        def is_used_again() -> bool:
            # Each time another client: on a busy machine, this one may have been silent for too long meanwhile.
            with Client(relay) as client:
                assert client.ask(get())[2] == b"hello"
            return len({id(request) for request in worker.requests}) < len(worker.requests)

        wait_for(is_used_again)


@pytest.mark.parametrize("way", ["close", "upgrade"])
def test_what_comes_behind_the_last_request_does_not_destroy_its_answer(relay: RelayProcess, way: str) -> None:
    line = "Connection: close" if way == "close" else "Connection: Upgrade\r\nUpgrade: websocket"
    with Worker(answers(b"x" * 300_000)) as worker, Client(relay) as client:
        serve(relay, worker, "uwsgi")
        client.send(get("/", "foo.com", line) + get() * 20)
        status, headers, body = client.read()
        assert (status, len(body), headers["connection"]) == (200, 300_000, "close")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed
        assert len(worker.requests) == 1


#: Method, host, body in parts, and whether those are chunks.
ASKED = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "HEAD"]),
        st.sampled_from(["foo.com", "foo.com", "nobody"]),
        st.lists(st.binary(min_size=1, max_size=9) | st.just(b"x" * 70_000), max_size=3),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, cuts=st.lists(st.integers(1, 400), max_size=12))
def test_whatever_comes_in_whatever_pieces_each_request_gets_its_answer(
    echoing: RelayProcess, asked: list[tuple[str, str, list[bytes], bool]], cuts: list[int]
) -> None:
    sent = b""
    expected: list[tuple[str, int, bytes | None]] = []
    for method, host, parts, in_chunks in asked:
        body = b"".join(parts)
        framing = "Transfer-Encoding: chunked" if in_chunks else f"Content-Length: {len(body)}"
        sent += get("/", host, framing, method=method).encode()
        sent += b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n" if in_chunks else body
        if host == "nobody":
            expected.append((method, 404, None))
            if in_chunks or body:
                # Its body may not be there yet, and then nothing comes after the answer.
                break
        else:
            expected.append((method, 200, b"" if method == "HEAD" else body))
    with Client(echoing) as client:
        for cut in cuts:
            client.send(sent[:cut])
            sent = sent[cut:]
        sender = threading.Thread(target=client.send_all, args=(sent,))
        sender.start()
        for method, status, answer in expected:
            got, _, text = client.read(method)
            assert got == status
            assert answer is None or text == answer
        client.sock.shutdown(socket.SHUT_RDWR)
        sender.join()


@pytest.fixture(scope="module", params=["http", "uwsgi"])
def echoing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay before a worker of this protocol that sends each body back."""

    def echoes_http(connection: Connection) -> None:
        while True:
            head = read_head(connection)
            body = b""
            if b"chunked" in head:
                while size := int(read_line(connection), 16):
                    body += connection.exactly(size + 2)[:-2]
                connection.exactly(2)
            else:
                body = connection.exactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or b"0"))
            connection.send(response(b"" if head.startswith(b"HEAD") else body))

    def echoes_uwsgi(connection: Connection) -> None:
        connection.read_packet()
        body = connection.body()
        connection.send(response(b"" if connection.vars[b"REQUEST_METHOD"] == b"HEAD" else body))

    with (
        RelayProcess(tmp_path_factory.mktemp("relay"), http=True) as relay,
        Worker(echoes_http if request.param == "http" else echoes_uwsgi) as worker,
    ):
        serve(relay, worker, request.param)
        yield relay


def read_line(connection: Connection) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += connection.exactly(1)
    return line
