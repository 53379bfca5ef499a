"""Which connection a request may have, and how a uwsgi worker is found to keep them, or not."""

from __future__ import annotations

import random

from fastroute.router.relay.idle_connections import (
    CLOSED_AT_ONCE,
    FEW,
    FIRST_DOUBT,
    FRESH,
    LONGEST,
    MOST,
    PROOF,
    IdleConnections,
    answered,
    closed_at_once,
    ended_by_closing,
    held,
)
from fastroute.router.relay.pool import ALWAYS, NEVER, PERHAPS, Node, Pool

SAFE, UNSAFE = True, False


def node_of(protocol: str = "http") -> Node:
    return Pool("foo.com", "wrr", random.Random(1)).put("127.0.0.1:1", protocol=protocol)


def test_the_one_that_waits_the_shortest_and_for_long_only_what_is_safe() -> None:
    idle, node = IdleConnections(10), node_of()
    for fd in (5, 6, 7):
        assert idle.put(node, fd, 100.0 + fd)
    assert idle.take(node, 107.0 + FRESH - 0.1, UNSAFE) == 7
    assert idle.take(node, 107.0 + FRESH, UNSAFE) == -1
    assert idle.take(node, 107.0 + FRESH, SAFE) == 6
    idle.closed(5, 120.0)
    assert idle.take(node, 120.0, SAFE) == -1
    assert not idle.waiting


def test_there_is_a_limit_for_each_node_and_one_for_all() -> None:
    idle, node, other = IdleConnections(MOST + 1), node_of(), node_of()
    assert [idle.put(node, fd, 1.0) for fd in range(MOST + 1)] == [True] * MOST + [False]
    assert [idle.put(other, 100 + fd, 1.0) for fd in range(2)] == [True, False]
    assert sorted(idle.drop(node)) == list(range(MOST))
    assert idle.close_all() == [100]
    assert not idle.put(node, 1, 1.0)


def test_what_waits_too_long_or_has_lost_its_node_expires() -> None:
    idle, node, gone = IdleConnections(10), node_of(), node_of()
    idle.put(node, 1, 0.0)
    idle.put(node, 2, 1.0)
    idle.put(gone, 3, 1.0)
    gone.pool.gone(gone.address)
    assert sorted(idle.expire(LONGEST)) == [1, 3]
    node.pool.put(node.address, draining=True, protocol="http")
    assert idle.take(node, 2.0, SAFE) == -1
    assert idle.expire(2.0) == [2]
    assert not node.idle


def test_a_node_that_changes_its_protocol_keeps_nothing_of_before() -> None:
    idle, node = IdleConnections(10), node_of()
    idle.put(node, 1, 0.0)
    node.pool.put(node.address, protocol="uwsgi")
    assert node.keepalive == NEVER
    assert idle.expire(0.1) == [1]


def test_a_uwsgi_worker_is_proved_by_an_answer_on_a_connection_that_has_waited() -> None:
    idle, node = IdleConnections(10), node_of("uwsgi")
    assert not idle.put(node, 1, 0.0)
    held(node, 0.0)
    assert node.keepalive == PERHAPS
    assert [idle.put(node, fd, 1.0) for fd in range(FEW + 1)] == [True] * FEW + [False]
    assert idle.take(node, 0.9 + PROOF, SAFE) == -1
    assert idle.take(node, 1.0 + PROOF, UNSAFE) == -1
    assert idle.take(node, 1.0 + PROOF, SAFE) == 0
    answered(node)
    assert node.keepalive == ALWAYS
    assert idle.take(node, 1.0 + PROOF, UNSAFE) == FEW - 1


def test_one_that_closes_is_left_alone_for_a_while_longer_each_time() -> None:
    idle, node, now = IdleConnections(10), node_of("uwsgi"), 0.0
    for doubt in range(4):
        held(node, now)
        assert node.keepalive == PERHAPS
        idle.put(node, 1, now)
        idle.closed(1, now + PROOF / 2)
        assert node.keepalive == NEVER
        now += PROOF / 2 + FIRST_DOUBT * 2**doubt
        held(node, now - 0.1)
        assert node.keepalive == NEVER
        now += 1.0


def test_one_whose_answers_end_by_closing_is_not_watched_for_ever() -> None:
    node = node_of("uwsgi")
    held(node, 0.0)
    for _ in range(CLOSED_AT_ONCE - 1):
        ended_by_closing(node, 0.0)
    assert node.keepalive == PERHAPS
    ended_by_closing(node, 0.0)
    assert node.keepalive == NEVER
    held(node, FIRST_DOUBT)
    answered(node)
    for _ in range(CLOSED_AT_ONCE):
        ended_by_closing(node, FIRST_DOUBT)
    assert node.keepalive == ALWAYS


def test_a_restart_that_closes_many_at_once_disproves_nothing() -> None:
    idle, node = IdleConnections(100), node_of("uwsgi")
    held(node, 10.0)
    answered(node)
    for fd in range(50):
        idle.put(node, fd, 10.0)
    for fd in range(50):
        idle.closed(fd, 10.0 + PROOF / 2)
    assert node.keepalive == ALWAYS
    for second in range(CLOSED_AT_ONCE):
        closed_at_once(node, 12.0 + second)
    assert node.keepalive == NEVER
