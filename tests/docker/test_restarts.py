"""Any part of the stack may be started again; what was routed is routed afterwards."""

from __future__ import annotations

import os
import signal

import pytest
from support.programs import wait_for
from support.stack import Stack


def restart_and_wait(stack: Stack, service: str) -> None:
    """`docker compose restart`, and until Docker calls it healthy."""
    stack.compose_command("restart", service)
    name = stack.containers(service)[0]
    wait_for(lambda: stack.inspect(name)["State"]["Health"]["Status"] == "healthy", f"{service} healthy", 60)


@pytest.mark.parametrize("service", ["router", "nginx"])
def test_what_was_routed_is_routed_after_a_restart_of(stack: Stack, two_foos: set[str], service: str) -> None:
    restart_and_wait(stack, service)
    stack.wait_answered_by("foo.com", two_foos)
    stack.wait_answered_by("bar.com", stack.host_names("bar"))


@pytest.mark.parametrize("service", ["controller", "socket-proxy"])
def test_no_request_fails_during_a_restart_of(stack: Stack, two_foos: set[str], service: str) -> None:
    with stack.load("foo.com") as load:
        restart_and_wait(stack, service)
    assert load.failures == []
    assert set(load.answered) == two_foos


def test_the_router_killed_comes_back_by_itself(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("router")[0]
    before = stack.inspect(name)
    # Not `docker kill`, which Docker takes for the wish to have it stopped.
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: stack.inspect(name)["RestartCount"] > before["RestartCount"], "Docker to start it again")
    stack.wait_answered_by("foo.com", two_foos)


def test_the_routers_processes_but_the_first_killed_come_back_at_once(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("router")[0]
    started = stack.inspect(name)["State"]["StartedAt"]
    stack.docker("exec", name, "sh", "-c", "kill -KILL -1", check=False)
    stack.wait_answered_by("foo.com", two_foos)
    assert stack.inspect(name)["State"]["StartedAt"] == started


def test_a_new_router_container_takes_over_the_volumes(stack: Stack, two_foos: set[str]) -> None:
    stack.up("--no-deps", "--force-recreate", "router")
    stack.wait_answered_by("foo.com", two_foos)


def test_changes_made_while_the_controller_was_away_are_seen(stack: Stack, two_foos: set[str]) -> None:
    name = stack.containers("foo")[0]
    stack.compose_command("stop", "controller")
    stack.docker("stop", name)
    with stack.container("-l", "fastroute.key=late.com", "--no-healthcheck", stack.image("foo")) as late:
        assert stack.get("late.com").status == 404
        stack.compose_command("start", "controller")
        stack.wait_answered_by("late.com", {stack.host_name(late)})
        stack.wait_answered_by("foo.com", two_foos - {stack.host_name(name)})
    stack.docker("start", name)
    stack.wait_answered_by("foo.com", two_foos)
