"""A real relay: when a request is tried elsewhere, and when it must not be.  Ejection and its end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.relaying import RelayProcess
from support.uwsgi_client import read_answer, request_packet
from support.waiting import wait_for
from support.workers import BlackHole, Connection, Script, Worker, answers, closes_early, refused_address, resets


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    with RelayProcess(tmp_path, connect_timeout=0.4) as process:
        yield process


@pytest.fixture
def black_hole() -> Iterator[BlackHole]:
    with BlackHole() as hole:
        yield hole


def full_unix_socket(path: Path) -> list[socket.socket]:
    """A listening unix socket whose queue takes nothing more."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    clients = [listener]
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        clients.append(client)
        if client.connect_ex(str(path)):
            return clients


@pytest.mark.parametrize("kind", ["refused", "missing socket", "full socket", "black hole", "unreachable"])
def test_every_kind_of_connect_failure_ejects_and_goes_to_another_node(
    relay: RelayProcess, tmp_path: Path, black_hole: BlackHole, kind: str
) -> None:
    held: list[socket.socket] = []
    if kind == "refused":
        bad = refused_address()
    elif kind == "missing socket":
        bad = str(tmp_path / "nowhere")
    elif kind == "full socket":
        bad = str(tmp_path / "full")
        held = full_unix_socket(tmp_path / "full")
    elif kind == "black hole":
        bad = black_hole.address
    else:
        bad = "255.255.255.255:80"
    with Worker(answers()) as good:
        relay.serve([("foo.com", bad), ("foo.com", good.address)])
        posts = [relay.ask(request_packet("foo.com", "POST", body=b"b" * 200_000)) for _ in range(4)]
        assert [answer.status for answer in posts] == [200] * 4
        failed = relay.hears(lambda: [message for message in relay.said if message[0] == "failed"])
        assert failed[0][1:3] == ["foo.com", bad]
        assert 0 < failed[0][4] < 1
        relay.hears(lambda: relay.nodes.get(("foo.com", bad), {}).get("ejected") == 1)
        assert "ejected for" in relay.log
    for sock in held:
        sock.close()


def test_at_most_max_retries_other_nodes_are_tried(tmp_path: Path) -> None:
    bad = [("foo.com", refused_address()) for _ in range(6)]
    with RelayProcess(tmp_path, max_retries=2) as relay:
        relay.serve(bad)
        assert relay.ask().status == 502
        relay.hears(lambda: sum(node["failures"] for node in relay.nodes.values()) == 3)


def test_502_when_every_node_failed_then_503_until_one_may_be_tried_again(relay: RelayProcess) -> None:
    worker = Worker(answers())
    relay.serve([("foo.com", worker.address)])
    port = int(worker.address.split(":")[1])
    worker.close()
    first = relay.ask()
    assert (first.status, first.headers["x-fastroute-error"]) == (502, "bad-gateway")
    assert first.body == b"no worker of foo.com could be reached (1 tried)\n"
    assert relay.ask().status == 503
    with Worker(answers(), port=port):
        wait_for(lambda: relay.ask().status == 200, seconds=1.5)
    assert ["recovered", "foo.com", worker.address] in relay.hears(
        lambda: relay.said if relay.said[-1][0] == "recovered" else None
    )


@pytest.mark.parametrize("script", [closes_early, resets])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_a_request_that_changes_nothing_is_sent_once_more_when_a_worker_closes_without_a_byte(
    relay: RelayProcess, script: Script, method: str
) -> None:
    with Worker(script) as bad, Worker(answers()) as good:
        relay.serve([("foo.com", bad.address), ("foo.com", good.address)])
        assert [relay.ask(request_packet("foo.com", method)).status for _ in range(4)] == [200] * 4
        assert len(good.requests) == 4


def test_a_backup_takes_the_second_try_when_there_is_no_other_node(relay: RelayProcess) -> None:
    with Worker(closes_early) as only, Worker(answers()) as backup:
        relay.serve([("foo.com", only.address), ("foo.com", backup.address, 1, 1)])
        assert relay.ask().status == 200
        assert (len(only.requests), len(backup.requests)) == (1, 1)


