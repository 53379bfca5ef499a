"""Which connection a request may have, and how a uwsgi worker is found to keep them, or not."""

from __future__ import annotations

import random

from support.entries import put

from fastroute.router.relay.idle_connections import (
    FIRST_WATCH_PAUSE,
    KEEPALIVE_PROOF_TIME,
    MAX_EARLY_CLOSES,
    MAX_IDLE_PER_NODE,
    MAX_IDLE_TIME,
    MAX_IDLE_UNPROVEN,
    MAX_IDLE_UNREPEATABLE,
    IdleConnections,
    answer_ended_by_close,
    connection_closed_early,
    connection_held,
    reuse_answered,
)
from fastroute.router.relay.node import KEEPALIVE, NO_KEEPALIVE, PERHAPS_KEEPALIVE, Node
from fastroute.router.relay.pool import Pool

SAFE, UNSAFE = True, False


def node_of(protocol: str = "http") -> Node:
    return put(Pool("foo.com", "wrr", random.Random(1)), "127.0.0.1:1", protocol=protocol)


def pool_of(node: Node) -> Pool:
    assert isinstance(node.pool, Pool)
    return node.pool


def test_the_one_that_waits_the_shortest_and_for_long_only_what_is_safe() -> None:
    idle, node = IdleConnections(10), node_of()
    for fd in (5, 6, 7):
        assert idle.put(node, fd, 100.0 + fd)
    assert idle.take(node, 107.0 + MAX_IDLE_UNREPEATABLE - 0.1, UNSAFE) == 7
    assert idle.take(node, 107.0 + MAX_IDLE_UNREPEATABLE, UNSAFE) == -1
    assert idle.take(node, 107.0 + MAX_IDLE_UNREPEATABLE, SAFE) == 6
    idle.closed(5, 120.0)
    assert idle.take(node, 120.0, SAFE) == -1
    assert not idle.waiting


def test_there_is_a_limit_for_each_node_and_one_for_all() -> None:
    idle, node, other = IdleConnections(MAX_IDLE_PER_NODE + 1), node_of(), node_of()
    assert [idle.put(node, fd, 1.0) for fd in range(MAX_IDLE_PER_NODE + 1)] == [True] * MAX_IDLE_PER_NODE + [False]
    assert [idle.put(other, 100 + fd, 1.0) for fd in range(2)] == [True, False]
    assert sorted(idle.drop(node)) == list(range(MAX_IDLE_PER_NODE))
    assert idle.close_all() == [100]
    assert not idle.put(node, 1, 1.0)


def test_what_waits_too_long_or_has_lost_its_node_expires() -> None:
    idle, node, gone = IdleConnections(10), node_of(), node_of()
    idle.put(node, 1, 0.0)
    idle.put(node, 2, 1.0)
    idle.put(gone, 3, 1.0)
    pool_of(gone).gone(gone.address)
    assert sorted(idle.expire(MAX_IDLE_TIME)) == [1, 3]
    put(pool_of(node), node.address, draining=True, protocol="http")
    assert idle.take(node, 2.0, SAFE) == -1
    assert idle.expire(2.0) == [2]
    assert not node.idle


def test_a_node_that_changes_its_protocol_keeps_nothing_of_before() -> None:
    idle, node = IdleConnections(10), node_of()
    idle.put(node, 1, 0.0)
    put(pool_of(node), node.address, protocol="uwsgi")
    assert node.keepalive == NO_KEEPALIVE
    assert idle.expire(0.1) == [1]


def test_a_uwsgi_worker_is_proved_by_an_answer_on_a_connection_that_has_waited() -> None:
    idle, node = IdleConnections(10), node_of("uwsgi")
    assert not idle.put(node, 1, 0.0)
    connection_held(node, 0.0)
    assert node.keepalive == PERHAPS_KEEPALIVE
    assert [idle.put(node, fd, 1.0) for fd in range(MAX_IDLE_UNPROVEN + 1)] == [True] * MAX_IDLE_UNPROVEN + [False]
    assert idle.take(node, 0.9 + KEEPALIVE_PROOF_TIME, SAFE) == -1
    assert idle.take(node, 1.0 + KEEPALIVE_PROOF_TIME, UNSAFE) == -1
    assert idle.take(node, 1.0 + KEEPALIVE_PROOF_TIME, SAFE) == 0
    reuse_answered(node)
    assert node.keepalive == KEEPALIVE
    assert idle.take(node, 1.0 + KEEPALIVE_PROOF_TIME, UNSAFE) == MAX_IDLE_UNPROVEN - 1


def test_one_that_closes_is_left_alone_for_a_while_longer_each_time() -> None:
    idle, node, now = IdleConnections(10), node_of("uwsgi"), 0.0
    for doubt in range(4):
        connection_held(node, now)
        assert node.keepalive == PERHAPS_KEEPALIVE
        idle.put(node, 1, now)
        idle.closed(1, now + KEEPALIVE_PROOF_TIME / 2)
        assert node.keepalive == NO_KEEPALIVE
        now += KEEPALIVE_PROOF_TIME / 2 + FIRST_WATCH_PAUSE * 2**doubt
        connection_held(node, now - 0.1)
        assert node.keepalive == NO_KEEPALIVE
        now += 1.0


def test_one_whose_answers_end_by_closing_is_not_watched_for_ever() -> None:
    node = node_of("uwsgi")
    connection_held(node, 0.0)
    for _ in range(MAX_EARLY_CLOSES - 1):
        answer_ended_by_close(node, 0.0)
    assert node.keepalive == PERHAPS_KEEPALIVE
    answer_ended_by_close(node, 0.0)
    assert node.keepalive == NO_KEEPALIVE
    connection_held(node, FIRST_WATCH_PAUSE)
    reuse_answered(node)
    for _ in range(MAX_EARLY_CLOSES):
        answer_ended_by_close(node, FIRST_WATCH_PAUSE)
    assert node.keepalive == KEEPALIVE


def test_a_restart_that_closes_many_at_once_disproves_nothing() -> None:
    idle, node = IdleConnections(100), node_of("uwsgi")
    connection_held(node, 10.0)
    reuse_answered(node)
    for fd in range(50):
        idle.put(node, fd, 10.0)
    for fd in range(50):
        idle.closed(fd, 10.0 + KEEPALIVE_PROOF_TIME / 2)
    assert node.keepalive == KEEPALIVE
    for second in range(MAX_EARLY_CLOSES):
        connection_closed_early(node, 12.0 + second)
    assert node.keepalive == NO_KEEPALIVE
