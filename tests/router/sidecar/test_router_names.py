"""Routers by name: waited for, kept through an outage of the name server, replaced when the name says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.programs import wait_for

from fastroute.router.protocol.address import parse_address
from fastroute.router.runtime import resolver
from fastroute.router.sidecar import router_names
from fastroute.router.sidecar.router_names import RouterNames


class NameServer:
    """What ``getaddrinfo`` says; None: nothing."""

    def __init__(self) -> None:
        self.ips: list[str] | None = None
        self.asked = 0

    def __call__(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked += 1
        if self.ips is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (ip, port)) for ip in self.ips]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    server = NameServer()
    monkeypatch.setattr(resolver.socket, "getaddrinfo", server)  # type: ignore[attr-defined]
    monkeypatch.setattr(router_names, "RESOLVE_FAILED", 0.01)
    return server


@pytest.fixture
def found(server: NameServer) -> Iterator[RouterNames]:
    with looked_up(float("inf")) as found:
        yield found


@contextmanager
def looked_up(keep: float) -> Iterator[RouterNames]:
    changed = threading.Event()
    routers = [parse_address("router.internal:3031"), parse_address("10.0.0.9:1")]
    found = RouterNames(routers, changed.set, every=0.02, keep=keep)
    found.start()
    yield found
    found.close()


def targets(found: RouterNames) -> list[object]:
    return [target for _, target in found.targets()]


def test_a_name_is_waited_for_followed_and_kept_while_it_does_not_resolve(
    server: NameServer, found: RouterNames
) -> None:
    wait_for(lambda: server.asked > 2, "asked again and again")
    assert targets(found) == [("10.0.0.9", 1)]
    server.ips = ["10.0.0.2", "10.0.0.1"]
    both = [("10.0.0.1", 3031), ("10.0.0.2", 3031), ("10.0.0.9", 1)]
    wait_for(lambda: targets(found) == both, "every address behind the name")
    server.ips = None
    asked = server.asked
    wait_for(lambda: server.asked > asked + 3, "asked again and again")
    assert targets(found) == both
    server.ips = ["10.0.0.3"]
    wait_for(lambda: targets(found) == [("10.0.0.3", 3031), ("10.0.0.9", 1)], "the new address alone")


def test_a_controller_gives_a_name_up_after_a_while(server: NameServer) -> None:
    server.ips = ["10.0.0.1"]
    with looked_up(0.05) as found:
        wait_for(lambda: not found.unresolved(), "it resolves")
        server.ips = None
        wait_for(lambda: targets(found) == [("10.0.0.9", 1)], "it has no address any more")
        assert found.unresolved() == ["router.internal:3031"]