@pytest.mark.parametrize("script", [closes_early, resets])
def test_the_log_says_what_a_uwsgi_worker_may_have_had_against_long_headers(
    relay: RelayProcess, script: Script
) -> None:
    with Worker(script) as worker:
        relay.serve([("foo.com", worker.address)])
        assert relay.ask().status == 502
        assert "buffer-size" not in relay.log
        relay.serve([("bar.com", worker.address)])
        assert relay.ask(request_packet("bar.com", HTTP_COOKIE="c" * 4000)).status == 502
        wait_for(lambda: "bytes: a uWSGI worker takes 4096 unless its buffer-size says more)" in relay.log)


def test_it_is_sent_once_more_and_not_twice(relay: RelayProcess) -> None:
    with Worker(closes_early) as one, Worker(closes_early) as two, Worker(closes_early) as three:
        workers = (one, two, three)
        relay.serve([("foo.com", worker.address) for worker in workers])
        assert relay.ask().status == 502
        assert sum(len(worker.requests) for worker in workers) == 2


@pytest.mark.parametrize("script", [closes_early, resets])
@pytest.mark.parametrize(
    "packet",
    [
        request_packet("foo.com", "POST", body=b"body"),
        request_packet("foo.com", "POST"),
        request_packet("foo.com", "PUT"),
        request_packet("foo.com", "DELETE"),
        request_packet("foo.com", "GET", body=b"body"),
    ],
)
def test_what_a_worker_may_have_begun_is_never_sent_twice(relay: RelayProcess, script: Script, packet: bytes) -> None:
    with Worker(script) as one, Worker(script) as two:
        relay.serve([("foo.com", one.address), ("foo.com", two.address)])
        answer = relay.ask(packet)
        assert (answer.status, answer.headers["x-fastroute-error"]) == (502, "bad-gateway")
        assert len(one.requests) + len(two.requests) == 1


def test_a_closed_connection_without_answer_counts_as_failure_and_ejects_nobody(relay: RelayProcess) -> None:
    with Worker(closes_early) as worker:
        relay.serve([("foo.com", worker.address)])
        assert [relay.ask().status for _ in range(3)] == [502] * 3
        relay.hears(lambda: relay.nodes.get(("foo.com", worker.address), {}).get("failures") == 3)
        assert relay.nodes["foo.com", worker.address]["ejected"] == 0


def test_the_log_names_the_buffer_size_of_uwsgi_when_long_vars_are_refused(relay: RelayProcess) -> None:
    with Worker(closes_early) as worker:
        relay.serve([("foo.com", worker.address)])
        relay.ask(request_packet("foo.com", HTTP_COOKIE="c" * 5000))
        assert "buffer-size" in relay.log


def test_a_connection_that_met_itself_is_no_answer(relay: RelayProcess) -> None:
    def mirror(connection: Connection) -> None:
        connection.send(connection.sock.recv(65536))

    with Worker(mirror) as bad, Worker(answers()) as good:
        relay.serve([("foo.com", bad.address), ("foo.com", good.address)])
        assert [relay.ask().status for _ in range(4)] == [200] * 4


def test_an_answer_once_begun_is_never_begun_again(relay: RelayProcess) -> None:
    def half(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with Worker(half) as one, Worker(half) as two:
        relay.serve([("foo.com", one.address), ("foo.com", two.address)])
        assert relay.ask().body == b"half"
        assert len(one.requests) + len(two.requests) == 1


def test_a_request_whose_unannounced_body_has_gone_to_a_worker_is_not_sent_again(relay: RelayProcess) -> None:
    def takes_and_closes(connection: Connection) -> None:
        connection.read_packet()
        connection.exactly(5)

    with Worker(takes_and_closes) as one, Worker(takes_and_closes) as two, relay.connect() as client:
        relay.serve([("foo.com", one.address), ("foo.com", two.address)])
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: one.requests or two.requests)
        client.sendall(b"extra")
        assert read_answer(client).status == 502
        assert len(one.requests) + len(two.requests) == 1
