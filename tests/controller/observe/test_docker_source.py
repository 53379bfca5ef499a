"""The whole loop over HTTP against the fake engine: streams break, calls fail or hang, the daemon restarts."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests
import urllib3
from support.fake_docker import FakeDocker
from support.waiting import wait_for
from support.watching import Controller

from fastroute.controller.observe import docker_source, reconnect_delay
from fastroute.controller.observe.docker_source import read_event

# The SDK leaves the socket of a connection that is refused to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none"}


@pytest.fixture
def start(docker: FakeDocker) -> Iterator[Callable[..., Controller]]:
    running: list[Controller] = []

    def one(**settings: float) -> Controller:
        running.append(Controller(docker, **settings))
        return running[-1]

    yield one
    for controller in running:
        controller.stop()


def test_a_containers_life_is_followed(docker, start) -> None:
    controller = start()
    one = docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    docker.kill(one, 15)
    controller.until_nodes()
    assert ("foo.com", "") in {at[:2] for at in controller.applied[-1]}
    docker.die(one)
    docker.start_container(one)
    controller.until_nodes("web-1")
    docker.remove(one)
    wait_for(lambda: controller.applied[-1] == {})


def test_containers_that_were_there_before_are_found(docker, start) -> None:
    for at in range(20):
        docker.run(f"web-{at}", LABELS)
    controller = start()
    controller.until_nodes(*(f"web-{at}" for at in range(20)))
    assert len(controller.applied) == 1


def test_a_stop_in_progress_is_learnt_from_the_past_by_a_new_controller(docker, start) -> None:
    one = docker.run("web-1", LABELS)
    docker.run("web-2", LABELS)
    docker.kill(one, 15)
    controller = start()
    controller.until_nodes("web-2")
    assert all(
        route.container != "web-1" or not route.entry.address for s in controller.applied for route in s.values()
    )


def test_a_stream_that_breaks_off_loses_nothing_and_flaps_nothing(docker, start) -> None:
    controller = start()
    first = docker.run("web-0", LABELS)
    controller.until_nodes("web-0")
    for at in range(1, 6):
        docker.cut()
        docker.run(f"web-{at}", LABELS)
    controller.until_nodes(*(f"web-{at}" for at in range(6)))
    assert all(any(route.container == "web-0" for route in s.values()) for s in controller.applied[1:] if s)
    docker.cut()
    docker.kill(first, 15)
    controller.until_nodes(*(f"web-{at}" for at in range(1, 6)))
    assert not controller.reconciler.stats.drift


def test_a_daemon_that_restarts_with_a_new_socket_file_is_found_again(docker, start) -> None:
    controller = start()
    docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    docker.stop()
    wait_for(lambda: not controller.reconciler.stats.connected)
    docker.run("web-2", LABELS)
    assert controller.nodes == {"web-1"}
    docker.start()
    controller.until_nodes("web-1", "web-2")
    assert controller.reconciler.stats.connects == 2


def test_a_daemon_that_begins_every_healthcheck_anew_takes_out_nobody_who_was_healthy(docker, start) -> None:
    controller = start()
    one = docker.run("web-1", LABELS, health="x")
    docker.set_health(one, "healthy")
    docker.run("web-2", LABELS, health="x")
    controller.until_nodes("web-1")
    before = len(controller.applied)
    docker.stop()
    wait_for(lambda: not controller.reconciler.stats.connected)
    docker.begin_health_again()
    docker.start()
    docker.run("web-3", LABELS)
    controller.until_nodes("web-1", "web-3")
    assert all("web-1" in {r.container for r in s.values() if r.entry.address} for s in controller.applied[before:])
    docker.set_health(one, "unhealthy")
    controller.until_nodes("web-3")


def test_a_controller_that_starts_before_docker_waits_for_it(docker, start) -> None:
    docker.stop()
    controller = start()
    wait_for(lambda: controller.reconciler.stats.trouble != "")
    assert controller.applied == []
    docker.run("web-1", LABELS)
    docker.start()
    controller.until_nodes("web-1")


def test_lost_events_are_found_by_the_comparison_and_the_stream_is_opened_anew(docker, start) -> None:
    controller = start(resync=0.3)
    one = docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    docker.tamper = lambda event: []
    docker.run("web-2", LABELS)
    docker.die(one)
    controller.until_nodes("web-2")
    wait_for(lambda: dict(controller.reconciler.stats.drift) == {"appeared": 1, "changed": 1})
    wait_for(lambda: controller.reconciler.stats.connects == 2)


def test_late_and_repeated_events_end_where_they_should(docker, start) -> None:
    controller = start()
    docker.tamper = lambda event: [(0.0, event), (0.05, event)]
    for _ in range(3):
        one = docker.run("web-1", LABELS)
        controller.until_nodes("web-1")
        docker.die(one)
        docker.remove(one)
    wait_for(lambda: controller.applied[-1] == {})


def test_an_inspect_that_hangs_delays_no_removal_and_no_other_container(docker, start) -> None:
    controller = start()
    one = docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    stuck = docker.create("stuck", LABELS)
    with docker.hang(f"/containers/{stuck.id}/json"):
        docker.start_container(stuck)
        two = docker.run("web-2", LABELS)
        controller.until_nodes("web-1", "web-2")
        with docker.hang(f"/containers/{one.id}/json"):
            docker.pause(one)
            controller.until_nodes("web-2")
    controller.until_nodes("stuck", "web-2")
    docker.kill(two, 9)
    controller.until_nodes("stuck")


def test_calls_that_fail_change_nothing(docker, start) -> None:
    controller = start(resync=0.1)
    docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    with docker.fail("/containers/json"):
        failures = controller.reconciler.stats.list_failures
        wait_for(lambda: controller.reconciler.stats.list_failures > failures)
        assert controller.nodes == {"web-1"}
        docker.containers.clear()
    wait_for(lambda: controller.applied[-1] == {})


def test_a_silent_stream_is_replaced_and_nobody_need_know_while_the_engine_answers(docker, start, monkeypatch) -> None:
    monkeypatch.setattr(docker_source, "SILENCE_TIMEOUT", 0.2)
    controller = start()
    wait_for(lambda: docker.asked.count(("GET", "/events")) >= 5)
    assert ("GET", "/_ping") in docker.asked
    one = docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    asked = docker.asked.count(("GET", "/events"))
    wait_for(lambda: docker.asked.count(("GET", "/events")) >= asked + 2)
    docker.kill(one, 15)
    controller.until_nodes()
    stats = controller.reconciler.stats
    assert (stats.connects, stats.connected, dict(stats.drift)) == (1, True, {})
    assert stats.events["start"] == stats.events["kill"] == 1
    assert [event.text for event in controller.events.recent() if event.kind == "docker"] == [
        "connected to Docker 20.10.24"
    ]


def test_what_happens_while_a_silent_stream_is_replaced_is_not_lost(docker, start, monkeypatch) -> None:
    monkeypatch.setattr(docker_source, "SILENCE_TIMEOUT", 0.1)
    controller = start()
    for at in range(20):
        docker.run(f"web-{at}", LABELS)
        if at % 2:
            pings = docker.asked.count(("GET", "/_ping"))
            wait_for(lambda pings=pings: docker.asked.count(("GET", "/_ping")) > pings)
    controller.until_nodes(*(f"web-{at}" for at in range(20)))
    assert (controller.reconciler.stats.connects, dict(controller.reconciler.stats.drift)) == (1, {})


@pytest.mark.parametrize("how", ["fail", "hang"])
def test_silence_of_an_engine_that_does_not_answer_is_a_failure(docker, start, monkeypatch, how: str) -> None:
    monkeypatch.setattr(docker_source, "SILENCE_TIMEOUT", 0.2)
    monkeypatch.setattr(docker_source, "CALL_TIMEOUT", 0.5)
    controller = start()
    wait_for(lambda: controller.reconciler.stats.connected)
    with getattr(docker, how)("^/_ping"):
        wait_for(lambda: not controller.reconciler.stats.connected)
        assert "no event for 0.2 s, and no answer" in controller.reconciler.stats.trouble
    wait_for(lambda: controller.reconciler.stats.connected)


@pytest.mark.parametrize("how", ["refused", "no socket", "a proxy's 503"])
def test_an_engine_that_was_away_for_long_is_looked_at_within_a_second(docker, start, monkeypatch, how: str) -> None:
    # As after many attempts: where one costs something, the next wait is 7 s and more.
    monkeypatch.setattr(reconnect_delay, "FIRST_DELAY", 100.0)
    docker.run("web-1", LABELS)
    with ExitStack() as away:
        if how == "a proxy's 503":
            away.enter_context(docker.fail("^/version", 503))
        else:
            docker.stop()
            away.callback(docker.start)
        if how == "no socket":
            docker.path.unlink()
        controller = start()
        wait_for(lambda: controller.reconciler.stats.trouble != "")
    back = time.monotonic()
    controller.until_nodes("web-1")
    assert time.monotonic() - back < 3


@pytest.mark.parametrize(("cause", "cheap"), [
    (ConnectionRefusedError(), True), (ConnectionResetError(), True), (FileNotFoundError(), True),
    (socket.gaierror(), True), (TimeoutError(), False), (ssl.SSLError(), False), (OSError(), False),
])  # fmt: skip
def test_what_another_attempt_costs_is_seen_below_what_the_sdk_says(cause: Exception, cheap: bool) -> None:
    error = requests.ConnectionError()
    error.__context__ = urllib3.exceptions.ProtocolError()
    error.__context__.__context__ = cause
    assert docker_source.is_cheap(error) == cheap


def test_waits_that_cost_something_grow_and_others_stay_within_a_second() -> None:
    one = reconnect_delay.ReconnectDelay()
    assert all(one.next(cheap=True) <= 1.0 for _ in range(20))
    waits = [one.next() for _ in range(10)]
    assert waits[0] <= 2.0
    assert 7.5 <= waits[-1] <= 15.0
    assert one.next(cheap=True) <= 1.0


@pytest.mark.parametrize("status", ["exited", "running"])
def test_one_container_that_cannot_be_listed_leaves_out_only_itself(docker, start, status: str) -> None:
    docker.run("web-1", LABELS)
    docker.run("router", {"fastroute.role": "router"})
    named = docker.create("web-2", {"fastroute.x.key": "bar.com", "fastroute.x.probe": "none"})
    broken = docker.run("broken", {"some": "label"})
    broken.broken, broken.status = True, status
    controller = start(resync=0.2)
    controller.until_nodes("web-1")
    assert controller.reconciler.stats.connected
    assert (
        f"not all that are {status} are listed: 500 container broken: layer not known"
        in controller.reconciler.stats.problem
    )
    docker.start_container(named)
    controller.until_nodes("web-1", "web-2")
    synced = controller.reconciler.stats.last_sync
    wait_for(lambda: (controller.reconciler.stats.last_sync or 0) > synced + 0.5)
    assert controller.nodes == {"web-1", "web-2"}
    broken.broken = False
    wait_for(lambda: controller.reconciler.stats.problem == "")
    assert dict(controller.reconciler.stats.drift) == {}


def test_networks_that_cannot_be_listed_stay_as_they_were(docker, start) -> None:
    controller = start(resync=0.1)
    docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    with docker.fail("^/networks"):
        wait_for(lambda: "networks as they were" in controller.reconciler.stats.problem)
        docker.run("web-2", LABELS)
        controller.until_nodes("web-1", "web-2")
    wait_for(lambda: controller.reconciler.stats.problem == "")


@pytest.mark.parametrize("path", ["^/containers/json", "^/networks"])
def test_a_list_that_fails_from_the_start_says_why(docker, start, path: str) -> None:
    docker.run("web-1", LABELS)
    with docker.fail(path):
        controller = start()
        wait_for(lambda: controller.reconciler.stats.list_failures > 0)
        stats = controller.reconciler.stats
        assert "answers, but the list of containers fails" in stats.unready
        assert "failing as told" in stats.unready
        assert controller.applied == []
        assert any("nothing is routed yet" in event.text for event in controller.events.recent())
    controller.until_nodes("web-1")


def test_three_hundred_containers_at_once_are_all_there(docker, start) -> None:
    controller = start()
    wait_for(lambda: controller.reconciler.applied)
    for at in range(300):
        docker.run(f"web-{at}", LABELS)
    wait_for(lambda: len(controller.nodes) == 300, seconds=30)
    assert not controller.reconciler.stats.drift


def test_events_of_networks_are_about_the_container_in_them() -> None:
    attributes = {"container": "c1", "name": "web", "type": "bridge"}
    event = {"Type": "network", "Action": "disconnect", "timeNano": 5, "Actor": {"ID": "n1", "Attributes": attributes}}
    found = read_event(event, None)
    assert found is not None
    assert (found.action, found.id, found.network, found.labels, found.live) == ("disconnect", "c1", "web", {}, True)


def test_health_is_the_action_and_the_past_has_an_age() -> None:
    event = {"Type": "container", "Action": "health_status: unhealthy", "timeNano": 10**9, "Actor": {"ID": "c1"}}
    found = read_event(event, 3 * 10**9)
    assert found is not None
    assert (found.action, found.live, found.age) == ("unhealthy", False, 2.0)
    assert read_event({"Type": "container", "Action": "start", "Actor": {}}, None) is None
