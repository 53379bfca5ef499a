"""Stops, and health: what tells a worker that says goodbye from one that goes on.  No threads, no clock."""

from __future__ import annotations

import pytest
from support.simulated_engine import Simulation

from fastroute.controller.decide import messages as m

FOO = {"fastroute.key": "foo.com"}
UNPROBED = {**FOO, "fastroute.probe": "none"}


@pytest.fixture
def sim() -> Simulation:
    simulation = Simulation()
    simulation.connect()
    return simulation


def test_a_container_that_was_healthy_stays_routed_when_a_new_daemon_begins_its_checks_anew(sim: Simulation) -> None:
    one = sim.docker.run("web-1", FOO, health="x")
    two = sim.docker.run("web-2", FOO, health="x")
    sim.docker.set_health(one, "healthy")
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    before = len(sim.applied)
    for _ in range(2):
        sim.tell(m.Disconnected("as told"))
        sim.docker.begin_health_again()
        sim.connect()
        sim.pass_time(40)
    assert (sim.nodes, len(sim.applied)) == ({("foo.com", "web-1")}, before)
    assert sim.state("web-1") == ("ready", "healthy before Docker began its checks anew")
    assert sim.state("web-2")[0] == "pending"
    assert sim.drift == {}
    sim.docker.set_health(one, "unhealthy")
    sim.docker.set_health(two, "healthy")
    sim.decide()
    assert sim.nodes == set()
    sim.docker.begin_health_again()
    sim.settle()
    assert sim.state("web-1")[0] == "pending"
    sim.docker.die(two)
    sim.docker.start_container(two)
    sim.settle()
    assert sim.state("web-2")[0] == "pending"


@pytest.mark.parametrize("signal", [15, 3, 2])
@pytest.mark.parametrize("how", ["tcp", "path", "HEALTHCHECK"])
def test_a_long_goodbye_that_accepts_and_answers_gets_no_traffic_again(sim: Simulation, how: str, signal: int) -> None:
    """``docker stop -t 120 --signal ...``: neither stands in an inspect or an event."""
    labels = {**FOO, "fastroute.probe": "/up" if how == "path" else "tcp"}
    one = sim.docker.run("web-1", labels, health="x" if how == "HEALTHCHECK" else "")
    if one.health:
        sim.docker.set_health(one, "healthy")
    sim.settle()
    assert sim.nodes
    sim.docker.kill(one, signal)
    sim.settle()
    before = len(sim.applied)
    sim.pass_time(120)
    assert sim.state("web-1")[0] == "draining"
    sim.docker.kill(one, 9)
    sim.docker.die(one)
    sim.settle()
    assert all(not route.entry.address for routes in sim.applied[before:] for route in routes.values())


