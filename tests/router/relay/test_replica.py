"""A relay's copy of the pools: ops in any order, and the search for a request's pool."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import pool_row
from support.uwsgi_client import request_packet

from fastroute.router.compat.dotsplit import dotsplit_hosts
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.replica import MAX_REMEMBERED, MAX_SEGMENTS, Replica

A, B = "10.0.0.1:80", "10.0.0.2:80"


def node(key: str, address: str = A, **more: Any) -> list[Any]:
    values = {"weight": 1, "backup": 0, "draining": 0, "modifier1": 0, "modifier2": 0, "protocol": "uwsgi"} | more
    return ["node", key, address, values]


def replica_of(*keys: str, dotsplit: bool = False, max_segments: int = MAX_SEGMENTS) -> Replica:
    replica = Replica(random.Random(1), dotsplit_hosts if dotsplit else None, max_segments)
    assert replica.apply([["reset"], *(pool_row(key, "wrr") for key in keys), ["done"]]) == []
    return replica


def found(replica: Replica, host: str, path: str = "/") -> str | None:
    packet = request_packet(host, path=path)
    pool: Pool | None = replica.find(host.encode("latin-1"), packet, len(packet))
    return pool.key if pool else None


def test_ops_before_the_first_snapshot_are_not_for_this_relay() -> None:
    replica = Replica(random.Random(1))
    replica.apply([node("old.com")])
    assert not replica.pools
    replica.apply([["reset"], node("foo.com"), ["done"]])
    assert set(replica.pools) == {b"foo.com"}


def test_a_snapshot_replaces_what_it_does_not_repeat_and_only_at_its_end() -> None:
    replica = replica_of()
    replica.apply([node("foo.com", A), node("foo.com", B), node("bar.com", A)])
    kept = replica.pools[b"foo.com"].nodes[A]
    replica.apply([["reset"], pool_row("foo.com", "lrc"), node("foo.com", A)])
    assert found(replica, "bar.com") == "bar.com"
    replica.apply([node("new.com"), ["done"]])
    assert found(replica, "bar.com") is None
    assert replica.pools[b"foo.com"].nodes == {A: kept}
    assert replica.pools[b"foo.com"].algorithm == "lrc"
    assert found(replica, "new.com") == "new.com"


def test_a_key_without_nodes_is_known_until_it_is_forgotten() -> None:
    replica = replica_of("foo.com")
    replica.apply([node("foo.com"), ["gone", "foo.com", A]])
    assert found(replica, "foo.com") == "foo.com"
    replica.apply([["forget", "foo.com"]])
    assert found(replica, "foo.com") is None


@pytest.mark.parametrize(
    "op", [[], ["what"], ["node", "foo.com"], node("foo.com", "name:80"), ["pool"], node("foo.com", weight="x")]
)
def test_an_op_that_makes_no_sense_is_told_and_the_rest_counts(op: list[Any]) -> None:
    replica = replica_of()
    assert len(replica.apply([op, node("bar.com")])) == 1
    assert found(replica, "bar.com") == "bar.com"


def test_the_order_of_lookup() -> None:
    replica = replica_of("foo.com", "foo.com:8080", "*.example.com", "*.b.example.com", "a.b.example.com")
    assert found(replica, "Foo.COM.") == "foo.com"
    assert found(replica, "foo.com:8080") == "foo.com:8080"
    assert found(replica, "foo.com:9999") == "foo.com"
    assert found(replica, "A.b.example.com:80") == "a.b.example.com"
    assert found(replica, "x.y.b.example.com") == "*.b.example.com"
    assert found(replica, "x.example.com") == "*.example.com"
    assert found(replica, "example.com") is None
    assert found(replica, "nope") is None


def test_paths_longest_first_then_the_host() -> None:
    replica = replica_of("foo.com", "foo.com/api", "foo.com/api/v2", "only.com/app", "*.example.com/app")
    assert found(replica, "foo.com", "/api/v2/users?x=1") == "foo.com/api/v2"
    assert found(replica, "FOO.com:80", "/api") == "foo.com/api"
    assert found(replica, "foo.com", "/apis") == "foo.com"
    assert found(replica, "only.com", "/app/x") == "only.com/app"
    assert found(replica, "only.com", "/") is None
    assert found(replica, "a.example.com", "/app") == "*.example.com/app"


def test_a_path_is_not_searched_for_any_more_once_no_key_has_one() -> None:
    replica = replica_of("foo.com", "foo.com/api", "foo.com/api/v2")
    replica.apply([["forget", "foo.com/api/v2"]])
    assert found(replica, "foo.com", "/api/v2") == "foo.com/api"
    replica.apply([["forget", "foo.com/api"]])
    assert found(replica, "foo.com", "/api/v2") == "foo.com"


def test_dotsplit_finds_keys_with_a_leading_dot_when_asked_to() -> None:
    assert found(replica_of(".example.com", dotsplit=True), "a.b.example.com") == ".example.com"
    assert found(replica_of(".example.com"), "a.b.example.com") is None


def test_what_was_found_by_searching_is_searched_again_when_keys_change() -> None:
    replica = replica_of("*.example.com")
    assert found(replica, "a.example.com") == "*.example.com"
    replica.apply([pool_row("a.example.com", "wrr")])
    assert found(replica, "a.example.com") == "a.example.com"
    replica.apply([["forget", "a.example.com"], ["forget", "*.example.com"]])
    assert found(replica, "a.example.com") is None


def test_a_scan_with_random_hosts_does_not_fill_the_memory() -> None:
    replica = replica_of("*.example.com")
    for number in range(3 * MAX_REMEMBERED):
        assert found(replica, f"h{number}.example.com")
    assert len(replica._remembered) <= MAX_REMEMBERED


@given(st.lists(st.sampled_from(["a.com", "*.com", "b.a.com", "*.a.com"]), unique=True), st.text("ab.*:", max_size=9))
def test_remembering_and_paths_elsewhere_change_no_answer(keys: list[str], host: str) -> None:
    plain, with_path = replica_of(*keys), replica_of(*keys, "other.com/x")
    assert found(plain, host) == found(plain, host) == found(with_path, host)


def test_cheap_mode_is_told_by_accept() -> None:
    replica = replica_of()
    assert replica.serves
    replica.apply([["accept", 0]])
    assert not replica.serves
    replica.apply([["accept", 1]])
    assert replica.serves


def test_nothing_is_accepted_before_the_first_snapshot_is_complete() -> None:
    replica = Replica(random.Random(1))
    for op in (["accept", 1], ["reset"], ["accept", 1], node("foo.com")):
        replica.apply([op])
        assert not replica.serves, op
    replica.apply([["done"]])
    assert replica.serves


def test_mountpoints_limit_how_much_of_a_path_counts() -> None:
    keys = ("foo.com", "foo.com/a", "foo.com/a/b")
    for limit, expected in ((0, "foo.com/a/b"), (2, "foo.com/a/b"), (1, "foo.com/a")):
        replica = replica_of(*keys, max_segments=limit or MAX_SEGMENTS)
        assert found(replica, "foo.com", "/a/b/c") == expected
        assert found(replica, "foo.com", "/x") == "foo.com"
