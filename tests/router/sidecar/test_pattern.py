"""Addresses of workers as people write them, against the interfaces of some machine."""

from __future__ import annotations

import socket

import pytest

from fastroute.router.runtime.interfaces import InterfaceAddress, interface_addresses
from fastroute.router.sidecar import listening
from fastroute.router.sidecar.listening import listener, listeners, unix_listener
from fastroute.router.sidecar.pattern import parse_pattern

MACHINE = [
    InterfaceAddress("lo", "127.0.0.1"),
    InterfaceAddress("eth0", "10.0.0.5"),
    InterfaceAddress("eth1", "192.168.7.3"),
    InterfaceAddress("lo", "::1"),
    InterfaceAddress("eth1", "fe80::1"),
    InterfaceAddress("eth1", "fd00::3"),
    InterfaceAddress("v6only0", "fe80::9"),
    InterfaceAddress("v6only0", "fd00::9"),
    InterfaceAddress("starting0", "fe80::8"),
    InterfaceAddress("bare0", ""),
]


@pytest.mark.parametrize(
    ("text", "announced"),
    [
        ("192.*:8000", "192.168.7.3:8000"),
        ("10.0.0.?:8000", "10.0.0.5:8000"),
        ("eth1:8000", "192.168.7.3:8000"),
        ("eth*:8000", "10.0.0.5:8000"),
        ("v6only0:8000", "[fd00::9]:8000"),
        ("[fd00:*]:8000", "[fd00::3]:8000"),
        ("[fd00::3]:8000", "[fd00::3]:8000"),
        (":8000", ":8000"),
        ("0.0.0.0:8000", ":8000"),
        ("10.9.9.9:8000", "10.9.9.9:8000"),
        ("web.internal:8000", "web.internal:8000"),
        ("/run/app.sock", "/run/app.sock"),
        ("@app", "@app"),
    ],
)
def test_what_is_announced(text: str, announced: str) -> None:
    pattern = parse_pattern(text)
    host = pattern.host_among(MACHINE)
    assert host is not None
    assert pattern.address(host, pattern.port) == announced


@pytest.mark.parametrize("text", ["172.*:8000", "wlan*:8000", "starting0:8000", "bare0:8000"])
def test_a_pattern_without_address_waits(text: str) -> None:
    assert parse_pattern(text).host_among(MACHINE) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.*", "no address"),
        ("192.*:http", "port 'http'"),
        ("192.*:70000", "no number from 0 to 65535"),
        ("fd00:*:80", "a pattern like"),
        ("19 2.*:80", "a pattern like"),
        ("fd://3", "a worker's address expected"),
        ("./app.sock", "an absolute socket path"),
        ("a_b!c:80", "neither an IP address nor a host name"),
    ],
)
def test_what_is_no_pattern(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_pattern(text)


def test_the_kernel_knows_our_loopback() -> None:
    assert InterfaceAddress("lo", "127.0.0.1", 1) in interface_addresses()


def test_the_kernel_knows_who_listens(tmp_path: object) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert not listener(port, (), listeners())
        sock.listen()
        assert listener(port, (), listeners()) == "127.0.0.1"
        assert listener(port, ("127.0.0.1",), listeners()) == "127.0.0.1"
        assert not listener(port, ("127.0.0.2",), listeners())
    assert not listener(port, (), listeners())
    path = f"{tmp_path}/with a blank.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert not unix_listener(path)
        sock.listen()
        assert unix_listener(path)


def test_without_sock_diag_the_table_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(family: int) -> None:
        raise OSError("no sock_diag")

    v6 = socket.AF_INET6
    with socket.create_server(("127.0.0.1", 0)) as four, socket.create_server(("::1", 0), family=v6) as six:
        ours = {("127.0.0.1", four.getsockname()[1]), ("::1", six.getsockname()[1])}
        assert ours <= listeners()
        monkeypatch.setattr(listening, "_query", refuses)
        assert ours <= listeners()


def test_who_listens_on_every_address_is_reached_by_each() -> None:
    found = {("0.0.0.0", 80), ("::", 81)}
    assert listener(80, (), found) == "127.0.0.1"
    assert listener(80, ("10.0.0.5",), found) == "10.0.0.5"
    assert listener(81, ("10.0.0.5",), found) == "10.0.0.5"
    assert listener(81, (), found) == "::1"
