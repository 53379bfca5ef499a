"""The whole loop over HTTP against the fake engine: streams break, calls fail or hang, the daemon restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.fake_docker import FakeDocker
from support.watching import Controller, until

from fastroute.controller.observe import docker_source
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


def test_a_containers_life_is_followed(docker, start):
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
    until(lambda: controller.applied[-1] == {})


def test_containers_that_were_there_before_are_found(docker, start):
    for at in range(20):
        docker.run(f"web-{at}", LABELS)
    controller = start()
    controller.until_nodes(*(f"web-{at}" for at in range(20)))
    assert len(controller.applied) == 1


def test_a_stop_in_progress_is_learnt_from_the_past_by_a_new_controller(docker, start):
    one = docker.run("web-1", LABELS)
    docker.run("web-2", LABELS)
    docker.kill(one, 15)
    controller = start()
    controller.until_nodes("web-2")
    assert all(
        route.container != "web-1" or not route.entry.address for s in controller.applied for route in s.values()
    )


def test_a_stream_that_breaks_off_loses_nothing_and_flaps_nothing(docker, start):
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


def test_a_daemon_that_restarts_with_a_new_socket_file_is_found_again(docker, start):
    controller = start()
    docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    docker.stop()
    until(lambda: not controller.reconciler.stats.connected)
    docker.run("web-2", LABELS)
    assert controller.nodes == {"web-1"}
    docker.start()
    controller.until_nodes("web-1", "web-2")
    assert controller.reconciler.stats.connects == 2


def test_a_controller_that_starts_before_docker_waits_for_it(docker, start):
    docker.stop()
    controller = start()
    until(lambda: controller.reconciler.stats.trouble != "")
    assert controller.applied == []
    docker.run("web-1", LABELS)
    docker.start()
    controller.until_nodes("web-1")


def test_lost_events_are_found_by_the_comparison_and_the_stream_is_opened_anew(docker, start):
    controller = start(resync=0.3)
    one = docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    docker.tamper = lambda event: []
    docker.run("web-2", LABELS)
    docker.die(one)
    controller.until_nodes("web-2")
    until(lambda: dict(controller.reconciler.stats.drift) == {"appeared": 1, "changed": 1})
    until(lambda: controller.reconciler.stats.connects == 2)


def test_late_and_repeated_events_end_where_they_should(docker, start):
    controller = start()
    docker.tamper = lambda event: [(0.0, event), (0.05, event)]
    for _ in range(3):
        one = docker.run("web-1", LABELS)
        controller.until_nodes("web-1")
        docker.die(one)
        docker.remove(one)
    until(lambda: controller.applied[-1] == {})


def test_an_inspect_that_hangs_delays_no_removal_and_no_other_container(docker, start):
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


def test_calls_that_fail_change_nothing(docker, start):
    controller = start(resync=0.1)
    docker.run("web-1", LABELS)
    controller.until_nodes("web-1")
    with docker.fail("/containers/json"):
        failures = controller.reconciler.stats.list_failures
        until(lambda: controller.reconciler.stats.list_failures > failures)
        assert controller.nodes == {"web-1"}
        docker.containers.clear()
    until(lambda: controller.applied[-1] == {})


def test_a_silent_stream_is_opened_anew(docker, start, monkeypatch):
    monkeypatch.setattr(docker_source, "SILENCE", 0.2)
    controller = start()
    until(lambda: controller.reconciler.stats.connects >= 3)
    docker.run("web-1", LABELS)
    controller.until_nodes("web-1")


def test_three_hundred_containers_at_once_are_all_there(docker, start):
    controller = start()
    until(lambda: controller.reconciler.applied)
    for at in range(300):
        docker.run(f"web-{at}", LABELS)
    until(lambda: len(controller.nodes) == 300, seconds=30)
    assert not controller.reconciler.stats.drift


def test_events_of_networks_are_about_the_container_in_them():
    attributes = {"container": "c1", "name": "web", "type": "bridge"}
    event = {"Type": "network", "Action": "disconnect", "timeNano": 5, "Actor": {"ID": "n1", "Attributes": attributes}}
    found = read_event(event, None)
    assert found is not None
    assert (found.action, found.id, found.network, found.labels, found.live) == ("disconnect", "c1", "web", {}, True)


def test_health_is_the_action_and_the_past_has_an_age():
    event = {"Type": "container", "Action": "health_status: unhealthy", "timeNano": 10**9, "Actor": {"ID": "c1"}}
    found = read_event(event, 3 * 10**9)
    assert found is not None
    assert (found.action, found.live, found.age) == ("unhealthy", False, 2.0)
    assert read_event({"Type": "container", "Action": "start", "Actor": {}}, None) is None
