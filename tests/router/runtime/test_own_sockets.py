"""Every way to write one of our own sockets is found to be it; no other address is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastroute.router.protocol.address import parse_address
from fastroute.router.runtime.listen import Listener, open_streams
from fastroute.router.runtime.own_sockets import OwnSockets, describe, local_addresses

HERE = frozenset({socket.inet_aton("10.7.7.7"), socket.inet_pton(socket.AF_INET6, "fd00::7")})


def sockets(*rows: tuple[str, tuple[int, int] | None, bool]) -> OwnSockets:
    return OwnSockets(rows, lambda: HERE)


@pytest.mark.parametrize(
    ("bound", "address", "own"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "localhost:80", True),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", True),
        ("127.0.0.1:80", "[::FFFF:7f00:1]:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "[::1]:80", False),
        ("0.0.0.0:80", "127.0.0.2:80", True),
        ("0.0.0.0:80", "10.7.7.7:80", True),
        ("0.0.0.0:80", "[::ffff:10.7.7.7]:80", True),
        ("0.0.0.0:80", "10.7.7.8:80", False),
        ("0.0.0.0:80", "[fd00::7]:80", False),
        ("[::]:80", "[fd00::7]:80", True),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "[::]:80", True),
        ("[::]:80", "10.7.7.7:80", False),
        ("[fd00::7]:80", "[fd00:0:0::7]:80", True),
        ("@front", "@front", True),
        ("@front", "@front2", False),
        ("127.0.0.1:80", "example.com:80", False),
        ("127.0.0.1:80", "127.0.0.1:", False),
        ("127.0.0.1:80", "", False),
        ("127.0.0.1:80", "/run/x", False),
    ],
)
def test_an_address_is_what_it_comes_to(bound: str, address: str, own: bool) -> None:
    assert sockets((bound, None, False)).owns(address) is own


def test_an_ipv6_socket_of_somebody_else_may_take_ipv4_too() -> None:
    assert sockets(("[::]:80", None, True)).owns("10.7.7.7:80")


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[Path, OwnSockets]]:
    path = tmp_path / "front.sock"
    with ExitStack() as stack:
        listeners = open_streams([parse_address(str(path)), parse_address("127.0.0.1:0")], 0o600)
        for listener in listeners:
            stack.callback(listener.socket.close)
        yield path, OwnSockets(describe(listeners))


def test_a_path_is_the_socket_that_is_there(front: tuple[Path, OwnSockets]) -> None:
    path, own = front
    (path.parent / "link").symlink_to(path)
    (path.parent / "way").symlink_to(path.parent)
    os.link(path, path.parent / "hard")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path.parent / "other.sock"))
        for name in ("front.sock", "/front.sock", "link", "way/front.sock", "hard", "../" + path.parent.name + "/link"):
            assert own.owns(f"{path.parent}/{name}"), name
        assert not own.owns(f"{path.parent}/other.sock")
    assert not own.owns(f"{path.parent}/missing")
    assert not own.owns("/a\0b")


def test_inherited_sockets_are_ours_by_what_they_are_bound_to(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_INET6) as both, socket.socket() as plain:
        unix.bind(str(tmp_path / "given.sock"))
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        plain.bind(("127.0.0.1", 0))
        own = OwnSockets(describe([Listener(one, parse_address("fd://3")) for one in (unix, both, plain)]))
        assert own.owns(f"{tmp_path}//given.sock")
        assert own.owns(f"127.0.0.1:{both.getsockname()[1]}")
        assert own.owns(f"localhost:{plain.getsockname()[1]}")


def test_what_this_machine_has_is_listed_again_when_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[frozenset[bytes]] = [HERE]
    everywhere = OwnSockets([("0.0.0.0:80", None, False)], lambda: listed[-1])
    assert not everywhere.owns("10.9.9.9:80")
    assert not everywhere.moved()
    listed.append(HERE | {socket.inet_aton("10.9.9.9")})
    assert everywhere.moved()
    assert everywhere.owns("10.9.9.9:80")
    assert not everywhere.moved()
    assert not sockets(("127.0.0.1:80", None, False)).moved(), "nothing depends on it"


def test_ten_thousand_nodes_ask_the_kernel_once() -> None:
    asked: list[int] = []

    def local() -> frozenset[bytes]:
        asked.append(1)
        return HERE

    own = OwnSockets([("0.0.0.0:80", None, False)], local)
    assert not any(own.owns(f"10.{n // 250}.{n % 250}.9:80") for n in range(10_000))
    assert len(asked) <= 2


def test_the_machine_has_its_own_addresses() -> None:
    assert socket.inet_aton("127.0.0.1") in local_addresses()
