"""What passes through: bodies, answers, half-closed connections, large vars."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from itertools import islice

import pytest
from oracle.differences import differs
from oracle.subjects import Named, Pair, Subject
from support.programs import wait_for
from support.uwsgi_client import read_answer, request_packet
from support.workers import Connection, Worker, answers, echoes_body, response

Workers = tuple[Named, Named, Named]


@pytest.mark.parametrize("size", [0, 1, 4_096, 70_000, 3_000_000])
def test_a_body_arrives_whole_and_its_echo_too(plain: Pair, size: int) -> None:
    body = os.urandom(size)
    for subject in plain:
        with Worker(echoes_body) as worker:
            subject.subscribe(f"echo{size}.example", worker.address)
            answer = subject.ask(f"echo{size}.example", method="POST", body=body)
            assert hashlib.sha1(answer.body).digest() == hashlib.sha1(body).digest(), subject.name


@pytest.mark.parametrize("size", [10, 70_000, 5_000_000])
def test_a_large_answer_arrives_whole(plain: Pair, size: int) -> None:
    for subject in plain:
        with Worker(answers(b"x" * size)) as worker:
            subject.subscribe(f"large{size}.example", worker.address)
            assert len(subject.ask(f"large{size}.example").body) == size, subject.name


@pytest.mark.parametrize("size", [4_000, 20_000, 60_000, 65_000])
def test_vars_of_any_size_arrive_as_sent(plain: Pair, size: int) -> None:
    for subject in plain:
        with Worker(answers()) as worker:
            subject.subscribe(f"vars{size}.example", worker.address)
            assert subject.ask(f"vars{size}.example", HTTP_COOKIE="c" * size).status == 200, subject.name
            assert worker.requests[0].vars[b"HTTP_COOKIE"] == b"c" * size, subject.name


def test_a_packet_may_come_byte_by_byte(plain: Pair, abc: Workers) -> None:
    packet = request_packet("bytes.example")
    for subject in plain:
        subject.subscribe("bytes.example", abc[0].address)
        with subject.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in packet:
                client.sendall(bytes([byte]))
            assert read_answer(client).node == "a", subject.name


def test_the_vars_are_passed_on_byte_for_byte_repeats_and_all(plain: Pair) -> None:
    seen: list[bytes] = []

    def records(connection: Connection) -> None:
        seen.append(connection.exactly(len(packet)))
        connection.send(response(b"ok"))

    packet = request_packet("same.example", HTTP_X="1")
    packet = packet[:1] + (len(packet) - 4 + 10).to_bytes(2, "little") + packet[3:] + b"\x04\x00same\x02\x00xy"
    for subject in plain:
        with Worker(records) as worker:
            subject.subscribe("same.example", worker.address)
            with subject.connect(packet) as client:
                assert read_answer(client).body == b"ok", subject.name
    assert seen == [packet, packet]


def test_an_upgraded_connection_is_a_tunnel(plain: Pair) -> None:
    def shouts(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while piece := connection.sock.recv(100):
            connection.send(piece.upper())

    for subject in plain:
        with Worker(shouts) as worker:
            subject.subscribe("tunnel.example", worker.address)
            with subject.connect(request_packet("tunnel.example")) as client:
                assert client.recv(100).endswith(b"\r\n\r\n")
                for word in (b"one", b"two"):
                    client.sendall(word)
                    assert client.recv(100) == word.upper(), subject.name


def test_a_client_that_leaves_ends_the_workers_connection(plain: Pair) -> None:
    gone: list[bytes] = []

    def waits(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        gone.append(connection.until_eof())

    for number, subject in enumerate(plain):
        with Worker(waits) as worker:
            subject.subscribe("leaver.example", worker.address)
            with subject.connect(request_packet("leaver.example")) as client:
                assert client.recv(100)
            wait_for(lambda number=number: len(gone) == number + 1, f"{subject.name}: the worker sees it", 2)


@differs("client half-closes")
def test_a_client_that_half_closes_gets_its_answer_only_here(plain: Pair) -> None:
    def patient(connection: Connection) -> None:
        connection.read_packet()
        assert connection.until_eof() == b""
        connection.send(response(b"late"))

    for subject in plain:
        with Worker(patient) as worker:
            subject.subscribe("half.example", worker.address)
            with subject.connect(request_packet("half.example")) as client:
                client.shutdown(socket.SHUT_WR)
                assert read_answer(client).body == (b"late" if subject is plain.ours else b""), subject.name


@differs("an answer before the body is read")
def test_an_answer_that_comes_before_the_body_is_read_is_delivered_only_here(plain: Pair) -> None:
    def refuses(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    def tries(subject: Subject) -> Iterator[int]:
        with Worker(refuses) as worker:
            subject.subscribe("early.example", worker.address)
            for _ in range(100):
                with subject.connect() as client:
                    try:
                        client.sendall(request_packet("early.example", "POST", body=bytes(20_000_000)))
                    except OSError:
                        pass
                    yield _status(client)

    assert set(islice(tries(plain.ours), 5)) == {413}
    # Whether the answer or the reset is seen first is chance there.
    assert any(status != 413 for status in tries(plain.original))


def _status(client: socket.socket) -> int:
    try:
        return read_answer(client).status
    except OSError:
        return 0
