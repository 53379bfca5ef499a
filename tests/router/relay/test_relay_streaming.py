"""A real relay: bodies of any size both ways, slow and rude peers, half-closed connections, upgrades."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.relaying import RelayProcess, read_all
from support.uwsgi_client import read_answer, request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker, answers, echoes_body, response

MEGABYTE = 1 << 20


@pytest.fixture(params=["tcp", "unix"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelayProcess]:
    with RelayProcess(tmp_path, unix=request.param == "unix", timeout=2.0) as process:
        yield process


def memory_of(relay: RelayProcess) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{relay.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def send_some(client: socket.socket, data: bytes) -> int:
    """Bytes taken; 0 when none are within the socket's time-out."""
    try:
        return client.send(data)
    except TimeoutError:
        return 0


def test_a_body_of_any_size_arrives_whole_in_both_directions_at_once(relay: RelayProcess) -> None:
    body = os.urandom(20 * MEGABYTE)
    with Worker(echoes_body) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        sender = threading.Thread(target=client.sendall, args=(request_packet("foo.com", "POST", body=body),))
        sender.start()
        assert hashlib.sha1(read_answer(client).body).digest() == hashlib.sha1(body).digest()
        sender.join()


def test_a_client_that_does_not_read_stops_the_worker_and_costs_bounded_memory(relay: RelayProcess) -> None:
    sent: list[int] = []

    def floods(connection: Connection) -> None:
        connection.read_packet()
        connection.sock.settimeout(1.0)
        total = 0
        try:
            while total < 200 * MEGABYTE:
                total += connection.sock.send(b"x" * MEGABYTE)
        except TimeoutError:
            sent.append(total)

    with Worker(floods) as worker:
        relay.serve([("foo.com", worker.address)])
        before = memory_of(relay)
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            wait_for(lambda: sent)
        assert sent[0] < 50 * MEGABYTE
        assert memory_of(relay) - before < MEGABYTE


def test_a_worker_that_does_not_read_stops_the_client_and_costs_bounded_memory(relay: RelayProcess) -> None:
    done = threading.Event()

    def deaf(connection: Connection) -> None:
        connection.read_packet()
        done.wait(10)
        connection.body()
        connection.send(response(b"at last"))

    with Worker(deaf) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        before = memory_of(relay)
        data = request_packet("foo.com", "POST", CONTENT_LENGTH=str(50 * MEGABYTE)) + bytes(50 * MEGABYTE)
        client.settimeout(0.5)
        total = 0
        while sent := send_some(client, data[total : total + MEGABYTE]):
            total += sent
        assert total < len(data)
        assert memory_of(relay) - before < MEGABYTE
        client.settimeout(10)
        done.set()
        client.sendall(data[total:])
        assert read_answer(client).body == b"at last"


