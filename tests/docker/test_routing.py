"""Requests through nginx reach the containers that are labelled, and those alone that can answer."""

from __future__ import annotations

import itertools
import json
import socket
import time

import pytest
from support.programs import wait_for
from support.stack import Stack

BY_HAND = ("-l", "fastroute.key=baz.com", "-l", "fastroute.wait=0")


def test_foo_is_answered_by_its_two_replicas_in_turn(stack: Stack, two_foos: set[str]) -> None:
    answers = [stack.get("foo.com") for _ in range(12)]
    assert {answer.status for answer in answers} == {200}
    names = [answer.text for answer in answers]
    assert set(names) == two_foos
    assert all(one != other for one, other in itertools.pairwise(names)), names


def test_bar_is_answered_by_gunicorn(stack: Stack) -> None:
    assert set(stack.answered_by("bar.com", 4)) == stack.host_names("bar")


@pytest.mark.parametrize("host", ["FOO.com", "foo.com:8080", "Foo.Com.:80"])
def test_a_host_is_found_however_the_client_writes_it(stack: Stack, two_foos: set[str], host: str) -> None:
    answer = stack.get(host)
    assert (answer.status, answer.text in two_foos) == (200, True)


def test_an_unknown_host_is_404_and_the_access_log_says_why(stack: Stack) -> None:
    answer = stack.get("nobody.example", "/find-me-in-the-log")
    assert (answer.status, answer.headers["X-Fastroute-Error"]) == (404, "no-key")

    def logged() -> list[str]:
        lines = stack.compose_command("logs", "--no-log-prefix", "nginx").splitlines()
        return [line for line in lines if "/find-me-in-the-log" in line]

    wait_for(logged, "the request in nginx's access log")
    entry = json.loads(logged()[0])
    assert (entry["status"], entry["fastroute_error"], entry["host"]) == (404, "no-key", "nobody.example")


def test_who_asks_for_json_gets_the_router_s_answer_as_json(stack: Stack) -> None:
    answer = stack.get("nobody.example", headers={"Accept": "application/json"})
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json; charset=utf-8")
    assert json.loads(answer.text)["error"] == "no-key"
    assert stack.get("nobody.example", method="HEAD", headers={"Accept": "application/json"}).text == ""


