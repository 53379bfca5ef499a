"""Whose numbers a report to control has, and in which order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.entries import node_row

from fastroute.router.relay.node import Node
from fastroute.router.relay.replica import Replica
from fastroute.router.relay.report_queue import MAX_ROWS, MAX_ROWS_LOADED, ReportQueue

A = "10.0.0.1:80"
COUNT = 4000


def node_op(key: str, weight: int = 1, draining: int = 0) -> list[Any]:
    return node_row(key, A, weight, 0, draining, 0, 0, "uwsgi")


def asked(replica: Replica, queue: ReportQueue, number: int) -> Node:
    """A request for key ``number`` began."""
    pool = replica.pools[b"k%d.com" % number]
    node = pool.nodes[A]
    node.in_flight += 1
    queue.nodes[node] = queue.pools[pool] = None
    return node


@pytest.fixture
def replica() -> Replica:
    replica = Replica(random.Random(1))
    replica.apply([["reset"], *(node_op(f"k{number}.com") for number in range(COUNT)), ["done"]])
    return replica


def test_under_load_reports_are_short_and_nobody_starves(replica: Replica) -> None:
    queue, told = ReportQueue(), []
    nodes = [asked(replica, queue, number) for number in range(COUNT)]
    for _ in range(COUNT // MAX_ROWS_LOADED):
        asked(replica, queue, 0)
        taken, keys = queue.take(queue.rows(requests=MAX_ROWS_LOADED + 1))
        assert (len(taken), len(keys)) == (MAX_ROWS_LOADED, MAX_ROWS_LOADED)
        told += taken
    # The first is asked for all the time: it queues up again behind all others.
    assert told == nodes


def test_without_load_all_is_told_soon(replica: Replica) -> None:
    queue = ReportQueue()
    for number in range(COUNT):
        asked(replica, queue, number)
    reports = 0
    while queue.nodes or queue.pools:
        queue.take(queue.rows(requests=0))
        reports += 1
    assert reports == -(-COUNT // MAX_ROWS)


@pytest.mark.parametrize("op", [["gone", "k9.com", A], node_op("k9.com", draining=1), node_op("k9.com", weight=0)])
def test_stopped_nodes_go_first_until_no_request_is_left_there(replica: Replica, op: list[Any]) -> None:
    queue = ReportQueue()
    last = [asked(replica, queue, number) for number in range(10)][9]
    assert queue.stop(replica, [op])
    replica.apply([op])
    assert queue.take(0) == ([last], [])
    assert queue.take(0) == ([], [])
    last.in_flight = 0
    queue.nodes[last] = None
    assert queue.take(0) == ([last], [])
    queue.nodes[last] = None
    assert queue.take(0) == ([], [])


def test_a_node_whose_last_request_ended_queue_is_told_before_its_end_is_acked(replica: Replica) -> None:
    queue = ReportQueue()
    node = asked(replica, queue, 3)
    node.in_flight = 0
    assert queue.stop(replica, [["gone", "k3.com", A]])
    assert queue.take(0) == ([node], [])


def test_stopping_what_had_no_request_or_is_not_there_tells_nothing(replica: Replica) -> None:
    assert not ReportQueue().stop(
        replica, [["gone", "k1.com", A], ["gone", "nobody.com", A], ["gone", "k1.com", "x"], ["done"]]
    )


def test_a_new_control_is_told_everything_at_once(replica: Replica) -> None:
    queue = ReportQueue()
    queue.everything(replica)
    taken, keys = queue.take(queue.rows(requests=10_000))
    assert (len(taken), len(keys)) == (COUNT, COUNT)
    assert queue.rows(requests=10_000) == MAX_ROWS_LOADED
