"""A real relay and workers that speak HTTP/1.1, or keep their uwsgi connection: what goes over which connection."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.relaying import RelayProcess, read_all
from support.uwsgi_client import read_answer, request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker, answers, http, read_head, response

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(params=["tcp", "unix"], scope="module")
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One for all tests: each begins with a snapshot of its own."""
    with RelayProcess(tmp_path_factory.mktemp("relay"), unix=request.param == "unix", timeout=5.0) as process:
        yield process


def serve(relay: RelayProcess, *workers: Worker, protocol: str = "http") -> None:
    relay.serve([("foo.com", worker.address, 1, 0, 0, 0, 0, protocol) for worker in workers])


def connections(worker: Worker) -> int:
    return len({id(connection) for connection in worker.requests})


POST = request_packet("foo.com", "POST", body=b"a body")


def test_requests_follow_each_other_on_one_connection(relay: RelayProcess) -> None:
    with Worker(http(HELLO)) as worker:
        serve(relay, worker)
        assert [relay.ask().body for _ in range(4)] == [b"hello"] * 4
        assert [relay.ask(POST).body for _ in range(4)] == [b"hello"] * 4
        assert len(worker.requests) == 8
        assert connections(worker) == 1
        relay.hears(lambda: relay.nodes.get(("foo.com", worker.address), {}).get("requests") == 8)
        relay.hears(lambda: relay.nodes["foo.com", worker.address]["in_flight"] == 0)


def test_concurrent_requests_have_connections_of_their_own(relay: RelayProcess) -> None:
    both = threading.Barrier(2)

    def waits(connection: Connection) -> None:
        both.wait(10)
        connection.send(HELLO)

    with Worker(http(waits)) as worker:
        serve(relay, worker)
        clients = [relay.connect() for _ in range(2)]
        for client in clients:
            client.sendall(request_packet("foo.com"))
        assert [read_answer(client).body for client in clients] == [b"hello"] * 2
        for client in clients:
            client.close()
        assert connections(worker) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and this",
    ],
)
def test_a_connection_is_used_once_where_the_answer_says_so(relay: RelayProcess, answer: bytes) -> None:
    with Worker(http(answer)) as worker:
        serve(relay, worker)
        assert [relay.ask().body for _ in range(3)] == [b"hello"] * 3
        assert connections(worker) == 3


class SaysMore:
    """A worker that answers, and when it may, says something that nobody asked for."""

    def __init__(self) -> None:
        self.may_say, self.said = threading.Event(), threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.send(HELLO)
        self.may_say.wait(10)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        self.said.set()


def test_what_a_worker_says_unasked_is_nobodys_answer(relay: RelayProcess) -> None:
    more = SaysMore()
    with Worker(http(more)) as worker:
        serve(relay, worker)
        assert relay.ask().body == b"hello"
        more.may_say.set()
        assert more.said.wait(10)
        assert relay.ask().body == b"hello"
        assert connections(worker) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nor_is_what_it_says_in_the_same_moment_as_the_next_request_comes(relay: RelayProcess, method: str) -> None:
    more = SaysMore()
    with Worker(http(more)) as worker:
        serve(relay, worker)
        assert relay.ask().body == b"hello"
        with relay.connect() as client:
            # epoll tells of both at once, of the request first: it is stopped where it waits for events.
            state = Path(f"/proc/{relay.process.pid}/stat")
            wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "S", "the relay waits for events")
            relay.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "the relay has stopped")
            client.sendall(request_packet("foo.com", method))
            more.may_say.set()
            assert more.said.wait(10)
            relay.process.send_signal(signal.SIGCONT)
            assert read_answer(client).body == b"hello"
        assert connections(worker) == 2


def test_a_body_goes_up_as_long_as_announced_and_no_further(relay: RelayProcess) -> None:
    with Worker(http(HELLO)) as worker:
        serve(relay, worker)
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: foo.com\r\n\r\n"
        for _ in range(3):
            packet = request_packet("foo.com", "POST", CONTENT_LENGTH="3") + b"abc" + smuggled
            assert relay.ask(packet).status == 200
            assert relay.ask(request_packet("foo.com", CONTENT_LENGTH="0") + smuggled).status == 200
        assert all(b"smuggled" not in connection.header for connection in worker.requests)
        assert len(worker.requests) == 6
        assert connections(worker) == 1


