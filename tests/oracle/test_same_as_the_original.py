"""The same subscriptions and requests through our router and through uWSGI's FastRouter; answers compared.

Each scenario runs on both.  Where they must differ, the scenario says so in one line of ``DIFFERENCES``, which
docs/differences.md explains; everything else must be equal.
"""

from __future__ import annotations

import json
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.programs import Router, UwsgiFastRouter, UwsgiWorker, free_port, wait_for
from support.uwsgi_client import Answer, ask, request_packet, send_datagram, subscription_packet

pytestmark = pytest.mark.timeout(120)


class Subject:
    """One of the two routers, with the few things that a scenario does to it."""

    def __init__(self, name: str, port: int, stats_port: int) -> None:
        self.name, self.port, self._stats_port = name, port, stats_port

    def ask(self, host: str | None, **rest: str | bytes) -> Answer:
        return ask(self.port, host, **rest)

    def nodes(self, key: str) -> list[str]:
        """Live nodes of a key, as the stats socket tells."""
        with socket.create_connection(("127.0.0.1", self._stats_port), 10) as connection:
            data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        for pool in json.loads(data)["subscriptions"]:
            if pool["key"] == key:
                return sorted(node["name"] for node in pool["nodes"] if not node["death_mark"])
        return []

    def subscribe(self, key: str, address: str, **fields: object) -> None:
        send_datagram(self.port, subscription_packet(key, address, **fields))
        wait_for(lambda: address in self.nodes(key), f"{self.name}: {address} serves {key}")

    def unsubscribe(self, key: str, address: str) -> None:
        send_datagram(self.port, subscription_packet(key, address, leave=True))
        wait_for(lambda: address not in self.nodes(key), f"{self.name}: {address} no longer serves {key}")

    def spread(self, host: str, requests: int) -> Counter[str]:
        """How many of ``requests`` each worker answered."""
        return Counter(self.ask(host).node for _ in range(requests))


@pytest.fixture(scope="module")
def subjects() -> Iterator[tuple[Subject, Subject]]:
    stats = free_port()
    with Router("--stats", f"127.0.0.1:{stats}") as ours, UwsgiFastRouter() as original:
        yield Subject("ours", ours.port, stats), Subject("the original", original.port, original.stats_port)


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[UwsgiWorker, UwsgiWorker, UwsgiWorker]]:
    with UwsgiWorker("one") as one, UwsgiWorker("two") as two, UwsgiWorker("three") as three:
        yield one, two, three


Workers = tuple[UwsgiWorker, UwsgiWorker, UwsgiWorker]
Scenario = Callable[[Subject, Workers], object]


def equal_nodes_share_equally(subject: Subject, workers: Workers) -> object:
    for worker in workers:
        subject.subscribe("equal.example", worker.address)
    return subject.spread("equal.example", 30)


def weights_that_divide_are_kept(subject: Subject, workers: Workers) -> object:
    one, two, _ = workers
    subject.subscribe("weights.example", one.address, weight=3)
    subject.subscribe("weights.example", two.address, weight=1)
    return subject.spread("weights.example", 40)


def weights_that_do_not_divide(subject: Subject, workers: Workers) -> object:
    for worker, weight in zip(workers, (2, 3, 4), strict=True):
        subject.subscribe("odd.example", worker.address, weight=weight)
    return subject.spread("odd.example", 36)


def who_left_gets_nothing(subject: Subject, workers: Workers) -> object:
    one, two, _ = workers
    subject.subscribe("left.example", one.address)
    subject.subscribe("left.example", two.address)
    subject.unsubscribe("left.example", one.address)
    return subject.spread("left.example", 10)


def a_refusing_node_costs_no_request(subject: Subject, workers: Workers) -> object:
    subject.subscribe("refusing.example", workers[0].address)
    subject.subscribe("refusing.example", f"127.0.0.1:{free_port()}")
    return subject.spread("refusing.example", 10)


def a_body_arrives_whole(subject: Subject, workers: Workers) -> object:
    subject.subscribe("body.example", workers[0].address)
    return [subject.ask("body.example", method="POST", body=b"x" * size).body for size in (1, 5_000, 3_000_000)]


