"""A request may ask for a key of 64 KiB, and no key has more than 255 bytes: what looking for it costs and leaves."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest
from support.entries import pool_row
from support.growth import assert_linear
from support.uwsgi_client import request_packet

from fastroute.router.compat.dotsplit import dotsplit_hosts, dotsplits
from fastroute.router.compat.mapper import Mapper
from fastroute.router.protocol.key import MAX_KEY, path_prefixes, wildcards
from fastroute.router.protocol.wire import encode_packet, encode_vars
from fastroute.router.relay.replica import MAX_REMEMBERED, Replica


def replica_of(*keys: str) -> Replica:
    replica = Replica(random.Random(1), dotsplit_hosts)
    replica.apply([["reset"], *(pool_row(key, "wrr") for key in keys), ["done"]])
    return replica


def labels(size: int) -> bytes:
    return b"A." + b"a." * (size // 2 - 3) + b"a:80"


def one_label(size: int) -> bytes:
    return b"a" * size


def port(size: int) -> bytes:
    return b"foo.com:" + b"0" * size


def asks_for_path(path: str) -> bytes:
    return encode_packet(0, 0, encode_vars([(b"PATH_INFO", path.encode())]))


@pytest.mark.parametrize("host", [labels, one_label, port])
@pytest.mark.parametrize("keys", [("foo.com", "*.b"), ("foo.com", "*.a/" + "a/" * 100, "a.a/b")])
def test_a_look_up_costs_what_reading_the_host_costs(host: Callable[[int], bytes], keys: tuple[str, ...]) -> None:
    replica = replica_of(*keys)
    packet = request_packet("")
    assert_linear(lambda asked: replica.find(asked, packet, len(packet)), host)


def test_a_look_up_costs_what_reading_the_path_costs() -> None:
    replica = replica_of("*.a/" + "a/" * 100, "*.a.a/" + "a/" * 90, "*.a.a.a/" + "a/" * 80)
    for path in ("/a", "/", "/" + "x" * 500):
        assert_linear(
            lambda packet: replica.find(b"A.a.a.a", packet, len(packet)),
            lambda size, path=path: asks_for_path(path * (size // len(path))),  # type: ignore[misc]
        )


def test_a_mapper_costs_what_reading_the_host_costs() -> None:
    for mapper in (Mapper(["/run/", ""], random.Random(1)), Mapper(["@", ""], random.Random(1))):
        for host in (labels, one_label, port):
            assert_linear(lambda asked, mapper=mapper: mapper.find(asked, 0.0), host)  # type: ignore[misc]


def test_a_look_up_of_the_longest_host_makes_no_more_than_a_key_of_255_bytes_can_match() -> None:
    host = b"a." * 32_000
    packet = asks_for_path("/a" * 30_000)
    replica = replica_of("*.b", "*.a./" + "a/" * 100)
    tracemalloc.start()
    try:
        replica.find(host, packet, len(packet))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_the_memory_of_searches_is_bounded_whatever_is_asked_for() -> None:
    replica, mapper = replica_of("*.example.com"), Mapper(["@", ""], random.Random(1))
    packet = request_packet("")
    tracemalloc.start()
    try:
        for number in range(MAX_REMEMBERED):
            asked = b"%05d.%b.example.com" % (number, b"x" * 30_000)
            assert replica.find(asked, packet, len(packet))
            mapper.find(b"a:%05d%b" % (number, b"0" * 30_000), 0.0)
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_what_fits_into_a_key_is_looked_up_and_what_does_not_is_not() -> None:
    longest = b"a." * 127
    assert [len(key) for key in wildcards(b"bbb" + longest)][:2] == [MAX_KEY - 1, MAX_KEY - 3]
    assert all(len(key) <= MAX_KEY for key in (*wildcards(longest * 9), *dotsplits(longest * 9)))
    assert len(path_prefixes(b"/a" * 300, MAX_KEY)[0]) == MAX_KEY - 1
    assert path_prefixes(b"/" + b"a" * (MAX_KEY - 1), 1) == [b"/" + b"a" * (MAX_KEY - 1)]
    assert path_prefixes(b"/" + b"a" * MAX_KEY, 1) == []
    assert replica_of("*.example.com").find(b"x" * 5_000 + b".example.com", b"", 0) is not None
