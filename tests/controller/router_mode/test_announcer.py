"""The announcer over real sockets: names, UDP of both families, unix paths, and routers that come and go."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.applying import apply
from support.lossy_link import shown
from support.table_server import TableServer
from support.waiting import wait_for

from fastroute.controller.desired import Desired, Route
from fastroute.controller.router_mode import announcer as module
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.router.protocol.address import AddressError, parse_address
from fastroute.router.protocol.subscription import Entry
from fastroute.router.runtime.ack_socket import ACK_PREFIX

ONE = Entry("foo.com", "10.0.0.1:8000", owner="c1@1")
TWO = Entry("bar.com", "10.0.0.2:8000", owner="c2@1")


def desired(*entries: Entry) -> Desired:
    routes = [Route(entry, "some-container") for entry in entries]
    return {route.id: route for route in routes}


Announce = Callable[..., SourceAnnouncer]
Serve = Callable[[tuple[str, int] | str], TableServer]


@pytest.fixture
def announce() -> Iterator[Announce]:
    started: list[SourceAnnouncer] = []

    def start(*routers: str, heartbeat: float = 5.0) -> SourceAnnouncer:
        started.append(SourceAnnouncer([parse_address(router) for router in routers], lambda: "test", heartbeat))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[TableServer] = []

    def start(address: tuple[str, int] | str) -> TableServer:
        started.append(TableServer(address))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_routers_behind_udp_hold_what_is_desired(host: str, announce: Announce, serve: Serve) -> None:
    server = serve((host, 0))
    announcer = announce(f"[{host}]:{server.address[1]}" if ":" in host else f"{host}:{server.address[1]}")
    apply(announcer, desired(ONE, TWO))
    wait_for(lambda: server.held == shown([ONE, TWO]))
    apply(announcer, desired(TWO))
    wait_for(lambda: server.held == shown([TWO]))


def test_a_unix_router_acks_to_a_path_beside_its_socket_that_is_gone_in_the_end(
    tmp_path: Path, announce: Announce, serve: Serve
) -> None:
    server = serve(str(tmp_path / "subscribe.sock"))
    announcer = announce(str(tmp_path / "subscribe.sock"))
    apply(announcer, desired(ONE))
    wait_for(lambda: server.held == shown([ONE]))
    wait_for(lambda: announcer.status()["routers"][0]["state"] == "acked")  # type: ignore[index]  # JSON
    announcer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["subscribe.sock"]


def test_stale_sockets_of_killed_controllers_are_removed_and_live_ones_are_not(
    tmp_path: Path, announce: Announce, serve: Serve
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / f"{ACK_PREFIX}dead"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alive:
        alive.bind(str(tmp_path / f"{ACK_PREFIX}alive"))
        serve(str(tmp_path / "subscribe.sock"))
        announce(str(tmp_path / "subscribe.sock"))
        wait_for(lambda: not (tmp_path / f"{ACK_PREFIX}dead").exists())
        assert (tmp_path / f"{ACK_PREFIX}alive").exists()


def test_a_unix_router_that_comes_later_and_again_is_told_everything(
    tmp_path: Path, announce: Announce, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "subscribe.sock")
    announcer = announce(path)
    apply(announcer, desired(ONE))
    wait_for(lambda: announcer.status()["routers"][0]["trouble"])  # type: ignore[index]  # JSON
    first = serve(path)
    wait_for(lambda: first.held == shown([ONE]))
    first.close()
    second = serve(path)
    wait_for(lambda: second.held == shown([ONE]), seconds=2.0)
    missing = [record.getMessage() for record in caplog.records if "No such file" in record.getMessage()]
    assert missing == [f"router {path}: No such file or directory; keeps trying"]


def test_a_udp_router_that_restarts_holds_everything_within_a_heartbeat(announce: Announce, serve: Serve) -> None:
    first = serve(("127.0.0.1", 0))
    announcer = announce(f"127.0.0.1:{first.address[1]}", heartbeat=0.2)
    apply(announcer, desired(ONE))
    wait_for(lambda: first.held == shown([ONE]))
    first.close()
    second = serve(first.address)
    wait_for(lambda: second.held == shown([ONE]))


def test_every_address_behind_a_name_is_told_and_the_name_is_looked_up_again(
    announce: Announce, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = serve(("127.0.0.1", 0))
    two, three = serve(("127.0.0.2", one.address[1])), serve(("127.0.0.3", one.address[1]))
    hosts = ["127.0.0.1", "127.0.0.2"]

    def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host == "router.internal"
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (found, port)) for found in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(module, "RESOLVE_INTERVAL", 0.05)
    announcer = announce(f"router.internal:{one.address[1]}")
    apply(announcer, desired(ONE))
    wait_for(lambda: one.held == two.held == shown([ONE]))
    hosts[:] = ["127.0.0.3"]
    wait_for(lambda: three.held == shown([ONE]))
    # Those that left are told on for a while.
    apply(announcer, desired(TWO))
    wait_for(lambda: one.held == two.held == three.held == shown([TWO]))
    assert len(announcer.status()["routers"]) == 3  # type: ignore[arg-type]  # JSON
    monkeypatch.setattr(module, "KEEP_ADDRESSES", 0.0)
    wait_for(lambda: len(announcer.status()["routers"]) == 1)  # type: ignore[arg-type]  # JSON


def test_a_router_that_left_its_name_and_answers_no_more_keeps_nobody_waiting(
    announce: Announce, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays = serve(("127.0.0.1", 0))
    leaves = TableServer(("127.0.0.2", stays.address[1]))
    hosts = ["127.0.0.1", "127.0.0.2"]

    def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (found, port)) for found in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(module, "RESOLVE_INTERVAL", 0.05)
    announcer = announce(f"router.internal:{stays.address[1]}", heartbeat=0.1)
    try:
        apply(announcer, desired(ONE))
        wait_for(lambda: stays.held == leaves.held == shown([ONE]))
    finally:
        leaves.close()
    hosts.remove("127.0.0.2")
    apply(announcer, desired(TWO))
    wait_for(lambda: list(announcer.routers().values()) == [""], "all that counts is acked")


def test_a_router_that_is_at_another_address_with_its_pools_of_before_is_told_what_has_changed(
    announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a swarm restarts a router: its snapshot is there, so all that was announced to it counts as heard."""
    first = TableServer(("127.0.0.1", 0))
    hosts = ["127.0.0.1"]

    def lookup(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (found, port)) for found in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(module, "RESOLVE_INTERVAL", 0.05)
    announcer = announce(f"router.internal:{first.address[1]}", heartbeat=0.1)
    for number in range(20):
        apply(announcer, desired(ONE, TWO, Entry("some.com", f"10.0.1.{number}:8000", owner="c3@1")))
        wait_for(lambda number=number: any(address == f"10.0.1.{number}:8000" for _, address, *_ in first.held))
    wait_for(lambda: first.router.table.sources["test"].floor > 0)
    first.close()
    apply(announcer, desired(ONE))
    second = TableServer(("127.0.0.2", first.address[1]), first)
    hosts[:] = ["127.0.0.2"]
    try:
        wait_for(lambda: second.held == shown([ONE]), "what left meanwhile leaves", 3)
        apply(announcer, desired(TWO))
        wait_for(lambda: second.held == shown([TWO]), "what changes later", 3)
        wait_for(lambda: [row["state"] for row in announcer.status()["routers"]] == ["acked"])  # type: ignore[attr-defined]
    finally:
        second.close()


