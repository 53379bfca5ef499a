"""nginx mode on a real engine: compose/nginx-mode.yaml."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from support.programs import wait_for
from support.stack import Load, Stack  # type: ignore[attr-defined]

KILL_AGENT = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
    if b"fastroute.controller.nginx.agent" in words:
        os.kill(int(pid), 9)
"""
SERVICES = ["nginx", "controller", "certs", "socket-proxy", "foo", "bar"]
#: How often all but one of six stop at once; for figures 20.
SCALINGS = int(os.environ.get("FASTROUTE_SCALINGS", "1"))


@pytest.fixture
def foos(nginx_stack: Stack) -> set[str]:
    """foo.com as the file has it: two replicas, both answering, whatever the test before did."""
    return scaled(nginx_stack, 2)


def scaled(stack: Stack, number: int) -> set[str]:
    names = stack.scale("foo", number, "--no-recreate")
    stack.wait_answered_by("foo.com", names)
    return names


def restart_nginx(stack: Stack) -> None:
    stack.compose_command("restart", "nginx")
    stack.wait_healthy("nginx")


def sink(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.ctl("status", "-o", "json"))["controller"]["sink"]
    return found


@contextmanager
def two_hundred_a_second(stack: Stack, host: str) -> Iterator[list[Load]]:
    with ExitStack() as block:
        yield [block.enter_context(stack.load(host)) for _ in range(2)]


def test_status_ps_events_and_render_work_with_no_setting(nginx_stack: Stack, foos: set[str]) -> None:
    status = json.loads(nginx_stack.ctl("status", "-o", "json"))
    assert status["schema"] == "fastroute.status/v1"
    assert status["router"] is None
    assert {key["key"]: (key["ready"], key["total"]) for key in status["keys"]} == {
        "foo.com": (2, 2),
        "bar.com": (1, 1),
    }
    rows = json.loads(nginx_stack.ctl("ps", "-o", "json"))["containers"]
    assert {row["state"] for row in rows if row["name"].startswith(nginx_stack.project)} == {"ready"}
    assert "reloaded: " in nginx_stack.ctl("events")
    assert nginx_stack.ctl("render", "--diff") == ""
    assert "upstream " in nginx_stack.ctl("render")
    nginx_stack.ctl("status", "--check")


def test_answers_of_nginx_itself(nginx_stack: Stack, foos: set[str]) -> None:
    for host, status, kind in (("nobody.example", 404, "no-key"), ("FOO.com.:8080", 200, None)):
        answer = nginx_stack.get(host)
        assert (answer.status, answer.headers.get("X-Fastroute-Error")) == (status, kind)


def test_it_is_as_unprivileged_as_the_other_stack(nginx_stack: Stack) -> None:
    for service in SERVICES:
        container = nginx_stack.inspect(nginx_stack.containers(service)[0])
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] is True, service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert container["State"]["Health"]["Status"] == "healthy", service
        socket = any("docker.sock" in mount["Destination"] for mount in container["Mounts"])
        assert socket == (service == "socket-proxy")
    mounts = {
        mount["Destination"]: mount["RW"] for mount in nginx_stack.inspect(nginx_stack.containers("nginx")[0])["Mounts"]
    }
    assert mounts["/etc/nginx/fastroute"] is False
    status = nginx_stack.docker("exec", nginx_stack.containers("nginx")[0], "cat", "/proc/1/status")
    assert re.search(r"^Uid:\t10002\t", status, re.MULTILINE)


def test_scaling_up_and_down_loses_no_request(nginx_stack: Stack, foos: set[str]) -> None:
    with two_hundred_a_second(nginx_stack, "foo.com") as loads:
        for _ in range(SCALINGS):
            assert len(scaled(nginx_stack, 6)) == 6
            assert len(scaled(nginx_stack, 1)) == 1, "five stop at once"
        assert len(scaled(nginx_stack, 2)) == 2
    assert [load.failures for load in loads] == [[], []]


def test_a_redeploy_under_load_loses_no_request(nginx_stack: Stack, foos: set[str]) -> None:
    """New containers beside the old ones, then the old ones are stopped: what a deploy does."""
    old = nginx_stack.containers("foo")
    with two_hundred_a_second(nginx_stack, "foo.com") as loads:
        scaled(nginx_stack, 4)
        for name in old:
            nginx_stack.docker("stop", name)
            nginx_stack.docker("rm", name)
        names = nginx_stack.host_names("foo")
        nginx_stack.wait_answered_by("foo.com", names)
    assert [load.failures for load in loads] == [[], []]
    assert sum(sum(load.answered.values()) for load in loads) > 300


def test_ten_changes_in_two_seconds_are_few_reloads(nginx_stack: Stack, foos: set[str]) -> None:
    before, name = sink(nginx_stack)["reloads"], nginx_stack.containers("foo")[0]
    began = time.monotonic()
    for _ in range(5):
        nginx_stack.docker("pause", name)
        nginx_stack.docker("unpause", name)
    seconds = time.monotonic() - began
    nginx_stack.wait_answered_by("foo.com", foos)
    assert sink(nginx_stack)["reloads"] - before <= max(3, seconds + 1)


def test_nginx_restarted_serves_what_it_served(nginx_stack: Stack, foos: set[str]) -> None:
    restart_nginx(nginx_stack)
    nginx_stack.wait_answered_by("foo.com", foos)
    wait_for(lambda: sink(nginx_stack)["answers"], "the controller sees it")
    nginx_stack.wait_healthy("controller")


def in_templates(stack: Stack, command: str) -> None:
    """Run ``command`` in the folder of the user's templates, which the stack itself can only read."""
    volume = ("-v", f"{stack.project}_nginx-templates:/t", "-w", "/t")
    stack.docker("run", "--rm", "--user", "0", *volume, "--entrypoint", "sh", stack.image("foo"), "-c", command)


def test_a_broken_template_and_a_restart_of_nginx_right_after_it(nginx_stack: Stack, foos: set[str]) -> None:
    in_templates(nginx_stack, "echo 'server {{ nobody }}' > server.conf.j2")
    try:
        said = "/etc/fastroute/templates/server.conf.j2:1: 'nobody' is undefined"
        wait_for(lambda: said in (sink(nginx_stack)["error"] or ""), "the template is said to be broken")
        restart_nginx(nginx_stack)
        nginx_stack.wait_answered_by("foo.com", foos)
    finally:
        in_templates(nginx_stack, "rm server.conf.j2")
    wait_for(lambda: not sink(nginx_stack)["error"], "all is well again")
    nginx_stack.wait_healthy("controller")


def test_the_agent_killed_comes_back(nginx_stack: Stack, foos: set[str]) -> None:
    name = nginx_stack.containers("nginx")[0]
    nginx_stack.docker("exec", name, "python3", "-c", KILL_AGENT)
    with nginx_stack.container("-l", "fastroute.key=later.com", "--no-healthcheck", nginx_stack.image("foo")) as other:
        nginx_stack.wait_answered_by("later.com", {nginx_stack.host_name(other)})


def test_stopping_the_only_container_is_503_at_once(nginx_stack: Stack, foos: set[str]) -> None:
    with nginx_stack.container("-l", "fastroute.key=one.com", "--no-healthcheck", nginx_stack.image("foo")) as name:
        nginx_stack.wait_answered_by("one.com", {nginx_stack.host_name(name)})
        nginx_stack.docker("stop", name)
        wait_for(lambda: nginx_stack.get("one.com").status == 503, "503 for a key without a node", 5)
        assert nginx_stack.get("one.com").headers["Retry-After"] == "1"
