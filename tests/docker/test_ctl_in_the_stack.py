"""`docker compose exec controller fastroute-ctl` works with no further setting."""

from __future__ import annotations

import json
import threading

from support.load import Answer
from support.stack import Stack
from support.waiting import wait_for


def test_status_shows_keys_nodes_and_the_controller(stack: Stack, two_foos: set[str]) -> None:
    status = json.loads(stack.ctl("status", "-o", "json"))
    assert status["schema"] == "fastroute.status/v1"
    assert status["router"]["cheap"] is False
    assert status["controller"]["connected"] is True
    keys = {row["key"]: row for row in status["keys"]}
    assert (keys["foo.com"]["ready"], keys["foo.com"]["total"]) == (2, 2)
    assert (keys["bar.com"]["ready"], keys["bar.com"]["total"]) == (1, 1)
    assert {node["container"] for node in keys["foo.com"]["nodes"]} == {
        stack.inspect(name)["Id"] for name in stack.containers("foo")
    }
    assert {node["state"] for node in keys["foo.com"]["nodes"]} == {"ready"}


def test_the_table_has_a_line_for_every_key(stack: Stack, two_foos: set[str]) -> None:
    table = stack.ctl("status")
    assert "foo.com" in table
    assert "bar.com" in table
    assert "2/2" in table


def test_check_is_zero_while_all_is_well(stack: Stack, two_foos: set[str]) -> None:
    stack.ctl("status", "--check", "foo.com", "bar.com")


def test_ps_shows_every_labelled_container(stack: Stack, two_foos: set[str]) -> None:
    listed = json.loads(stack.ctl("ps", "-o", "json"))
    assert listed["schema"] == "fastroute.containers/v1"
    rows = {row["name"].lstrip("/"): row for row in listed["containers"]}
    for name in [*stack.containers("foo"), *stack.containers("bar")]:
        assert rows[name]["state"] == "ready"
        assert rows[name]["routes"][0]["address"].endswith(":3031")


def test_an_operator_subscribes_and_unsubscribes_by_hand(stack: Stack) -> None:
    address = stack.address(stack.containers("bar")[0])
    server = "/run/fastroute/control/subscriptions.sock"
    stack.ctl("subscribe", "hand.com", f"{address}:3031", "--wait", "0", "--server", server)
    stack.wait_answered_by("hand.com", stack.host_names("bar"))
    stack.ctl("unsubscribe", "hand.com", f"{address}:3031", "--server", server)
    assert stack.get("hand.com").status == 503


def test_a_drained_container_gets_no_request_until_it_is_undrained(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    left = two_foos - {stack.host_name(name)}
    try:
        stack.ctl("drain", name, "--wait")
        assert set(stack.answered_by("foo.com", 20)) == left
        assert {node["state"] for node in stack.status("foo.com")["nodes"]} == {"ready", "draining"}
        assert stack.ps(name)["state"] == "draining"
    finally:
        stack.ctl("undrain", name)
    stack.wait_answered_by("foo.com", two_foos)


def test_describe_tells_of_a_key_and_of_a_container(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    key, container = stack.ctl("describe", "foo.com"), stack.ctl("describe", name)
    assert all(one in key for one in stack.containers("foo"))
    assert f"{stack.address(name)}:3031" in container
    assert "fastroute.key = foo.com" in container


def test_config_shows_what_the_controller_was_started_with(stack: Stack) -> None:
    shown = json.loads(stack.ctl("config", "show", "--origin", "-o", "json"))
    rows = {row["option"]: (row["value"], row["origin"]) for row in shown["options"]}
    assert shown["program"] == "fastroute-controller"
    assert rows["docker-host"] == ("tcp://socket-proxy:2375", "FASTROUTE_DOCKER_HOST")
    assert rows["resync"] == ("30", "default")


def test_a_paused_key_keeps_its_requests_until_it_is_resumed(stack: Stack, two_foos: set[str]) -> None:
    answers: list[Answer] = []
    asker = threading.Thread(target=lambda: answers.append(stack.get("foo.com")))
    try:
        assert "paused" in stack.ctl("pause", "foo.com", "--for", "60")
        asker.start()
        wait_for(lambda: stack.status("foo.com")["waiting"] == 1, "the request waits")
        table = stack.ctl("status", "foo.com").splitlines()
        assert "WAITING" in table[0]
        assert "paused for" in table[1]
        assert not answers
        assert stack.get("bar.com").status == 200
    finally:
        stack.ctl("resume", "foo.com")
    asker.join(30)
    assert [answer.status for answer in answers] == [200]


def test_maintenance_is_said_with_its_message_and_kept_without_a_container(stack: Stack, two_foos: set[str]) -> None:
    try:
        stack.ctl("maintenance", "foo.com", "--message", "back at 9")
        stack.scale("foo", 0)
        stack.compose_command("restart", "controller", "router")
        stack.wait_healthy()
        wait_for(lambda: stack.status("foo.com").get("state") == "maintenance", "it is kept through a restart")
        answer = stack.get("foo.com")
        assert (answer.status, answer.headers.get("X-Fastroute-Error")) == (503, "maintenance")
        assert "back at 9" in answer.text
        stack.scale("foo", 2)
    finally:
        stack.ctl("resume", "foo.com")
    stack.wait_answered_by("foo.com", stack.host_names("foo"))