def test_bodies_of_any_size_pass_in_both_directions(relay: RelayProcess) -> None:
    def echoes(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for size in (1, 70_000, 3, 300_000):
            connection.send(b"%x\r\n%b\r\n" % (size, b"x" * size))
        connection.send(b"0\r\nTrailer: dropped\r\n\r\n")

    with Worker(http(echoes)) as worker:
        serve(relay, worker)
        for size in (0, 10, 65_000, 1_000_000):
            answer = relay.ask(request_packet("foo.com", "POST", body=b"b" * size))
            assert answer.body == b"x" * 370_004
            assert "transfer-encoding" not in answer.headers
        assert connections(worker) == 1


def test_pieces_of_an_answer_do_not_wait_for_each_other(relay: RelayProcess) -> None:
    got = threading.Semaphore(0)

    def in_pieces(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            connection.send(b"5\r\npiece\r\n")
            assert got.acquire(timeout=10)
        connection.send(b"0\r\n\r\n")

    with Worker(http(in_pieces)) as worker:
        serve(relay, worker)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            data, begun = b"", time.monotonic()
            for number in range(10):
                while data.count(b"piece") <= number:
                    data += client.recv(1000)
                got.release()
            # A corked socket would hold each for 0.2 s.
            assert time.monotonic() - begun < 1.5
            assert not client.recv(1000)


def test_a_body_in_chunks_is_read_and_written_anew(relay: RelayProcess) -> None:
    seen: list[bytes] = []

    def reads(connection: Connection) -> None:
        seen.append(connection.exactly(len(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")))
        connection.send(HELLO)

    with Worker(http(reads)) as worker:
        serve(relay, worker)
        for rest in (b"4 \r\ndefg\r\n0\r\nX: y\r\n\r\n", b"4\r\ndefg\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"):
            with relay.connect() as client:
                client.sendall(
                    request_packet("foo.com", "POST", HTTP_TRANSFER_ENCODING="chunked") + b"3;x=y\r\nabc\r\n"
                )
                wait_for(lambda: len(worker.requests) > len(seen))
                client.sendall(rest)
                assert read_answer(client).body == b"hello"
        assert seen == [b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"] * 2
        assert b"Transfer-Encoding: chunked\r\n" in worker.requests[0].header
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", "POST", HTTP_TRANSFER_ENCODING="chunked") + b"1\r\nab\r\n")
            assert read_answer(client).status == 400


def in_turn(*answers: bytes) -> Callable[[Connection], None]:
    """One answer after the other, by whichever connection the requests come."""
    left = iter(answers)
    return lambda connection: connection.send(next(left))


def test_interim_answers_head_and_empty_answers(relay: RelayProcess) -> None:
    first = b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO
    no_body = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    nothing = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
    unchanged = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
    with Worker(http(in_turn(first, nothing, no_body, unchanged, HELLO))) as worker:
        serve(relay, worker)
        packet = request_packet("foo.com", "POST", body=b"x", HTTP_EXPECT="100-continue")
        assert relay.ask(packet).body == b"hello"
        assert b"Expect" not in worker.requests[0].header
        assert relay.ask().status == 204
        answer = relay.ask(request_packet("foo.com", "HEAD"))
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "5000", b"")
        assert connections(worker) == 1
        assert [relay.ask().status for _ in range(2)] == [304, 200]
        assert connections(worker) == 3, "HEAD and 304 may have had a body"


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 43\r\n\r\n"),
        ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
def test_a_body_behind_an_answer_that_has_none_is_nobodys_answer(relay: RelayProcess, method: str, head: bytes) -> None:
    """The body comes when the next request is under way, so no look at the connection would help."""
    asked = threading.Event()

    def says_more(connection: Connection) -> None:
        if connection.header.startswith(method.encode() + b" /bodiless "):
            connection.send(head)
            asked.wait(10)
            connection.send(EVIL)
        else:
            asked.set()
            connection.send(HELLO)

    with Worker(http(says_more)) as worker:
        serve(relay, worker)
        assert relay.ask(request_packet("foo.com", method, path="/bodiless")).status < 400
        assert [relay.ask().body for _ in range(3)] == [b"hello"] * 3


def test_a_connection_whose_worker_answered_before_it_had_the_body_is_not_used_again(relay: RelayProcess) -> None:
    answered = threading.Event()

    def early(connection: Connection) -> None:
        if b"\r\nContent-Length: 9\r\n" not in read_head(connection):
            connection.send(HELLO)
            return
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5000\r\n\r\n" + b"x" * 2500)
        assert answered.wait(10)
        connection.exactly(9)
        connection.send(b"x" * 2500)
        http(HELLO)(connection)

    with Worker(early) as worker:
        serve(relay, worker)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", "POST", CONTENT_LENGTH="9") + b"some")
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
            client.sendall(b" more")
            answered.set()
            read_all(client)
        assert relay.ask().body == b"hello"
        assert connections(worker) == 2


@pytest.mark.parametrize("piece", [1, 40, 1000])
def test_interim_answers_of_a_uwsgi_worker_are_not_its_answer(relay: RelayProcess, piece: int) -> None:
    said = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + HELLO

    def in_pieces(connection: Connection) -> None:
        connection.read_packet()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(said), piece):
            connection.send(said[at : at + piece])
            threading.Event().wait(0.002)
        # As gunicorn: it waits for the next request.
        connection.until_eof()

    with Worker(in_pieces) as worker:
        serve(relay, worker, protocol="uwsgi")
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            data = b""
            while len(data) < len(HELLO):
                data += client.recv(1000)
            assert data == HELLO


def test_a_uwsgi_worker_that_ends_behind_an_interim_answer_gave_none(relay: RelayProcess) -> None:
    def breaks(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    with Worker(breaks) as worker:
        serve(relay, worker, protocol="uwsgi")
        refused = relay.ask()
        assert (refused.status, refused.headers["x-fastroute-error"]) == (502, "bad-gateway")
        assert len(worker.requests) == 1, "it had begun"


def test_websockets_are_a_tunnel(relay: RelayProcess) -> None:
    def switches(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        while data := connection.sock.recv(100):
            connection.send(data.upper())

    with Worker(http(switches)) as worker:
        serve(relay, worker)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", HTTP_UPGRADE="websocket", HTTP_CONNECTION="upgrade"))
            data = b""
            while not data.endswith(b"first"):
                data += client.recv(1000)
            assert b"\r\nUpgrade: websocket\r\n" in data
            client.sendall(b"frame")
            assert client.recv(100) == b"FRAME"
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
        assert relay.ask().status == 502, "nobody asked for 101"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x00\x00\x00\x00 this is no HTTP",
    ],
)
def test_an_answer_that_could_be_read_in_two_ways_is_502(relay: RelayProcess, answer: bytes) -> None:
    with Worker(http(answer)) as worker:
        serve(relay, worker)
        for _ in range(2):
            refused = relay.ask()
            assert (refused.status, refused.headers["x-fastroute-error"]) == (502, "bad-gateway")
        assert len(worker.requests) == 2, "never sent twice"
        assert "gave no HTTP/1.1 answer" in relay.log


@pytest.mark.parametrize("name", ["HTTP_X", "REQUEST_URI", "CONTENT_TYPE", "REMOTE_ADDR"])
@pytest.mark.parametrize("evil", ["a\r\nX: y", "a\nb", "a\0"])
def test_a_var_with_a_line_end_never_reaches_a_worker(relay: RelayProcess, name: str, evil: str) -> None:
    with Worker(http(HELLO)) as worker:
        serve(relay, worker)
        refused = relay.ask(request_packet("foo.com", **{name: evil}))  # type: ignore[arg-type]
        assert (refused.status, refused.headers["x-fastroute-error"]) == (400, "bad-request")
        assert not worker.requests


def closes(connection: Connection) -> None:
    """Ends the connection that had answered before."""
    raise EOFError


def test_a_kept_connection_that_ends_without_a_byte_is_repeated_only_where_that_is_allowed(relay: RelayProcess) -> None:
    with Worker(http(HELLO, closes)) as worker:
        serve(relay, worker)
        assert relay.ask().status == 200
        assert relay.ask().body == b"hello", "by a new connection"
        assert (len(worker.requests), connections(worker)) == (3, 2)
        relay.hears(lambda: relay.nodes.get(("foo.com", worker.address), {}).get("requests", 0) >= 2)
        refused = relay.ask(POST)
        assert (refused.status, len(worker.requests)) == (502, 4)
        assert relay.ask(POST).status == 200


def test_a_worker_that_closes_everything_gets_a_request_twice_at_most(relay: RelayProcess) -> None:
    with Worker(http(closes)) as worker:
        serve(relay, worker)
        assert relay.ask().status == 502
        assert len(worker.requests) == 1, "no other node"
        assert relay.ask(POST).status == 502
        assert len(worker.requests) == 2


def test_a_connection_that_waits_long_takes_only_what_may_be_repeated(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(http(HELLO)) as worker:
        serve(relay, worker)
        relay.ask()
        old = relay.descriptors()
        threading.Event().wait(1.1)
        assert relay.ask(POST).status == 200
        assert connections(worker) == 2
        assert relay.descriptors() == old + 1


def test_connections_of_a_node_that_left_are_closed(tmp_path: Path) -> None:
    ended = threading.Event()

    def script(connection: Connection) -> None:
        try:
            http(HELLO)(connection)
        finally:
            ended.set()

    with RelayProcess(tmp_path) as relay, Worker(script) as worker:
        serve(relay, worker)
        before = relay.descriptors()
        assert relay.ask().status == 200
        wait_for(lambda: relay.descriptors() == before + 1)
        relay.tell(["gone", "foo.com", worker.address])
        assert ended.wait(5)
        wait_for(lambda: relay.descriptors() == before)


def test_an_answer_that_breaks_off_is_seen_to_be_cut(tmp_path: Path) -> None:
    def half(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        raise EOFError

    with RelayProcess(tmp_path) as relay, Worker(http(half)) as worker:
        serve(relay, worker)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            with pytest.raises(ConnectionResetError):
                read_all(client)
        assert len(worker.requests) == 1


def test_a_client_that_leaves_in_its_body_ends_the_worker(relay: RelayProcess) -> None:
    ended: list[BaseException] = []

    def script(connection: Connection) -> None:
        read_head(connection)
        try:
            connection.exactly(100)
        except (EOFError, OSError) as error:
            ended.append(error)

    with Worker(script) as worker:
        serve(relay, worker)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", "POST", CONTENT_LENGTH="100") + b"x" * 50)
            wait_for(lambda: worker.requests)
        wait_for(lambda: ended)


def test_a_client_that_is_gone_ends_the_worker(relay: RelayProcess) -> None:
    ended = threading.Event()

    def waits(connection: Connection) -> None:
        try:
            connection.until_eof()
        finally:
            ended.set()

    with Worker(http(waits)) as worker:
        serve(relay, worker)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            wait_for(lambda: worker.requests)
            # By TCP only a reset says so: a close might be no more than the end of the request.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert ended.wait(5)


def test_a_client_that_half_closes_gets_its_answer_and_the_worker_sees_nothing_of_it(relay: RelayProcess) -> None:
    ends = threading.Event()

    def patient(connection: Connection) -> None:
        connection.sock.settimeout(0.3)
        try:
            assert not connection.sock.recv(1)
            ends.set()
        except TimeoutError:
            connection.sock.settimeout(10)
        connection.send(HELLO)

    with Worker(http(patient)) as worker:
        serve(relay, worker)
        for _ in range(2):
            with relay.connect() as client:
                client.sendall(request_packet("foo.com"))
                client.shutdown(socket.SHUT_WR)
                assert read_answer(client).body == b"hello"
        assert not ends.is_set()
        assert connections(worker) == 1


def test_a_worker_that_does_not_answer_in_time_is_504_and_its_connection_is_not_used_again(tmp_path: Path) -> None:
    late = threading.Event()

    def sleeps(connection: Connection) -> None:
        late.wait(10)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    with RelayProcess(tmp_path, timeout=0.5) as relay, Worker(http(HELLO, sleeps)) as worker:
        serve(relay, worker)
        assert [relay.ask().status for _ in range(2)] == [200, 504]
        late.set()
        assert relay.ask().body == b"hello"
        assert connections(worker) == 2


def test_http_and_uwsgi_nodes_serve_one_key(relay: RelayProcess) -> None:
    with Worker(http(closes)) as http_worker, Worker(answers(b"uwsgi")) as uwsgi_worker:
        relay.serve([("foo.com", http_worker.address, 1, 0, 0, 0, 0, "http"), ("foo.com", uwsgi_worker.address, 1)])
        assert [relay.ask().body for _ in range(4)] == [b"uwsgi"] * 4
        assert http_worker.requests


def test_a_body_that_is_read_before_goes_to_http_workers_too(tmp_path: Path) -> None:
    with (
        RelayProcess(tmp_path, post_buffering=1000) as relay,
        Worker(http(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nBODY", lambda connection: None)) as worker,
    ):
        serve(relay, worker)
        for size in (10, 999, 200_000):
            body = b"%d" % size * (size // len(str(size)))
            with relay.connect() as client:
                packet = request_packet("foo.com", "POST", body=body)
                client.sendall(packet[:400])
                client.sendall(packet[400:])
                data = b""
                while len(data.partition(b"\r\n\r\n")[2]) < len(body):
                    data += client.recv(1 << 16)
            assert data.endswith(b"\r\n\r\n" + body)


# Workers that speak uwsgi and keep the connection, as gunicorn does.


def keeper(connection: Connection) -> None:
    while True:
        connection.read_packet()
        connection.body()
        if b"HTTP_UPGRADE" in connection.vars:
            connection.send(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nhello")
            connection.send(connection.until_eof().upper())
            return
        connection.send(response(b"hello"))


def test_uwsgi_connections_are_reused_once_a_worker_has_proved_that_it_keeps_them(relay: RelayProcess) -> None:
    with Worker(keeper) as worker:
        serve(relay, worker, protocol="uwsgi")

        def ask(packet: bytes) -> bytes:
            """As nginx: leave when the answer is whole."""
            with relay.connect() as client:
                client.sendall(packet)
                data = b""
                while not data.endswith(b"hello"):
                    data += client.recv(1000)
                return data

        expected = ask(request_packet("foo.com"))

        def reused() -> bool:
            before = connections(worker)
            assert ask(request_packet("foo.com")) == expected
            return connections(worker) == before

        wait_for(reused, seconds=5)
        before = connections(worker)
        for _ in range(3):
            assert ask(POST) == expected
        assert connections(worker) == before
        # What was not announced is for this worker only.
        assert ask(request_packet("foo.com") + b"more") == expected
        spoilt = worker.requests[-1]
        assert [ask(POST) for _ in range(3)] == [expected] * 3
        assert spoilt not in worker.requests[-3:]
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", HTTP_UPGRADE="websocket"))
            while not client.recv(1000).endswith(b"hello"):
                pass
            client.sendall(b"frame")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"FRAME"


def test_a_worker_that_is_slow_to_close_is_not_taken_for_one_that_keeps(tmp_path: Path) -> None:
    may_close = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        connection.send(response(b"hello"))
        may_close.wait(0.2)

    with RelayProcess(tmp_path) as relay, Worker(slow) as worker:
        serve(relay, worker, protocol="uwsgi")
        for _ in range(4):
            with relay.connect() as client:
                client.sendall(request_packet("foo.com"))
                assert client.recv(1000).endswith(b"hello")
            threading.Event().wait(0.12)
        for packet in [POST, request_packet("foo.com")] * 2:
            assert relay.ask(packet).body == b"hello"
        assert connections(worker) == len(worker.requests) == 8
