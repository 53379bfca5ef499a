"""What other routers are told of the keys that are served here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.entries import make_entry

from fastroute.router.compat.resubscription import ANNOUNCE_INTERVAL, Resubscription
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.entry import MAX_HOPS
from fastroute.router.protocol.subscription import Announcement, Entry, decode

A, B = "10.0.0.1:80", "10.0.0.2:80"
HERE, THERE, BEYOND = "1" * 16, "2" * 16, "3" * 16


@pytest.fixture
def other() -> Iterator[socket.socket]:
    """The other router's subscription socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


def name(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


def heard(sock: socket.socket) -> list[tuple[str, str, str]]:
    """All that arrived: what, key, address."""
    said: list[Any] = []
    while True:
        try:
            packet = decode(sock.recv(65_536))
        except BlockingIOError:
            return said
        assert isinstance(packet, Announcement)
        said += [("leave" if one.gone else "join", one.key, one.address) for one in packet.entries]


class Here:
    """A table, and the resubscription that follows it."""

    def __init__(self, *routers: str, own: str = "127.0.0.1:3031") -> None:
        self.table = Table()
        self.table.router_id = HERE
        self.resubscription = Resubscription(tuple(map(parse_address, routers)), own, self.table)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        self.resubscription.withdraw()

    def apply(self, *entries: Entry, now: float = 0.0) -> None:
        self.table.apply(Announcement(entries=entries), "127.0.0.1", now)
        self.resubscription.changed({entry.key for entry in entries}, now)


def test_a_key_is_told_with_its_first_node_and_withdrawn_with_its_last(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(make_entry("foo.com", A, modifier1=5), Entry("foo.com", B))
        assert heard(other) == [("join", "foo.com", "127.0.0.1:3031")]
        here.apply(Entry("foo.com", A, gone=True))
        assert heard(other) == []
        here.apply(Entry("foo.com", B, gone=True))
        assert heard(other) == [("leave", "foo.com", "127.0.0.1:3031")]


def test_the_workers_modifiers_are_passed_on(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(make_entry("foo.com", A, modifier1=5, modifier2=7))
        packet = decode(other.recv(65_536))
        assert isinstance(packet, Announcement)
        assert packet.entries == (make_entry("foo.com", "127.0.0.1:3031", modifier1=5, modifier2=7, via=HERE),)


def told_via(sock: socket.socket) -> str:
    packet = decode(sock.recv(65_536))
    assert isinstance(packet, Announcement)
    return packet.entries[0].via


def test_the_way_is_told_with_a_key_and_again_when_it_gets_longer_or_shorter(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(Entry("foo.com", A, via=f"{THERE},{BEYOND}"))
        assert told_via(other) == f"{HERE},{THERE},{BEYOND}"
        here.apply(Entry("foo.com", B))
        assert told_via(other) == HERE
        here.apply(Entry("foo.com", B, gone=True))
        assert told_via(other) == f"{HERE},{THERE},{BEYOND}"


def test_our_own_word_is_no_node_and_takes_back_what_it_said_before(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(Entry("foo.com", A, via=THERE))
        assert heard(other) == [("join", "foo.com", "127.0.0.1:3031")]
        here.apply(Entry("foo.com", A, via=f"{THERE},{HERE}"))
        assert here.table.member("foo.com", A) is None
        assert heard(other) == [("leave", "foo.com", "127.0.0.1:3031")]


def test_a_key_that_came_through_too_many_routers_is_told_no_further(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(Entry("foo.com", A, via=",".join(f"{number:016}" for number in range(MAX_HOPS))))
        assert heard(other) == []


def test_a_key_whose_nodes_all_drain_is_withdrawn(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(Entry("foo.com", A))
        here.apply(Entry("foo.com", A, drain=True))
        assert [what for what, _, _ in heard(other)] == ["join", "leave"]


def test_all_is_said_again_before_the_other_router_forgets(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(Entry("foo.com", A), now=100.0)
        here.apply(Entry("bar.com", A), now=103.0)
        heard(other)
        here.resubscription.refresh(100.0 + ANNOUNCE_INTERVAL - 0.1)
        assert heard(other) == []
        here.resubscription.refresh(100.0 + ANNOUNCE_INTERVAL)
        assert [key for _, key, _ in heard(other)] == ["foo.com"]
        here.resubscription.refresh(103.0 + ANNOUNCE_INTERVAL)
        assert [key for _, key, _ in heard(other)] == ["bar.com"]


def test_the_end_of_the_router_withdraws_everything_for_good(other: socket.socket) -> None:
    with Here(name(other)) as here:
        here.apply(Entry("foo.com", A), Entry("bar.com", A))
        heard(other)
        here.resubscription.withdraw()
        here.apply(Entry("new.com", A), now=100.0)
        here.resubscription.refresh(200.0)
        assert sorted(heard(other)) == [("leave", "bar.com", "127.0.0.1:3031"), ("leave", "foo.com", "127.0.0.1:3031")]


def test_a_router_on_all_interfaces_names_the_one_towards_the_other(other: socket.socket) -> None:
    with Here(name(other), own="0.0.0.0:3031") as here:
        here.apply(Entry("foo.com", A))
        assert heard(other) == [("join", "foo.com", "127.0.0.1:3031")]


def test_a_name_is_told_at_each_of_its_addresses_and_a_missing_router_hurts_nobody(
    other: socket.socket, tmp_path: Path
) -> None:
    port = other.getsockname()[1]
    with Here(f"{tmp_path}/missing", f"other.example:{port}") as here:
        here.apply(Entry("foo.com", A))
        assert heard(other) == []
        assert here.resubscription.book.names == {f"other.example:{port}"}
        here.resubscription.book.resolved(f"other.example:{port}", ("127.0.0.1",), 0.0)
        here.resubscription.refresh(ANNOUNCE_INTERVAL)
        assert heard(other) == [("join", "foo.com", "127.0.0.1:3031")]
