"""A relay counts answers by class: at the node that gave them or should have, else at the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.relaying import RelayProcess
from support.uwsgi_client import request_packet
from support.workers import (
    Connection,
    Script,
    Worker,
    answers,
    closes_early,
    http,
    never_answers,
    refused_address,
    response,
)

NOTHING = [0, 0, 0, 0, 0]


def says(data: bytes) -> Script:
    """A worker that answers ``data`` and closes."""

    def script(connection: Connection) -> None:
        connection.read_packet()
        connection.send(data)

    return script


def one(status: int) -> list[int]:
    return [int(at == status) for at in range(1, 6)]


def counted(relay: RelayProcess, address: str, requests: int) -> list[int]:
    """The node's answers, once so many requests are over."""
    relay.hears(lambda: (relay.totals.get("requests"), relay.totals.get("in_flight")) == (requests, 0))
    found: list[int] = relay.nodes.get(("foo.com", address), {}).get("statuses", NOTHING)
    return found


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(b"hello"), one(2)),
        (b"HTTP/1.0 200 OK\r\n\r\n", one(2)),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", one(3)),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", one(4)),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", one(5)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", one(2)),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", one(1)),
        (b"Status: 500 Oops\r\n\r\n", one(5)),
        (b"Location: /there\r\n\r\n", one(3)),
        (b"Content-Type: text/plain\r\n\r\nhello", one(2)),
        (b"HTTP/1.1 999 What\r\n\r\n", NOTHING),
        (b"HTTP/1.1 2", one(2)),
        (b"hello", NOTHING),
    ],
)
def test_a_node_has_its_answers_by_class(answer: bytes, expected: list[int], tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(says(answer)) as worker:
        relay.serve([("foo.com", worker.address)])
        with relay.connect() as client:
            client.sendall(request_packet("foo.com", HTTP_UPGRADE="x"))
            client.shutdown(1)
            while client.recv(65536):
                pass
        assert counted(relay, worker.address, 1) == expected
        assert relay.own_answers["foo.com"] == NOTHING


@pytest.mark.parametrize("protocol", ["uwsgi", "http"])
def test_through_the_http_front_as_well(protocol: str, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
    script = http(answer, answer) if protocol == "http" else says(answer)
    with RelayProcess(tmp_path, http=True) as relay, Worker(script) as worker:
        relay.serve([("foo.com", worker.address, 1, 0, 0, 0, 0, protocol)])
        with relay.connect_http() as client:
            for _ in range(2):
                client.sendall(b"GET / HTTP/1.1\r\nHost: foo.com\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 404")
        assert counted(relay, worker.address, 2) == [0, 0, 0, 2, 0]


@pytest.mark.parametrize(
    ("script", "settings", "timeouts"),
    [(closes_early, {}, 0), (never_answers, {"timeout": 0.2}, 1)],
)
def test_a_node_that_gives_no_answer_has_the_router_s_own(
    script: Script, settings: dict[str, Any], timeouts: int, tmp_path: Path
) -> None:
    with RelayProcess(tmp_path, **settings) as relay, Worker(script) as worker:
        relay.serve([("foo.com", worker.address)])
        for method in ("GET", "POST"):
            assert relay.ask(request_packet("foo.com", method)).status in (502, 504)
        assert counted(relay, worker.address, 2) == [0, 0, 0, 0, 2]
        assert relay.nodes["foo.com", worker.address]["timeouts"] == timeouts * 2
        assert relay.own_answers["foo.com"] == NOTHING


def test_what_no_node_could_take_is_the_key_s(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        gone = refused_address()
        relay.serve([("foo.com", gone)], keys=["empty.com"])
        assert [relay.ask(request_packet(key)).status for key in ("foo.com", "empty.com", "no.com")] == [502, 503, 404]
        assert counted(relay, gone, 3) == NOTHING
        relay.hears(lambda: relay.own_answers.get("empty.com") == one(5))
        assert relay.own_answers == {"foo.com": one(5), "empty.com": one(5)}


def test_what_a_fallback_could_not_take_either_is_the_key_s(tmp_path: Path) -> None:
    with RelayProcess(tmp_path, fallback=[refused_address()]) as relay:
        relay.serve(keys=["empty.com"])
        relay.tell(["reserve", "fallback", [refused_address()]])
        assert relay.ask(request_packet("empty.com")).status == 502
        relay.hears(lambda: relay.own_answers.get("empty.com") == one(5))


def test_a_node_that_leaves_tells_its_last_numbers_and_what_joins_there_begins_anew(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay, Worker(answers()) as worker:
        node = ("foo.com", worker.address)
        relay.serve([node])
        relay.ask()
        assert counted(relay, worker.address, 1) == one(2)
        assert relay.nodes[node]["left"] == 0
        relay.tell(["gone", *node])
        relay.hears(lambda: relay.nodes[node]["left"])
        assert relay.nodes[node]["statuses"] == one(2)
        relay.tell(["node", *node, {}])
        relay.ask()
        relay.hears(lambda: not relay.nodes[node]["left"] and relay.totals.get("in_flight") == 0)
        assert (relay.nodes[node]["statuses"], relay.nodes[node]["requests"]) == (one(2), 1)