def test_a_request_without_host_is_400(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as link:
        link.sendall(b"GET / HTTP/1.0\r\n\r\n")
        head = link.makefile("rb").read().partition(b"\r\n\r\n")[0].lower()
    assert b" 400 " in head
    assert b"x-fastroute-error: bad-request" in head


def test_a_container_run_by_hand_gets_traffic_with_nothing_restarted(stack: Stack) -> None:
    services = ("nginx", "router", "controller", "socket-proxy")
    before = [stack.inspect(stack.containers(service)[0])["State"]["StartedAt"] for service in services]
    with stack.container(*BY_HAND, "--no-healthcheck", stack.image("foo")) as name:
        stack.wait_answered_by("baz.com", {stack.host_name(name)})
        row = stack.wait_state(name, "ready")
        assert [route["key"] for route in row["routes"]] == ["baz.com"]
    wait_for(lambda: stack.get("baz.com").status != 200, "the removed container to leave")
    gone = stack.get("baz.com")
    assert (gone.status, gone.headers["X-Fastroute-Error"], gone.headers["Retry-After"]) == (503, "no-node", "1")
    after = [stack.inspect(stack.containers(service)[0])["State"]["StartedAt"] for service in services]
    assert before == after


def test_a_container_that_speaks_http_is_probed_and_asked_in_http(stack: Stack) -> None:
    labels = ("-l", "fastroute.key=http.com", "-l", "fastroute.protocol=http", "-l", "fastroute.probe=/")
    server = ("--entrypoint", "/opt/bar/bin/gunicorn", stack.image("bar"), "--bind", "0.0.0.0:3031", "--threads", "2",
              "--worker-tmp-dir", "/dev/shm", "bar:app")  # fmt: skip
    with stack.container(*labels, "--no-healthcheck", *server) as name:
        stack.wait_answered_by("http.com", {stack.host_name(name)})
        assert stack.ps(name)["state"] == "ready"


def test_scaling_up_and_down_fails_no_request(stack: Stack, two_foos: set[str]) -> None:
    with stack.load("foo.com") as load:
        names = stack.scale("foo", 4, "--no-recreate")
        assert two_foos < names
        wait_for(lambda: set(load.answered) == names, "requests to all four")
        stack.wait_answered_by("foo.com", stack.scale("foo", 2, "--no-recreate"))
    assert load.failures == []


def test_a_stopped_replica_is_left_alone_and_comes_back(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    gone = stack.host_name(name)
    with stack.load("foo.com") as load:
        stack.docker("stop", name)
        assert set(stack.answered_by("foo.com")) == two_foos - {gone}
        assert stack.ps(name)["state"] == "stopped"
        stack.docker("start", name)
        stack.wait_answered_by("foo.com", two_foos)
    assert load.failures == []


def test_a_killed_replica_loses_no_later_request(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    gone = stack.host_name(name)
    stack.docker("kill", name)
    assert set(stack.answered_by("foo.com", 40)) == two_foos - {gone}
    stack.docker("start", name)
    stack.wait_answered_by("foo.com", two_foos)


def test_a_key_whose_every_container_is_stopped_is_503_after_15_seconds(stack: Stack) -> None:
    stack.compose_command("stop", "bar")
    began = time.monotonic()
    answer = stack.get("bar.com")
    assert (answer.status, answer.headers["X-Fastroute-Error"], answer.headers["Retry-After"]) == (503, "no-node", "1")
    assert answer.headers["X-Fastroute-Waited"] == "15.0"
    assert time.monotonic() - began >= 15
    stack.compose_command("start", "bar")
    stack.wait_answered_by("bar.com", stack.host_names("bar"))


def test_only_a_healthy_container_gets_requests(stack: Stack) -> None:
    check = ("--health-cmd", "test ! -e /tmp/sick", "--health-interval", "1s", "--health-retries", "1")
    with stack.container("-l", "fastroute.key=sick.com", "-l", "fastroute.wait=0", *check, stack.image("foo")) as name:
        stack.wait_answered_by("sick.com", {stack.host_name(name)})
        stack.docker("exec", name, "touch", "/tmp/sick")
        stack.wait_state(name, "unhealthy")
        answer = stack.get("sick.com")
        assert (answer.status, answer.headers["X-Fastroute-Error"]) == (503, "no-node")
        stack.docker("exec", name, "rm", "/tmp/sick")
        stack.wait_answered_by("sick.com", {stack.host_name(name)})


def test_a_paused_container_gets_no_request(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    stack.docker("pause", name)
    try:
        stack.wait_state(name, "paused")
        assert set(stack.answered_by("foo.com")) == two_foos - {stack.host_name(name)}
    finally:
        stack.docker("unpause", name)
    stack.wait_answered_by("foo.com", two_foos)


def test_a_wrong_label_is_told_and_hurts_nobody_else(stack: Stack, two_foos: set[str]) -> None:
    labels = ("-l", "fastroute.key=typo.com", "-l", "fastroute.wieght=3")
    with stack.container(*labels, "--no-healthcheck", stack.image("foo")) as name:
        row = stack.wait_state(name, "error")
        assert "fastroute.weight" in row["reason"]
        assert stack.get("typo.com").status == 404
        assert set(stack.answered_by("foo.com")) == two_foos


def test_a_container_on_another_network_is_told_apart_and_leaves_that_state_once_connected(stack: Stack) -> None:
    with stack.container(*BY_HAND, "--no-healthcheck", stack.image("foo"), network="bridge") as name:
        row = stack.wait_state(name, "error")
        assert "network" in row["reason"]
        assert stack.network in row["reason"]
        stack.docker("network", "connect", stack.network, name)
        stack.wait_answered_by("baz.com", {stack.host_name(name)})
