"""Whose numbers a report to control has, and in which order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fastroute.router.relay.pool import Node
from fastroute.router.relay.replica import Replica
from fastroute.router.relay.untold import IDLE_ROWS, ROWS, Untold

A = "10.0.0.1:80"
COUNT = 4000


def node_op(key: str, weight: int = 1, draining: int = 0) -> list[Any]:
    return ["node", key, A, weight, 0, draining, 0, 0, "uwsgi"]


def asked(replica: Replica, untold: Untold, number: int) -> Node:
    """A request for key ``number`` began."""
    pool = replica.pools[b"k%d.com" % number]
    node = pool.nodes[A]
    node.in_flight += 1
    untold.nodes[node] = untold.keys[pool] = None
    return node


@pytest.fixture
def replica() -> Replica:
    replica = Replica(random.Random(1))
    replica.apply([["reset"], *(node_op(f"k{number}.com") for number in range(COUNT)), ["done"]])
    return replica


def test_under_load_reports_are_short_and_nobody_starves(replica: Replica) -> None:
    untold, told = Untold(), []
    nodes = [asked(replica, untold, number) for number in range(COUNT)]
    for _ in range(COUNT // ROWS):
        asked(replica, untold, 0)
        taken, keys = untold.take(untold.rows(requests=ROWS + 1))
        assert (len(taken), len(keys)) == (ROWS, ROWS)
        told += taken
    # The first is asked for all the time: it queues up again behind all others.
    assert told == nodes


def test_without_load_all_is_told_soon(replica: Replica) -> None:
    untold = Untold()
    for number in range(COUNT):
        asked(replica, untold, number)
    reports = 0
    while untold.nodes or untold.keys:
        untold.take(untold.rows(requests=0))
        reports += 1
    assert reports == -(-COUNT // IDLE_ROWS)


@pytest.mark.parametrize("op", [["gone", "k9.com", A], node_op("k9.com", draining=1), node_op("k9.com", weight=0)])
def test_stopped_nodes_go_first_until_no_request_is_left_there(replica: Replica, op: list[Any]) -> None:
    untold = Untold()
    last = [asked(replica, untold, number) for number in range(10)][9]
    assert untold.stop(replica, [op])
    replica.apply([op])
    assert untold.take(0) == ([last], [])
    assert untold.take(0) == ([], [])
    last.in_flight = 0
    untold.nodes[last] = None
    assert untold.take(0) == ([last], [])
    untold.nodes[last] = None
    assert untold.take(0) == ([], [])


def test_a_node_whose_last_request_ended_untold_is_told_before_its_end_is_acked(replica: Replica) -> None:
    untold = Untold()
    node = asked(replica, untold, 3)
    node.in_flight = 0
    assert untold.stop(replica, [["gone", "k3.com", A]])
    assert untold.take(0) == ([node], [])


def test_stopping_what_had_no_request_or_is_not_there_tells_nothing(replica: Replica) -> None:
    assert not Untold().stop(
        replica, [["gone", "k1.com", A], ["gone", "nobody.com", A], ["gone", "k1.com", "x"], ["done"]]
    )


def test_a_new_control_is_told_everything_at_once(replica: Replica) -> None:
    untold = Untold()
    untold.everything(replica)
    taken, keys = untold.take(untold.rows(requests=10_000))
    assert (len(taken), len(keys)) == (COUNT, COUNT)
    assert untold.rows(requests=10_000) == ROWS
