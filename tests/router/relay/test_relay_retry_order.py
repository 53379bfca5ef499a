"""A real relay: which node a request that has failed goes to.  Trials of ejected nodes are for first tries."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.entries import node_row, pool_row
from support.programs import free_port
from support.relaying import RelayProcess
from support.uwsgi_client import request_packet
from support.waiting import wait_for
from support.workers import (
    BlackHole,
    Connection,
    Script,
    Worker,
    answers,
    answers_http,
    closes_early,
    refused_address,
    response,
)

from fastroute.router.protocol.node_options import ALGORITHMS

#: Seconds: longer than a first ejection, so that one is over when the black hole has been waited out.
CONNECT_TIMEOUT = 0.5


@pytest.fixture
def hole() -> Iterator[str]:
    with BlackHole() as hole:
        yield hole.address


@pytest.mark.parametrize(("protocol", "script"), [("uwsgi", answers(b"good")), ("http", answers_http(b"good"))])
def test_one_node_of_four_serves_and_every_request_finds_it(
    tmp_path: Path, hole: str, protocol: str, script: Script
) -> None:
    with Worker(script) as good, RelayProcess(tmp_path, connect_timeout=CONNECT_TIMEOUT) as relay:
        addresses = [refused_address(), hole, str(tmp_path / "missing"), good.address]
        keys = [f"{name}-{first}.test" for name in ALGORITHMS for first in range(4)]
        rows = [
            node_row(key, address, 1, 0, 0, 0, 0, protocol)
            for key in keys
            for address in addresses[int(key[-6]) :] + addresses[: int(key[-6])]
        ]
        relay.tell(["reset"], *(pool_row(key, key.partition("-")[0]) for key in keys), *rows, ["done"])
        packets = [request_packet(key, REMOTE_ADDR=f"192.0.2.{number}") for number, key in enumerate(keys)]
        with ThreadPoolExecutor(len(keys)) as at_once:
            for _ in range(2):
                assert [answer.body for answer in at_once.map(relay.ask, packets)] == [b"good"] * len(keys)


def test_a_good_backup_comes_before_the_trial_of_a_node_that_it_stands_in_for(tmp_path: Path, hole: str) -> None:
    with (
        Worker(answers(b"backup")) as backup,
        RelayProcess(tmp_path, connect_timeout=CONNECT_TIMEOUT, max_retries=2) as relay,
    ):
        relay.serve([("foo.com", refused_address()), ("foo.com", hole), ("foo.com", backup.address, 1, 1)])
        assert relay.ask().body == b"backup"


def test_a_good_fallback_comes_before_the_trial_of_an_announced_node(tmp_path: Path, hole: str) -> None:
    options = {"connect_timeout": CONNECT_TIMEOUT, "max_retries": 2, "fallback": ["spare:1"]}
    with Worker(answers(b"spare")) as spare, RelayProcess(tmp_path, **options) as relay:  # type: ignore[arg-type]
        relay.serve([("foo.com", refused_address()), ("foo.com", hole)])
        relay.tell(["reserve", "fallback", [spare.address]])
        assert relay.ask().body == b"spare"
        relay.hears(lambda: relay.hits == {"foo.com": 1, "(fallback)": 1})


def test_a_node_that_joins_while_the_fallback_fails_takes_the_request(tmp_path: Path, hole: str) -> None:
    options = {"connect_timeout": CONNECT_TIMEOUT, "fallback": ["spare:1"]}
    with Worker(answers(b"new")) as new, RelayProcess(tmp_path, **options) as relay:  # type: ignore[arg-type]
        relay.serve(keys=["foo.com"])
        relay.tell(["reserve", "fallback", [hole]])
        before = relay.descriptors()
        with ThreadPoolExecutor(1) as at_once:
            asked = at_once.submit(relay.ask)
            wait_for(lambda: relay.descriptors() == before + 2)
            relay.tell(node_row("foo.com", new.address, 1, 0, 0, 0, 0, "uwsgi"))
            assert asked.result().body == b"new"
        relay.hears(lambda: relay.hits == {"foo.com": 1, "(fallback)": 1})


def test_a_router_that_the_request_came_from_is_not_what_is_left_to_try(tmp_path: Path) -> None:
    with (
        Worker(answers(b"spare")) as spare,
        Worker(answers(b"circle")) as router,
        RelayProcess(tmp_path, fallback=["spare:1"]) as relay,
    ):
        relay.tell(["router", "us"])
        nodes = [[refused_address(), ""], [router.address, "them"]]
        rows = [node_row("foo.com", address, 1, 0, 0, 0, 0, "uwsgi", via) for address, via in nodes]
        relay.tell(["reset"], *rows, ["reserve", "fallback", [spare.address]], ["done"])
        assert relay.ask(request_packet("foo.com", FASTROUTE_VIA="them")).body == b"spare"
        assert relay.ask(request_packet("foo.com")).body == b"circle"


def slowly(script: Script) -> Script:
    """Plays ``script`` once a first ejection, begun before, is over."""

    def slow(connection: Connection) -> None:
        time.sleep(CONNECT_TIMEOUT)
        script(connection)

    return slow


def test_what_is_sent_again_after_no_answer_is_no_trial_either(tmp_path: Path) -> None:
    with (
        Worker(answers(b"good")) as good,
        Worker(slowly(closes_early)) as bad,
        RelayProcess(tmp_path, max_retries=0) as relay,
    ):
        relay.serve([("foo.com", refused_address()), ("foo.com", bad.address), ("foo.com", good.address)])
        assert relay.ask().status == 502
        assert relay.ask().body == b"good"
        assert len(bad.requests) == 1


def test_who_closed_without_an_answer_is_not_asked_again(tmp_path: Path) -> None:
    with Worker(closes_early) as bad, RelayProcess(tmp_path) as relay:
        relay.serve([("foo.com", bad.address), ("foo.com", refused_address())])
        answer = relay.ask()
        assert answer.status == 502
        assert b"broke off without an answer, and no other is left to try" in answer.body
        assert len(bad.requests) == 1


def test_a_request_whose_kept_connection_was_closed_is_no_trial(tmp_path: Path) -> None:
    served = threading.Event()

    def once(connection: Connection) -> None:
        """Answers the first request of all but the first connection; closes that at its second."""
        if served.is_set():
            answers_http(b"new")(connection)
        while b"\r\n\r\n" not in connection.sock.recv(65536):
            pass
        connection.send(response(b"old"))
        served.set()
        if connection.sock.recv(65536):
            time.sleep(CONNECT_TIMEOUT)

    with Worker(once) as worker, RelayProcess(tmp_path, max_retries=0) as relay:
        addresses = [worker.address, refused_address()]
        relay.serve([("foo.com", address, 1, 0, 0, 0, 0, "http") for address in addresses])
        assert relay.ask().body == b"old"
        assert relay.ask().status == 502
        assert relay.ask().body == b"new"


def test_a_node_that_is_back_is_the_last_one_to_try(tmp_path: Path, hole: str) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with RelayProcess(tmp_path, connect_timeout=CONNECT_TIMEOUT) as relay:
        relay.serve([("foo.com", address), ("foo.com", hole)])
        with ThreadPoolExecutor(1) as at_once:
            asked = at_once.submit(relay.ask)
            relay.hears(lambda: relay.said[-1][:3] == ["failed", "foo.com", address])
            with Worker(answers(b"back"), port=port):
                assert asked.result().body == b"back"