def test_pieces_of_an_answer_are_passed_on_as_they_come(relay: RelayProcess) -> None:
    go = threading.Event()

    def in_pieces(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        go.wait(10)
        connection.send(b"second")

    with Worker(in_pieces) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        data = b""
        while not data.endswith(b"first"):
            data += client.recv(100)
        go.set()
        assert read_all(client) == b"second"


def test_a_piece_of_an_answer_does_not_wait_for_the_next_one(relay: RelayProcess) -> None:
    waits = []

    def asks_and_waits(connection: Connection) -> None:
        connection.read_packet()
        connection.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(5):
            connection.sock.sendall(b"piece")
            began = time.monotonic()
            connection.sock.recv(1)
            waits.append(time.monotonic() - began)

    with Worker(asks_and_waits) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com", "POST", CONTENT_LENGTH="5"))
        got = b""
        for count in range(5):
            while got.count(b"piece") <= count:
                got += client.recv(100)
            client.sendall(b"x")
        assert read_all(client) == b""
    # A packet kept for more waits for 0.2 s each time, whatever the machine does meanwhile.
    assert min(waits) < 0.15


def test_an_answer_that_comes_while_the_upload_runs_is_delivered(relay: RelayProcess) -> None:
    def refuses(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    with Worker(refuses) as worker:
        relay.serve([("foo.com", worker.address)])
        for _ in range(3):
            with relay.connect() as client:
                client.sendall(request_packet("foo.com", "POST", CONTENT_LENGTH=str(5 * MEGABYTE)))
                wait_for(lambda: worker.requests)
                client.sendall(bytes(5 * MEGABYTE))
                client.shutdown(socket.SHUT_WR)
                assert read_answer(client).status == 413


def test_a_client_that_half_closes_still_gets_its_answer_and_the_worker_sees_it(relay: RelayProcess) -> None:
    def patient(connection: Connection) -> None:
        connection.read_packet()
        assert connection.until_eof() == b""
        connection.send(response(b"after the end"))

    with Worker(patient) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        client.shutdown(socket.SHUT_WR)
        assert read_answer(client).body == b"after the end"


def test_a_worker_that_keeps_its_connection_does_not_hold_a_client_that_is_done(relay: RelayProcess) -> None:
    ended: list[float] = []

    def keeps(connection: Connection) -> None:
        connection.read_packet()
        connection.send(response(b"all"))
        connection.until_eof()
        ended.append(time.monotonic())

    with Worker(keeps) as worker:
        relay.serve([("foo.com", worker.address)])
        with relay.connect() as client:
            client.sendall(request_packet("foo.com"))
            assert client.recv(1000).endswith(b"all")
            closed = time.monotonic()
        assert wait_for(lambda: ended)[0] - closed < 0.5
        relay.hears(lambda: relay.nodes and relay.nodes["foo.com", worker.address]["in_flight"] == 0)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_is_seen_and_the_workers_side_ends(relay: RelayProcess, how: str) -> None:
    ended: list[float] = []

    def works(connection: Connection) -> None:
        connection.read_packet()
        try:
            connection.until_eof()
        finally:
            ended.append(time.monotonic())

    with Worker(works) as worker:
        relay.serve([("foo.com", worker.address)])
        before = relay.descriptors()
        client = relay.connect()
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        left = time.monotonic()
        client.close()
        assert wait_for(lambda: ended)[0] - left < 0.4
        wait_for(lambda: relay.descriptors() <= before)


def test_an_upgraded_connection_is_a_tunnel(relay: RelayProcess) -> None:
    def websocket(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        while piece := connection.sock.recv(1000):
            connection.send(piece.upper())
        connection.send(b"bye")

    with Worker(websocket) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com", HTTP_UPGRADE="websocket"))
        assert client.recv(1000).endswith(b"\r\n\r\n")
        for word in (b"one", b"two"):
            client.sendall(word)
            assert client.recv(1000) == word.upper()
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"bye"


def test_a_tunnel_whose_worker_is_done_talking_still_listens(relay: RelayProcess) -> None:
    heard: list[bytes] = []

    def listens(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        connection.sock.shutdown(socket.SHUT_WR)
        heard.append(connection.until_eof())

    with Worker(listens) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        read_all(client)
        client.sendall(b"last words")
        client.close()
        assert wait_for(lambda: heard) == [b"last words"]


def test_bytes_nobody_announced_reach_the_worker_too(relay: RelayProcess) -> None:
    def talks(connection: Connection) -> None:
        connection.read_packet()
        connection.send(response(connection.exactly(5)))

    with Worker(talks) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        client.sendall(b"extra")
        assert read_answer(client).body == b"extra"


def test_a_body_that_stalls_is_the_clients_fault_and_ends(tmp_path: Path) -> None:
    def reads(connection: Connection) -> None:
        connection.read_packet()
        connection.body()

    with RelayProcess(tmp_path, client_timeout=0.5) as relay, Worker(reads) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com", "POST", CONTENT_LENGTH="100") + b"half")
        answer = read_answer(client)
        assert (answer.status, answer.headers["x-fastroute-error"]) == (400, "bad-request")


def test_a_stream_that_says_nothing_ends_after_the_idle_time_out(tmp_path: Path) -> None:
    def pauses(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nevent")
        connection.until_eof()

    with RelayProcess(tmp_path, timeout=0.2, idle_timeout=1.0) as relay, Worker(pauses) as worker:
        relay.serve([("foo.com", worker.address)])
        start = time.monotonic()
        assert relay.ask().body == b"event"
        assert 0.9 < time.monotonic() - start < 3


def test_a_reset_in_the_middle_of_an_answer_reaches_a_tcp_client_as_a_reset(tmp_path: Path) -> None:
    go = threading.Event()

    def breaks(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        go.wait(10)
        connection.reset()

    with RelayProcess(tmp_path) as relay, Worker(breaks) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        assert client.recv(1000).endswith(b"half")
        go.set()
        with pytest.raises(ConnectionResetError):
            client.recv(1000)


@pytest.mark.parametrize("size", [10, 100_000, 5 * MEGABYTE])
def test_a_worker_that_ignores_the_body_and_closes_is_heard_to_the_end(relay: RelayProcess, size: int) -> None:
    def ignores(connection: Connection) -> None:
        connection.read_packet()
        connection.send(response(b"x" * 50_000))

    with Worker(ignores) as worker:
        relay.serve([("foo.com", worker.address)])
        for _ in range(10):
            answer = relay.ask(request_packet("foo.com", "POST", body=bytes(size)))
            assert (answer.status, len(answer.body)) == (200, 50_000)


def test_the_end_of_a_body_that_had_to_wait_is_passed_on_behind_it(relay: RelayProcess) -> None:
    def reads_slowly(connection: Connection) -> None:
        connection.read_packet()
        time.sleep(0.3)
        connection.send(response(b"%d" % len(connection.until_eof())))

    with Worker(reads_slowly) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com", "POST", body=bytes(8 * MEGABYTE)))
        client.shutdown(socket.SHUT_WR)
        assert read_answer(client).body == b"%d" % (8 * MEGABYTE)


def test_many_at_once_leave_nothing_behind(relay: RelayProcess) -> None:
    with Worker(answers(b"x" * 100_000)) as worker:
        relay.serve([("foo.com", worker.address)])
        relay.ask()
        before = relay.descriptors()
        results: list[int] = []

        def client() -> None:
            results.extend(len(relay.ask().body) for _ in range(10))

        threads = [threading.Thread(target=client) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [100_000] * 200
        wait_for(lambda: relay.descriptors() <= before)
        relay.hears(lambda: relay.totals.get("in_flight") == 0 and relay.totals["requests"] == 201)
        assert relay.nodes["foo.com", worker.address]["requests"] == 201
