"""Drain, undrain and weight over the router's admin, with a request in flight, a killed control and a restart."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.programs import Router, wait_for
from support.survival import children, replaced
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Connection, Worker, response

JSON = {"Content-Type": "application/json"}


class Held(contextlib.AbstractContextManager["Held"]):
    """A worker that answers when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.worker = Worker(self._script)
        self.address = self.worker.address

    def _script(self, connection: Connection) -> None:
        connection.read_packet()
        self.go.wait(10)
        connection.send(response(b"held"))

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.worker.close()


@pytest.fixture
def workers() -> Iterator[tuple[Held, Held]]:
    with Held() as one, Held() as two:
        yield one, two


def post(router: Router, verb: str, body: object, headers: dict[str, str] = JSON) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", router.admin_port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", f"/v1/{verb}", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def node(router: Router, address: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", router.admin_port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/status")
        keys = json.loads(connection.getresponse().read())["keys"]
    return next((one for key in keys for one in key["nodes"] if one["address"] == address), {})


def join(router: Router, *workers: Held) -> None:
    for worker in workers:
        send_datagram(router.port, subscription_packet("foo.com", worker.address))
        wait_for(lambda worker=worker: node(router, worker.address), "it has joined")


def test_a_drained_node_finishes_what_it_has_and_the_answer_tells_how_much(workers: tuple[Held, Held]) -> None:
    busy, free = workers
    free.go.set()
    with Router() as router:
        join(router, busy)
        answers: list[bytes] = []
        client = threading.Thread(target=lambda: answers.append(ask(router.port, "foo.com").body))
        client.start()
        wait_for(lambda: busy.worker.requests, "the request is there")
        join(router, free)
        # At once: the relay reports its numbers only every 200 ms, but these before it says that it drains.
        status, said = post(router, "drain", {"target": f"foo.com@{busy.address}"})
        assert (status, said) == (
            200,
            {"targets": [{"key": "foo.com", "address": busy.address, "container": None, "in_flight": 1}]},
        )
        assert {ask(router.port, "foo.com").status for _ in range(20)} == {200}
        assert len(busy.worker.requests) == 1, "nothing new"
        assert node(router, busy.address)["state"] == "draining"
        busy.go.set()
        client.join(10)
        assert answers == [b"held"]
        wait_for(lambda: node(router, busy.address)["in_flight"] == 0, "it is drained")
        assert post(router, "undrain", {"target": busy.address})[0] == 200
        wait_for(lambda: ask(router.port, "foo.com").status and len(busy.worker.requests) > 1, "it serves again")


def test_a_withdrawal_is_acked_with_the_requests_in_flight_down_to_none(workers: tuple[Held, Held]) -> None:
    from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode, encode

    busy, _ = workers
    entry = Entry("foo.com", busy.address, owner="c@1")
    with Router() as router, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", router.port))

        def say(seq: int, *entries: Entry) -> Ack:
            head = Announcement(entries=entries, source="test", instance=1, seq=seq, ack=True)
            sock.send(encode(head))
            ack = decode(sock.recv(4096))
            assert isinstance(ack, Ack)
            return ack

        say(1, entry)
        client = threading.Thread(target=ask, args=(router.port, "foo.com"))
        client.start()
        wait_for(lambda: busy.worker.requests, "the request is there")
        gone = Entry("foo.com", busy.address, owner="c@1", gone=True)
        assert say(2, gone).in_flight == 1
        assert say(2, gone).in_flight == 1
        busy.go.set()
        client.join(10)
        wait_for(lambda: say(2, gone).in_flight == 0, "none is left")


def test_it_survives_announcements_a_killed_control_and_a_restart(workers: tuple[Held, Held], tmp_path: Path) -> None:
    one, two = workers
    with Router("--state-dir", str(tmp_path)) as router:
        join(router, one, two)
        assert post(router, "drain", {"target": one.address})[0] == 200
        assert post(router, "weight", {"target": f"foo.com@{two.address}", "weight": 5})[0] == 200
        send_datagram(router.port, subscription_packet("foo.com", one.address, weight=3))
        wait_for(lambda: node(router, one.address)["weight"] == 3, "it was announced again")
        assert node(router, one.address)["state"] == "draining"
        victim = children(router, "control.main")[0]
        os.kill(victim, signal.SIGKILL)
        replaced(router, "control.main", victim)
        wait_for(lambda: node(router, two.address), "its successor answers")
        assert (node(router, one.address)["state"], node(router, two.address)["weight"]) == ("draining", 5)
        router.stop()
    with Router("--state-dir", str(tmp_path)) as router:
        assert (node(router, one.address)["state"], node(router, two.address)["weight"]) == ("draining", 5)
        send_datagram(router.port, subscription_packet("foo.com", one.address, leave=True))
        wait_for(lambda: not node(router, one.address), "it has left")
        join(router, one)
        assert node(router, one.address)["state"] == "ready", "who comes next begins anew"


def test_who_may_not_and_what_is_not_there(workers: tuple[Held, Held], tmp_path: Path) -> None:
    one, _ = workers
    token = tmp_path / "token"
    token.write_text("letmein\n")
    with Router("--admin-token-file", str(token)) as router:
        join(router, one)
        target = {"target": one.address}
        assert post(router, "drain", target, {**JSON, "Origin": "http://evil.example"})[0] == 403
        assert post(router, "drain", target, {**JSON, "Host": "evil.example"})[0] == 403
        assert post(router, "drain", target, {"Content-Type": "text/plain"})[0] == 403
        assert post(router, "drain", target, {**JSON, "Authorization": "Bearer no"})[0] == 403
        assert node(router, one.address)["state"] == "ready"
        assert post(router, "drain", {"target": "10.0.0.9:1"}) == (
            404,
            {"error": "no container id, node or key is called '10.0.0.9:1'"},
        )
        assert post(router, "weight", {"target": one.address, "weight": "x"})[0] == 400
        assert post(router, "drain", {"target": "x" * 10_000})[0] == 400
        away = {**JSON, "Host": "router.example", "Authorization": "Bearer letmein"}
        assert post(router, "drain", target, away)[0] == 200
