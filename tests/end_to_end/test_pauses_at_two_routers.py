"""Pause, maintenance and resume at a controller reach all its routers, survive its restart, and end without it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_docker import FakeDocker, fake_engine
from support.programs import Controller, Router, UwsgiFastRouter, wait_for


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_engine(tmp_path) as engine:
        yield engine


def start(docker: FakeDocker, routers: list[Router], folder: Path, *options: str) -> Controller:
    more = [word for router in routers[1:] for word in ("--router", f"127.0.0.1:{router.port}")]
    folder.mkdir(exist_ok=True)
    controller = Controller(docker.url, routers[0], *more, "--state-dir", str(folder), "--heartbeat", "0.2", *options)
    controller.wait_for(lambda: get(controller.admin_port, "/readyz", "text") == "ok\n", "the controller is ready")
    return controller


def get(port: int, path: str, what: str = "json") -> Any:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
    except httpx.TransportError:
        return None
    return answer.json() if what == "json" else answer.text


def post(port: int, verb: str, **body: object) -> tuple[int, dict[str, Any]]:
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/{verb}", json=body, timeout=10)
    return answer.status_code, answer.json()


def state(router: Router, key: str = "foo.com") -> str:
    return str((get(router.admin_port, f"/v1/keys/{key}") or {}).get("state", "not known"))


def ctl(*arguments: str, router: Router, controller: Controller | None) -> tuple[int, str, str]:
    urls = ("--router-url", f"http://127.0.0.1:{router.admin_port}",
            "--controller-url", f"http://127.0.0.1:{controller.admin_port if controller else 1}")  # fmt: skip
    program = str(Path(sys.executable).with_name("fastroute-ctl"))
    ran = subprocess.run([program, *arguments, *urls], capture_output=True, text=True, timeout=30, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def test_both_have_it_when_the_verb_returns_and_a_router_that_comes_back_has_it_again(
    docker: FakeDocker, tmp_path: Path
) -> None:
    with Router() as one, Router() as two, start(docker, [one, two], tmp_path) as controller:
        code, out, err = ctl("pause", "foo.com", "--for", "600", router=one, controller=controller)
        assert (code, err) == (0, ""), out
        assert (state(one), state(two)) == ("paused", "paused"), "known, without a node"
        code, _, _ = ctl("maintenance", "*.bar.com", "--message", "back at 9", router=one, controller=controller)
        assert (code, state(one, "*.bar.com"), state(two, "*.bar.com")) == (0, "maintenance", "maintenance")
        two.stop()
        with Router.at(two.port, two.admin_port) as back:
            wait_for(lambda: (state(back), state(back, "*.bar.com")) == ("paused", "maintenance"), "it is told again")
            assert ctl("resume", "foo.com", router=one, controller=controller)[0] == 0
            assert (state(one), state(back)) == ("not known", "not known"), "it was known for its pause alone"
            rows = {row["key"]: row for row in get(controller.admin_port, "/v1/status")["keys"]}
            assert [(key, row["state"], row["message"]) for key, row in rows.items()] == [
                ("*.bar.com", "maintenance", "back at 9")
            ]
        kinds = {event.split("event: ")[1] for event in get(one.admin_port, "/v1/events?follow=0", "text").splitlines()
                 if event.startswith("event: ")}  # fmt: skip
        assert kinds >= {"key-paused", "key-resumed", "key-maintenance"}
        assert "foo.com => paused (for 600 s; by " in one.output()


def test_a_restarted_controller_goes_on_and_a_killed_one_is_not_needed_for_the_end(
    docker: FakeDocker, tmp_path: Path
) -> None:
    with Router() as one, Router() as two:
        with start(docker, [one, two], tmp_path) as first:
            assert post(first.admin_port, "maintenance", key="bar.com", allow=["10.0.0.0/8"])[0] == 200
            status, answer = post(first.admin_port, "pause", key="foo.com", seconds=4)
            ends = time.monotonic() + 4
            assert (status, [row["problem"] for row in answer["routers"]]) == (200, [None, None])
            first.send_signal(signal.SIGKILL)
            first.process.wait()
        with start(docker, [one, two], tmp_path) as second:
            rows = {row["key"]: row["state"] for row in get(second.admin_port, "/v1/status")["keys"]}
            assert rows in ({"foo.com": "paused", "bar.com": "maintenance"}, {"bar.com": "maintenance"})
            second.send_signal(signal.SIGKILL)
            second.process.wait()
        wait_for(lambda: state(one) != "paused" and state(two) != "paused", "the routers end it themselves")
        assert time.monotonic() >= ends - 0.5, "not before its time"
        assert (state(one, "bar.com"), state(two, "bar.com")) == ("maintenance", "maintenance")
        status, answer = post(one.admin_port, "resume", key="bar.com")
        assert (status, "is held by" in answer["error"]) == (409, True)
        with start(docker, [one, two], tmp_path) as third:
            assert ctl("resume", "bar.com", router=one, controller=third)[0] == 0
            assert (state(one, "bar.com"), state(two, "bar.com")) == ("not known", "not known")


def test_without_a_state_dir_a_restart_forgets_and_resume_says_so_to_the_routers(
    docker: FakeDocker, tmp_path: Path
) -> None:
    with Router("--tolerance", "1") as router:
        with start(docker, [router], tmp_path / "one") as controller:
            assert post(controller.admin_port, "maintenance", key="foo.com")[0] == 200
            controller.send_signal(signal.SIGKILL)
            controller.process.wait()
        wait_for(lambda: "is silent" in router.output(), "its controller is missed")
        assert state(router) == "maintenance"
        with start(docker, [router], tmp_path / "two") as controller:
            code, _, _ = ctl("resume", "foo.com", router=router, controller=controller)
            assert code == 0
            wait_for(lambda: state(router) == "not known", "it is over")


def test_what_was_asked_of_a_router_itself_is_ended_by_resume_too(docker: FakeDocker, tmp_path: Path) -> None:
    with Router() as router, start(docker, [router], tmp_path) as controller:
        docker.run("foo-1", {"fastroute.key": "foo.com", "fastroute.port": "80", "fastroute.probe": "none"})
        wait_for(lambda: state(router) == "serving", "foo.com is announced")
        assert post(router.admin_port, "pause", key="foo.com")[0] == 200
        assert state(router) == "paused"
        code, out, err = ctl("resume", "foo.com", "-o", "json", router=router, controller=controller)
        assert (code, err, json.loads(out)["state"], state(router)) == (0, "", "serving", "serving")
        code, _, err = ctl("resume", "unknown.example", router=router, controller=controller)
        assert (code, "no key is called" in err) == (1, True)


def test_a_router_that_can_hold_nothing_is_named(docker: FakeDocker, tmp_path: Path) -> None:
    with (
        Router() as ours,
        UwsgiFastRouter() as original,
        start(docker, [ours], tmp_path, "--router", f"127.0.0.1:{original.port}") as controller,
    ):
        code, _, err = ctl("pause", "foo.com", router=ours, controller=controller)
        assert (code, state(ours)) == (0, "paused")
        assert f"router 127.0.0.1:{original.port} has not taken it over: it does not ack" in err


def test_nginx_mode_refuses_by_name(docker: FakeDocker, tmp_path: Path) -> None:
    options = ("--mode", "nginx", "--nginx-conf-dir", str(tmp_path / "conf"), "--nginx-test", "true",
               "--nginx-reload", "command:true", "--nginx-status", "127.0.0.1:1")  # fmt: skip
    with Router() as router, Controller(docker.url, router, *options) as controller:
        wait_for(lambda: get(controller.admin_port, "/healthz", "text") == "ok\n", "it answers")
        for verb in ("pause", "maintenance", "resume"):
            code, _, err = ctl(verb, "foo.com", router=router, controller=controller)
            assert (code, "nginx mode" in err) == (1, True), verb
        assert post(controller.admin_port, "pause", key="")[0] == 400
