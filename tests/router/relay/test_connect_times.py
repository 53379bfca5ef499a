"""Connect time-outs that learn what is normal, and what a machine that died costs."""

from __future__ import annotations

import random
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.relaying import RelayProcess
from support.uwsgi_client import request_packet
from support.workers import Worker, answers, response

from fastroute.router.relay.connect_times import MIN_CONNECT_TIMEOUT, connect_limit, learn
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool


def a_node() -> Node:
    return Pool("foo.com", "wrr", random.Random(1)).put("10.0.0.1:80")


def test_a_new_node_has_the_shortest_limit_however_often_it_failed() -> None:
    node = a_node()
    for node.streak in range(20):
        assert connect_limit(node, 3.0) == MIN_CONNECT_TIMEOUT


def test_what_took_so_long_that_its_first_packet_was_lost_teaches_nothing() -> None:
    node = a_node()
    learn(node, 1.03)
    assert connect_limit(node, 3.0) == MIN_CONNECT_TIMEOUT


def test_a_node_whose_connections_were_there_at_once_has_the_shortest_limit() -> None:
    node = a_node()
    node.tx = 1
    assert connect_limit(node, 3.0) == MIN_CONNECT_TIMEOUT
    assert connect_limit(node, 0.1) == 0.1


def test_one_far_away_has_more_and_one_that_varies_more_still() -> None:
    far, varying = a_node(), a_node()
    for number in range(50):
        learn(far, 0.3)
        learn(varying, 0.1 if number % 2 else 0.5)
    assert 0.3 < connect_limit(far, 3.0) < 0.4
    assert connect_limit(varying, 3.0) > 0.7


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.1, 60))
def test_the_limit_is_never_longer_than_the_longest_nor_shorter_than_the_shortest(
    times: list[float], longest: float
) -> None:
    node = a_node()
    for seconds in times:
        learn(node, seconds)
    assert min(longest, MIN_CONNECT_TIMEOUT) <= connect_limit(node, longest) <= longest


class DyingWorker:
    """A worker that answers one request, and whose machine then dies: nobody refuses a connection, or takes it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._clients: list[socket.socket] = []

    def answer_one(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(response(b"dying"))

    def die(self) -> None:
        """Its queue is full from now on."""
        pending = False
        while not pending:
            client = socket.socket()
            client.setblocking(False)
            self._clients.append(client)
            client.connect_ex(self._listener.getsockname())
            pending = not select.select([], [client], [], 0.1)[1]

    def close(self) -> None:
        for each in (*self._clients, self._listener):
            each.close()


def assert_eight_are_served_soon(relay: RelayProcess) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        bodies = list(threads.map(lambda _: relay.ask(request_packet("foo.com")).body, range(8)))
    assert bodies == [b"good"] * 8
    # Not the 30 s of --connect-timeout, nor the seconds after which TCP sends a SYN again.
    assert time.monotonic() - begun < 5


def test_a_machine_that_died_costs_a_request_one_short_connect(tmp_path: Path) -> None:
    dying = DyingWorker()
    with Worker(answers(b"good")) as good, RelayProcess(tmp_path, connect_timeout=30.0) as relay:
        relay.serve([("foo.com", dying.address)])
        with ThreadPoolExecutor(1) as thread:
            answered = thread.submit(relay.ask, request_packet("foo.com"))
            dying.answer_one()
            assert answered.result(10).body == b"dying"
        dying.die()
        relay.serve([("foo.com", dying.address), ("foo.com", good.address)])
        assert_eight_are_served_soon(relay)
    dying.close()


def test_a_new_node_that_can_not_be_reached_yet_costs_a_request_one_short_connect(tmp_path: Path) -> None:
    """As on an overlay network that does not know yet on which machine a new task is."""
    dying = DyingWorker()
    dying.die()
    with Worker(answers(b"good")) as good, RelayProcess(tmp_path, connect_timeout=30.0) as relay:
        relay.serve([("foo.com", dying.address), ("foo.com", good.address)])
        assert_eight_are_served_soon(relay)
    dying.close()
