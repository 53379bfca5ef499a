"""A real relay that reads bodies before it asks a worker: from memory or a file, whole or not at all."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest
from support.relaying import RelayProcess, read_all
from support.uwsgi_client import read_answer, request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker, answers, echoes_body, refused_address

LIMIT = 10_000
SIZES = [1, LIMIT, LIMIT + 1, 200_000, 3_000_000]


def files(relay: RelayProcess) -> int:
    """Temporary files that the relay has open."""
    names = [os.readlink(fd) for fd in Path(f"/proc/{relay.process.pid}/fd").iterdir() if int(fd.name) > 2]
    return sum("(deleted)" in name and "memfd" not in name for name in names)


@pytest.mark.parametrize("size", SIZES)
def test_a_worker_is_asked_once_the_body_is_whole_and_gets_all_of_it(tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    packet = request_packet("foo.com", method="POST", body=body)
    with (
        Worker(echoes_body) as worker,
        RelayProcess(tmp_path, post_buffering=LIMIT) as relay,
        relay.connect() as client,
    ):
        relay.serve([("foo.com", refused_address()), ("foo.com", worker.address)])
        client.sendall(packet[:-1])
        client.sendall(packet[-1:])
        assert read_all(client).endswith(body)
        assert files(relay) == 0


def test_without_post_buffering_the_worker_is_asked_at_once(tmp_path: Path) -> None:
    packet = request_packet("foo.com", method="POST", body=b"12")
    with Worker(echoes_body) as worker, RelayProcess(tmp_path) as relay, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(packet[:-1])
        wait_for(lambda: worker.requests)


def test_a_large_body_does_not_stay_in_memory(tmp_path: Path) -> None:
    def peak(relay: RelayProcess) -> int:
        status = Path(f"/proc/{relay.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    body = b"x" * 60_000_000
    with Worker(answers(b"ok")) as worker, RelayProcess(tmp_path, post_buffering=LIMIT) as relay:
        relay.serve([("foo.com", worker.address)])
        relay.ask(request_packet("foo.com", method="POST", body=b"x" * LIMIT * 2))
        before = peak(relay)
        assert relay.ask(request_packet("foo.com", method="POST", body=body)).body == b"ok"
        assert peak(relay) - before < 5_000


@pytest.mark.parametrize("size", [100, LIMIT * 5])
def test_a_body_that_ends_early_reaches_no_worker_and_leaves_nothing_behind(tmp_path: Path, size: int) -> None:
    packet = request_packet("foo.com", method="POST", body=b"x" * size)
    with Worker(echoes_body) as worker, RelayProcess(tmp_path, post_buffering=LIMIT) as relay:
        relay.serve([("foo.com", worker.address)])
        before = relay.descriptors()
        with relay.connect() as client:
            client.sendall(packet[:-10])
            client.shutdown(socket.SHUT_WR)
            answer = read_answer(client)
        assert (answer.status, answer.body) == (400, b"the connection ended 10 bytes before the end of the body\n")
        wait_for(lambda: relay.descriptors() == before)
        assert not worker.requests


def test_a_body_that_stalls_is_given_up(tmp_path: Path) -> None:
    packet = request_packet("foo.com", method="POST", body=b"x" * 100)
    with Worker(echoes_body) as worker, RelayProcess(tmp_path, post_buffering=LIMIT, client_timeout=0.2) as relay:
        relay.serve([("foo.com", worker.address)])
        assert relay.ask(packet[:-10]).body == b"the request's body stalled 10 bytes before its end\n"
        assert not worker.requests


def test_a_client_that_leaves_while_its_worker_thinks_is_seen(tmp_path: Path) -> None:
    gone: list[bytes] = []

    def thinks(connection: Connection) -> None:
        connection.read_packet()
        connection.body()
        gone.append(connection.until_eof())

    with Worker(thinks) as worker, RelayProcess(tmp_path, unix=True, post_buffering=LIMIT) as relay:
        relay.serve([("foo.com", worker.address)])
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", method="POST", body=b"x" * LIMIT * 3))
            wait_for(lambda: worker.requests)
        wait_for(lambda: gone)
        wait_for(lambda: files(relay) == 0)


def test_no_room_for_a_body_is_a_503_that_says_so(tmp_path: Path) -> None:
    packet = request_packet("foo.com", method="POST", body=b"x" * LIMIT * 20)
    with Worker(echoes_body) as worker, RelayProcess(tmp_path, post_buffering=LIMIT) as relay:
        relay.serve([("foo.com", worker.address)])
        # A limit on file sizes stands for a full disk.
        resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (LIMIT * 15, LIMIT * 15))
        answer = relay.ask(packet)
        assert (answer.status, answer.body) == (503, b"this router has no room for the body\n")
        assert "a body can't be buffered" in relay.log
        assert relay.ask(request_packet("foo.com", method="POST", body=b"small")).body == b"small"