def test_the_reason_names_a_signal_that_only_looks_like_a_stop(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.kill(one, 3)
    sim.settle()
    assert sim.state("web-1") == ("draining", "it got SIGQUIT, which is taken for a stop")
    sim.docker.kill(one, 15)
    sim.settle()
    assert sim.state("web-1") == ("draining", "it got its stop signal")


@pytest.mark.parametrize(("probe", "key", "asked"), [("tcp", "foo.com", "/"), ("tcp", "foo.com/api", "/api"),
                                                     ("/up", "foo.com", "/up")])  # fmt: skip
def test_who_outlives_a_stop_signal_comes_back_once_a_get_is_answered(
    sim: Simulation, probe: str, key: str, asked: str
) -> None:
    one = sim.docker.run("web-1", {"fastroute.key": key, "fastroute.probe": probe}, stop_timeout=200)
    sim.settle()
    sim.docker.kill(one, 15)
    sim.settle()
    sim.accepts = False
    sim.pass_time(204.9)
    assert not sim.probes
    sim.pass_time(5)
    assert [target.path for target in sim.probes] == [asked]
    assert (sim.state("web-1")[0], sim.nodes) == ("draining", set())
    sim.accepts = True
    sim.pass_time(1)
    assert (sim.nodes, sim.probes) == ({(key, "web-1")}, {})
    sim.docker.kill(one, 15)
    sim.settle()
    assert not sim.nodes


def test_a_healthcheck_that_fails_and_passes_again_after_a_stop_signal_ends_it_sooner(sim: Simulation) -> None:
    one = sim.docker.run("web-1", FOO, health="x")
    sim.docker.set_health(one, "healthy")
    sim.settle()
    sim.docker.kill(one, 15)
    sim.settle()
    for health in ("unhealthy", "healthy"):
        sim.docker.set_health(one, health)
        sim.settle()
        sim.pass_time(5)
        assert not sim.nodes
    sim.pass_time(4.9)
    assert not sim.nodes
    sim.pass_time(0.2)
    assert sim.nodes
    sim.docker.set_health(one, "unhealthy")
    sim.settle()
    assert not sim.nodes
    sim.docker.set_health(one, "healthy")
    sim.settle()
    sim.pass_time(200)
    assert (len(sim.nodes), sim.state("web-1")) == (1, ("ready", "healthy"))


def test_a_healthy_container_that_outlives_its_stop_signal_is_asked_as_well(sim: Simulation) -> None:
    one = sim.docker.run("web-1", FOO, health="x")
    sim.docker.set_health(one, "healthy")
    sim.settle()
    sim.docker.kill(one, 15)
    sim.settle()
    sim.accepts = False
    sim.pass_time(130)
    assert (sim.nodes, [target.path for target in sim.probes]) == (set(), ["/"])
    sim.accepts = True
    sim.pass_time(1)
    assert sim.nodes


def test_who_is_not_to_be_probed_outlives_its_stop_signal_by_time_alone(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.kill(one, 15)
    sim.settle()
    sim.pass_time(124.9)
    assert not sim.nodes
    sim.pass_time(0.2)
    assert sim.nodes


@pytest.mark.parametrize("labels", [FOO, UNPROBED])
def test_a_child_that_ran_out_of_memory_takes_nothing_away(sim: Simulation, labels: dict[str, str]) -> None:
    one = sim.docker.run("web-1", labels)
    sim.settle()
    before, sim.accepts = len(sim.applied), False
    sim.docker.run_out_of_memory(one)
    sim.decide()
    assert sim.nodes
    sim.settle()
    assert (len(sim.applied), sim.probes, sim.state("web-1")[0]) == (before, {}, "ready")
    sim.docker.run_out_of_memory(one)
    sim.docker.die(one, 137)
    sim.decide()
    assert not sim.nodes


COMPOSE = {
    **UNPROBED, "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
    "com.docker.compose.container-number": "1",
}  # fmt: skip
REPLACES = {**COMPOSE, "com.docker.compose.replace": "web-1"}


def test_a_container_that_compose_is_about_to_replace_has_no_requests_when_its_signal_comes(sim: Simulation) -> None:
    old = sim.docker.run("shop-web-1", COMPOSE)
    sim.settle()
    assert sim.nodes == {("foo.com", "shop-web-1")}
    new = sim.docker.create(f"{old.id[:12]}_shop-web-1", REPLACES)
    sim.decide()
    assert sim.nodes == set()
    assert sim.keys == {"foo.com"}
    assert sim.state("shop-web-1") == ("draining", "docker compose is about to replace it")
    sim.settle()
    sim.docker.kill(old, 15)
    sim.settle()
    assert sim.state("shop-web-1") == ("draining", "it got its stop signal")
    sim.pass_time(10)
    assert sim.nodes == set()
    sim.docker.die(old)
    sim.docker.remove(old)
    sim.docker.rename(new, "shop-web-1")
    sim.docker.start_container(new)
    sim.settle()
    assert sim.nodes == {("foo.com", "shop-web-1")}
    assert sim.state("shop-web-1")[0] == "ready"


def test_a_replacement_that_never_comes_gives_the_requests_back(sim: Simulation) -> None:
    old = sim.docker.run("shop-web-1", COMPOSE)
    sim.settle()
    new = sim.docker.create(f"{old.id[:12]}_shop-web-1", REPLACES)
    sim.settle()
    assert sim.nodes == set()
    sim.docker.remove(new)
    sim.pass_time(4.9)
    assert sim.nodes == set()
    sim.pass_time(0.2)
    assert sim.nodes == {("foo.com", "shop-web-1")}


def test_a_restart_ends_the_wait_for_the_stop_signal(sim: Simulation) -> None:
    old = sim.docker.run("shop-web-1", COMPOSE)
    sim.settle()
    sim.docker.create(f"{old.id[:12]}_shop-web-1", REPLACES)
    sim.settle()
    sim.docker.restart_container(old)
    sim.settle()
    assert sim.nodes == {("foo.com", "shop-web-1")}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "shop-web-1-new"},
        {"name": "000000000000_shop-web-1"},
        {"com.docker.compose.replace": None},
        {"com.docker.compose.project": "other"},
        {"com.docker.compose.service": "worker"},
        {"com.docker.compose.container-number": "2"},
    ],
)
def test_only_a_replacement_of_the_same_place_counts(sim: Simulation, change: dict[str, str | None]) -> None:
    old = sim.docker.run("shop-web-1", COMPOSE)
    sim.settle()
    labels = {name: value for name, value in (REPLACES | change).items() if value is not None}
    sim.docker.create(labels.pop("name", f"{old.id[:12]}_shop-web-1"), labels)
    sim.settle()
    assert sim.nodes == {("foo.com", "shop-web-1")}