def a_large_answer_arrives_whole(subject: Subject, workers: Workers) -> object:
    subject.subscribe("large.example", workers[0].address)
    return [len(subject.ask("large.example", path=f"/?size={size}").body) for size in (10, 70_000, 5_000_000)]


def vars_arrive_as_sent(subject: Subject, workers: Workers) -> object:
    subject.subscribe("vars.example", workers[0].address)
    return subject.ask("vars.example", SCRIPT_NAME="", HTTP_COOKIE="c=" + "x" * 20_000).status


def the_explicit_key_beats_the_host(subject: Subject, workers: Workers) -> object:
    subject.subscribe("explicit.example", workers[0].address)
    return subject.ask("other.example", UWSGI_FASTROUTER_KEY="explicit.example").node


def without_a_host_the_server_name_counts(subject: Subject, workers: Workers) -> object:
    subject.subscribe("servername.example", workers[0].address)
    return subject.ask(None, SERVER_NAME="servername.example").node


def a_refresh_revives_a_dead_node(subject: Subject, workers: Workers) -> object:
    port = free_port()
    subject.subscribe("revived.example", f"127.0.0.1:{port}")
    subject.subscribe("revived.example", workers[0].address)
    for _ in range(4):  # four failures in a row: ours would now leave it alone for a while
        subject.spread("revived.example", 4)
        send_datagram(subject.port, subscription_packet("revived.example", f"127.0.0.1:{port}"))
    with socket.create_server(("127.0.0.1", port)) as late, ExitStack() as stack:
        late.setblocking(False)
        send_datagram(subject.port, subscription_packet("revived.example", f"127.0.0.1:{port}"))

        def used() -> bool:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", subject.port)))
            connection.sendall(request_packet("revived.example"))
            return bool(select.select([late], [], [], 0.05)[0])

        wait_for(used, f"{subject.name}: the revived node gets a request", 2)
    return "revived"


def an_unknown_key(subject: Subject, workers: Workers) -> object:
    return subject.ask("unknown.example").status


def no_host_at_all(subject: Subject, workers: Workers) -> object:
    return subject.ask(None, SERVER_NAME="").status


def an_upper_case_host_with_port(subject: Subject, workers: Workers) -> object:
    subject.subscribe("case.example", workers[0].address)
    return subject.ask("CASE.Example:8080").node


def random_bytes_as_subscription(subject: Subject, workers: Workers) -> object:
    subject.subscribe("noise.example", workers[0].address)
    for noise in (b"", b"\xe0", b"\xe0\x05\x00\x00ab", b"\xff" * 50):
        send_datagram(subject.port, noise)
    return subject.ask("noise.example").node


SCENARIOS: list[Scenario] = [
    equal_nodes_share_equally, weights_that_divide_are_kept, who_left_gets_nothing, a_refusing_node_costs_no_request,
    a_body_arrives_whole, a_large_answer_arrives_whole, vars_arrive_as_sent, the_explicit_key_beats_the_host,
    without_a_host_the_server_name_counts, a_refresh_revives_a_dead_node, random_bytes_as_subscription,
]  # fmt: skip

#: Deliberate: (ours, the original's).  docs/differences.md says why.
DIFFERENCES: dict[Scenario, tuple[object, object]] = {
    an_unknown_key: (404, 0),
    no_host_at_all: (400, 0),
    an_upper_case_host_with_port: ("one", ""),
    weights_that_do_not_divide: (
        Counter(one=8, two=12, three=16),
        # Weights divided by the smallest as integers: 1, 1, 2.
        Counter(one=9, two=9, three=18),
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_both_answer_alike(scenario: Scenario, subjects: tuple[Subject, Subject], workers: Workers) -> None:
    ours, original = (scenario(subject, workers) for subject in subjects)
    assert ours == original


@pytest.mark.parametrize("scenario", DIFFERENCES, ids=lambda scenario: scenario.__name__)
def test_they_differ_as_documented(scenario: Scenario, subjects: tuple[Subject, Subject], workers: Workers) -> None:
    assert tuple(scenario(subject, workers) for subject in subjects) == DIFFERENCES[scenario]