def test_a_name_that_does_not_resolve_holds_up_no_other_router(
    announce: Announce, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(host: str, *_: object, **__: object) -> list[object]:
        time.sleep(0.2)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    server = serve(("127.0.0.1", 0))
    announcer = announce("nobody.invalid:3031", f"127.0.0.1:{server.address[1]}")
    apply(announcer, desired(ONE))
    wait_for(lambda: server.held == shown([ONE]), seconds=1.0)
    assert announcer.status()["unresolved"] == ["nobody.invalid:3031"]


def test_apply_does_not_wait_for_a_router_whose_queue_is_full(tmp_path: Path, announce: Announce) -> None:
    path = str(tmp_path / "subscribe.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stuck:
        stuck.bind(path)
        announcer = announce(path)
        for number in range(2_000):
            apply(announcer, desired(ONE, Entry("foo.com", f"10.0.0.3:{number + 1}", owner="c3@1")))
        began = time.monotonic()
        apply(announcer, desired(TWO))
        assert time.monotonic() - began < 0.5
    server = TableServer(path)
    try:
        wait_for(lambda: server.held == shown([TWO]))
    finally:
        server.close()


def test_ten_thousand_nodes_are_all_held_and_acked(tmp_path: Path, announce: Announce, serve: Serve) -> None:
    server = serve(str(tmp_path / "subscribe.sock"))
    announcer = announce(str(tmp_path / "subscribe.sock"))
    wait_for(lambda: announcer.status()["routers"][0]["state"] == "acked")  # type: ignore[index]  # JSON
    many = [Entry("foo.com", f"10.0.{n // 250}.{n % 250}:8000", owner="c1@1") for n in range(10_000)]
    apply(announcer, desired(*many))
    wait_for(lambda: len(server.held) == 10_000)
    wait_for(lambda: announcer.status()["routers"][0]["pending"] == 0)  # type: ignore[index]  # JSON


@pytest.mark.parametrize("text", ["fd://3", "@abstract"])
def test_an_address_that_can_not_be_announced_to_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="UDP"):
        SourceAnnouncer([parse_address(text)], lambda: "test", 5.0)
