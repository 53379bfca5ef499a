"""Docker's JSON, read."""

from __future__ import annotations

import pytest
from support.fake_container import FakeContainer

from fastroute.controller.decide.container import nanoseconds, read_inspect, read_network, read_summary, signal_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("15", 15), ("quit", 3), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("nonsense", 0), ("", 0)],
)
def test_signals_are_understood_however_they_are_written(text: str, number: int) -> None:
    assert signal_number(text) == number


def test_times_keep_their_nanoseconds() -> None:
    assert nanoseconds("1970-01-01T00:00:01.000000002Z") == 1_000_000_002
    assert nanoseconds("1970-01-01T01:00:01.5+01:00") == 1_500_000_000
    assert nanoseconds("0001-01-01T00:00:00Z") == 0
    assert nanoseconds("") == 0


@pytest.mark.parametrize("status", ["created", "running", "paused", "exited"])
@pytest.mark.parametrize("health", ["", "starting", "healthy", "unhealthy"])
def test_list_and_inspect_of_one_container_have_one_fingerprint(status: str, health: str) -> None:
    one = FakeContainer("web-1", {"a": "b"}, ["back", "web"], health=health)
    one.status, one.networks["web"], one.endpoints["web"] = status, "10.0.0.2", "e1"
    if status == "running":
        assert read_inspect(one.inspect()).fingerprint == read_summary(one.row()).fingerprint


def test_a_restart_at_the_same_address_shows_in_the_list() -> None:
    one = FakeContainer("web-1", {}, ["web"])
    one.status, one.networks["web"], one.endpoints["web"] = "running", "10.0.0.2", "e1"
    before = read_summary(one.row()).fingerprint
    one.endpoints["web"] = "e2"
    assert read_summary(one.row()).fingerprint != before


def test_a_paused_container_is_not_running_whatever_docker_says() -> None:
    one = FakeContainer("web-1", {}, ["web"])
    one.status = "paused"
    assert one.inspect()["State"]["Running"]
    assert not read_inspect(one.inspect()).running


def test_what_docker_leaves_out_is_empty() -> None:
    container = read_inspect({"Id": "a", "State": {}, "Config": None, "HostConfig": None})
    assert (container.labels, container.endpoints, container.ports, container.stop_signal) == ({}, (), (), 15)
    with pytest.raises(ValueError, match="State"):
        read_inspect({"Id": "a"})


def test_an_ipv6_address_serves_where_there_is_no_other() -> None:
    answer = {"NetworkSettings": {"Networks": {"six": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}}}
    container = read_inspect({"Id": "a", "State": {}, **answer})
    assert container.endpoints[0].address == "fd00::2"


def test_the_ipv4_gateway_of_a_network_goes_first() -> None:
    row = {
        "Name": "n",
        "Driver": "bridge",
        "Scope": "local",
        "IPAM": {"Config": [{"Gateway": "fd00::1"}, {"Gateway": "10.0.0.1"}]},
    }
    assert read_network(row).gateway == "10.0.0.1"
    assert not read_network({**row, "Driver": "overlay"}).local_bridge
