"""A real relay as a process: its channel to control, draining, descriptors, idleness."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from support.entries import node_row, pool_row
from support.relaying import RelayProcess
from support.uwsgi_client import read_answer, request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker, answers, never_answers, response


class Gate:
    """A worker's script that answers when it is told to."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.read_packet()
        self.open.wait(10)
        connection.send(response(b"finished"))


def test_sigterm_stops_accepting_and_finishes_what_is_in_flight(tmp_path: Path) -> None:
    gate = Gate()
    with RelayProcess(tmp_path) as relay, Worker(gate) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        relay.terminate()
        wait_for(lambda: "draining" in relay.log)
        with relay.connect() as late:
            late.settimeout(0.3)
            late.sendall(request_packet("foo.com"))
            with pytest.raises(TimeoutError):
                late.recv(100)
        assert relay.process.poll() is None
        gate.open.set()
        assert read_answer(client).body == b"finished"
        assert relay.process.wait(5) == 0
        relay.hears(lambda: relay.totals.get("requests") == 1 and relay.totals["in_flight"] == 0)


def test_draining_ends_at_its_time_out(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, drain_timeout=0.5) as relay, Worker(never_answers) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        start = time.monotonic()
        relay.terminate()
        assert relay.process.wait(5) == 0
        assert 0.4 < time.monotonic() - start < 2
        assert "cut off" in relay.log


def test_sighup_begins_to_drain_and_sigterm_ends_that(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, drain_timeout=0.2) as relay, Worker(never_answers) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        relay.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "draining" in relay.log)
        relay.terminate()
        assert relay.process.wait(5) == 0
        assert "cut off" in relay.log


def test_a_request_on_its_way_when_draining_begins_is_answered(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, unix=True) as relay, Worker(answers(b"hello")) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        assert relay.ask().body == b"hello"
        relay.terminate()
        wait_for(lambda: "draining" in relay.log)
        client.sendall(request_packet("foo.com"))
        assert read_answer(client).body == b"hello"


def test_an_idle_connection_does_not_hold_up_draining(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, unix=True) as relay, relay.connect():
        relay.serve()
        relay.ask(request_packet("nope.com"))
        relay.terminate()
        assert relay.process.wait(3) == 0


def test_it_ends_at_once_when_the_master_is_gone(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        os.close(relay._lifeline)
        relay._lifeline = -1
        assert relay.process.wait(2) == 1


def test_a_node_that_leaves_finishes_its_requests_and_is_counted_out(tmp_path: Path) -> None:
    gate = Gate()
    with RelayProcess(tmp_path) as relay, Worker(gate) as worker, relay.connect() as client:
        relay.serve([("foo.com", worker.address)])
        client.sendall(request_packet("foo.com"))
        relay.hears(lambda: relay.nodes.get(("foo.com", worker.address), {}).get("in_flight") == 1)
        relay.tell(["gone", "foo.com", worker.address])
        assert relay.ask().status == 503
        relay.tell(["forget", "foo.com"])
        assert relay.ask().status == 404
        gate.open.set()
        assert read_answer(client).body == b"finished"
        relay.hears(lambda: relay.nodes["foo.com", worker.address]["in_flight"] == 0)


def test_counters_are_absolute_and_seen_from_the_node(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(answers(b"12345")) as worker:
        relay.serve([("foo.com", worker.address)])
        packet = request_packet("foo.com", "POST", body=b"b" * 100_000)
        for _ in range(3):
            relay.ask(packet)
        relay.ask(request_packet("nope.com"))
        relay.hears(lambda: relay.totals.get("requests") == 4 and relay.totals.get("errors") == {"no-key": 1})
        node = relay.hears(lambda: relay.nodes.get(("foo.com", worker.address)))
        del node["times"]
        assert node == {"requests": 3, "failures": 0, "tx": 3 * len(response(b"12345")), "rx": 3 * len(packet),
                        "in_flight": 0, "ejected": 0, "timeouts": 0, "statuses": [0, 3, 0, 0, 0],
                        "left": 0}  # fmt: skip
        assert relay.hits == {"foo.com": 3}


def test_a_new_control_is_told_everything_and_the_relay_serves_on_meanwhile(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        assert relay.ask().status == 200
        relay.hears(lambda: relay.hits)
        relay.nodes.clear()
        relay.hits.clear()
        relay.totals.clear()
        relay.epoch = "e2"
        relay.tell(["reset"])
        assert relay.ask().status == 200
        relay.tell(pool_row("foo.com", "wrr"), node_row("foo.com", worker.address, 1, 0, 0, 0, 0, "uwsgi"), ["done"])
        relay.hears(lambda: relay.nodes and relay.hits == {"foo.com": 2} and relay.totals.get("requests") == 2)
        relay.totals.clear()
        relay.serve([("foo.com", worker.address)])
        relay.hears(lambda: relay.totals.get("requests") == 2)


def test_a_control_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        rows = [node_row("foo.com", f"10.0.{n // 250}.{n % 250}:80", 1, 9, 1, 0, 0, "uwsgi") for n in range(2000)]
        for start in range(0, len(rows), 200):
            relay.tell(*rows[start : start + 200])
        for number in range(3000):
            relay.tell(pool_row(f"k{number}", "wrr"), wait=False)
        assert relay.ask().status == 200
        relay.hears(lambda: relay.said[-1] == ["ack", "e1", relay._version])


def test_a_report_on_thousands_of_nodes_comes_in_messages_of_bounded_size(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        nodes = [("foo.com", f"/run/{'x' * 80}/{number}") for number in range(3000)]
        for _ in range(2):
            relay.tell(["reset"])
            for start in range(0, len(nodes), 200):
                relay.tell(*(node_row(*node, 1, 0, 0, 0, 0, "uwsgi") for node in nodes[start : start + 200]))
            relay.tell(["done"])
        relay.hears(lambda: len(relay.nodes) == 3000)


def test_nonsense_from_control_is_said_and_survived(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(answers()) as worker:
        relay._control.send(b"[1, 2")
        relay._control.send(b'{"ops": 5}')
        relay.serve([("foo.com", worker.address)])
        relay.tell(node_row("foo.com", "name:80", 1, 0, 0, 0, 0, "uwsgi"))
        assert relay.ask().status == 200
        assert "not understood" in relay.log
        assert "name:80" in relay.log


def test_cheap_mode_lets_new_connections_wait_and_touches_none_in_flight(tmp_path: Path) -> None:
    gate = Gate()
    with RelayProcess(tmp_path) as relay, Worker(gate) as worker, relay.connect() as running:
        relay.serve([("foo.com", worker.address)])
        running.sendall(request_packet("foo.com"))
        wait_for(lambda: worker.requests)
        relay.tell(["accept", 0])
        gate.open.set()
        assert read_answer(running).body == b"finished"
        with relay.connect() as waiting:
            waiting.sendall(request_packet("foo.com"))
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(100)
            waiting.settimeout(10)
            relay.tell(["accept", 1])
            assert read_answer(waiting).body == b"finished"


def test_out_of_descriptors_it_says_so_and_recovers(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, unix=True, descriptors=64) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        gate = Gate()
        with Worker(gate) as slow:
            relay.tell(pool_row("slow.com", "wrr"), node_row("slow.com", slow.address, 1, 0, 0, 0, 0, "uwsgi"))
            # All packets are there when their clients are accepted: each counts with its worker's side from the start.
            relay.process.send_signal(signal.SIGSTOP)
            busy = [relay.connect() for _ in range(80)]
            for client in busy:
                client.sendall(request_packet("slow.com"))
            relay.process.send_signal(signal.SIGCONT)
            wait_for(lambda: "not accepting" in relay.log)
            gate.open.set()
            # Clients that do not close keep their descriptors for a while.
            assert {read_answer(client).status for client in busy} == {200}
        wait_for(lambda: relay.ask().status == 200)
        for client in busy:
            client.close()
        wait_for(lambda: relay.descriptors() < 30)


HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: foo.com\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("http", [False, True], ids=["uwsgi", "http"])
def test_whose_request_comes_after_the_accept_finds_a_descriptor_for_its_worker(tmp_path: Path, http: bool) -> None:
    few = RelayProcess(tmp_path, unix=True, descriptors=64, http=http)
    with few as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        clients = [relay.connect_http() if http else relay.connect() for _ in range(80)]
        # As many as it takes, before one of them has said what it wants.
        wait_for(lambda: "not accepting" in relay.log)
        statuses = Counter[int]()
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(HTTP_REQUEST if http else request_packet("foo.com"))
        for client in clients:
            with client, contextlib.suppress(OSError):
                statuses[read_answer(client).status] += 1
        # Those that were silent for too long gave way, without an answer.
        assert statuses.keys() <= {0, 200}, statuses
        assert statuses[200] >= 16, statuses


def test_who_waits_for_a_node_waits_for_a_descriptor_too(tmp_path: Path) -> None:
    gate = Gate()
    few = RelayProcess(tmp_path, unix=True, descriptors=64, wait=20)
    with few as relay, Worker(gate) as first, Worker(gate) as second, Worker(gate) as third:
        relay.serve([("bar.com", first.address)])
        relay.tell(pool_row("foo.com", "wrr"))
        without = relay.descriptors()
        clients = []
        for _ in range(40):
            clients.append(relay.connect())
            # At once: who has sent nothing for 0.1 s gives way to others.
            clients[-1].sendall(request_packet("foo.com"))
        # Who waits for a node counts with one descriptor, so there will be too few for all workers' sides.
        wait_for(lambda: relay.descriptors() - without > (64 - without) / 2)
        relay.tell(*(node_row("foo.com", worker.address, 1, 0, 0, 0, 0, "uwsgi") for worker in (first, second, third)))
        wait_for(lambda: relay.descriptors() == 64, lambda: f"{relay.descriptors()} of 64: {relay.log}")
        gate.open.set()
        statuses = Counter[int]()
        for client in clients:
            with client:
                statuses[read_answer(client).status] += 1
        assert statuses == {200: 40}


PARTS = [b"", request_packet("foo.com")[:-1], request_packet("upload.com", body=b"x" * 9)[:-1]]


@pytest.mark.parametrize("sent", PARTS, ids=["nothing", "half a packet", "half a body"])
def test_who_waits_for_its_client_gives_way_when_descriptors_run_short(tmp_path: Path, sent: bytes) -> None:
    few = RelayProcess(tmp_path, unix=True, descriptors=96)
    with few as relay, Worker(answers()) as worker, Worker(Gate()) as slow:
        relay.serve([("foo.com", worker.address), ("upload.com", slow.address)])
        held = [relay.connect() for _ in range(150)]
        for client in held:
            with contextlib.suppress(OSError):
                client.sendall(sent)
        wait_for(lambda: relay.ask().status == 200)
        relay.hears(lambda: relay.totals.get("errors", {}).get("gave-way"))
        assert "waited for their clients were ended" in relay.log
        held[0].settimeout(10)
        assert held[0].recv(100)[:12] in (b"", b"HTTP/1.1 503"), "the oldest is gone"
        for client in held:
            client.close()


def test_a_packet_has_its_time_however_its_bytes_drip(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, client_timeout=0.4) as relay, relay.connect() as client:
        relay.serve()
        began, answer = time.monotonic(), b""
        client.settimeout(0.05)
        while not answer and time.monotonic() < began + 10:
            client.sendall(b"\0")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(100)
        assert answer.startswith(b"HTTP/1.1 400")


def test_sockets_of_the_front_are_served_by_whoever_holds_them(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(answers()) as worker:
        relay.serve([("foo.com", worker.address)])
        relay.ask()
        assert relay._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert relay._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
