"""``fastroute-ctl rollout`` with real router, controller and workers; docker and its compose are fakes that fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_compose import FakeCompose
from support.fake_docker import fake_engine
from support.programs import Controller, Router, listens, wait_for
from support.steady_load import SteadyLoad
from support.uwsgi_client import ask
from support.workers import Connection, Worker, answers, response

CTL = str(Path(sys.executable).with_name("fastroute-ctl"))


@dataclass
class Shop:
    """A service with its router and controller."""

    compose: FakeCompose
    router: Router
    controller: Controller

    def command(self, *words: str) -> list[str]:
        urls = ("--router-url", f"http://127.0.0.1:{self.router.admin_port}",
                "--controller-url", f"http://127.0.0.1:{self.controller.admin_port}")  # fmt: skip
        return [CTL, "rollout", "web", *words, *urls]

    def rollout(self, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False,
                              env=self.compose.environment)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*words), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env=self.compose.environment)  # fmt: skip

    def ready(self) -> int:
        answer = httpx.get(f"http://127.0.0.1:{self.router.admin_port}/v1/keys/foo.com", timeout=30)
        return int(answer.json().get("ready", 0)) if answer.status_code == 200 else 0

    def stand(self, number: int, version: str = "1") -> None:
        self.compose.version = version
        self.compose.scale(number)
        wait_for(lambda: self.ready() == number, f"{number} nodes")

    def serving(self) -> list[str]:
        rows = httpx.get(f"http://127.0.0.1:{self.controller.admin_port}/v1/keys/foo.com", timeout=30).json()[
            "containers"
        ]
        return sorted(row["name"] for row in rows if row["serves"] and not row["drained"])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        docker = stack.enter_context(fake_engine(tmp_path))
        compose = FakeCompose(docker, tmp_path)
        stack.callback(compose.close)
        router = stack.enter_context(Router("--wait", "5"))
        options = ("--state-dir", str(tmp_path / "kept"))
        (tmp_path / "kept").mkdir()
        controller = stack.enter_context(Controller(docker.url, router, *options))
        url = f"http://127.0.0.1:{controller.admin_port}/readyz"
        controller.wait_for(
            lambda: listens(controller.admin_port) and httpx.get(url, timeout=30).status_code == 200, "it is ready"
        )
        yield Shop(compose, router, controller)


def wrong(status: int = 500, share: int = 100) -> Callable[[Connection], None]:
    """Answers ``status`` to so many percent of its requests, else 200."""
    number = iter(range(1_000_000))

    def script(connection: Connection) -> None:
        connection.read_packet()
        bad = next(number) * share % 100 < share
        head = b"HTTP/1.1 %d Oops\r\nContent-Length: 1\r\n\r\n2" % status
        connection.send(head if bad else response(b"2"))

    return script


@pytest.mark.parametrize("number", [1, 2])
def test_all_answers_come_from_one_version_until_the_switch_and_from_the_other_after_it(
    shop: Shop, number: int
) -> None:
    shop.stand(number)
    shop.compose.version = "2"
    with SteadyLoad(shop.router) as load:
        code, out, err = shop.rollout()
        load.more(100)
    assert code == 0, err
    assert "web: rolled out after " in out
    assert {seen.status for seen in load.seen} == {200}
    last_old = max(seen.sent for seen in load.seen if seen.by == "1")
    mixed = [seen for seen in load.seen if seen.by == "2" and seen.sent < last_old - 0.1]
    assert not mixed, "one instant, but for the requests that are under way at it"
    assert shop.compose.versions() == ["2"] * number
    assert shop.serving() == sorted(shop.compose.names)
    assert list(Path(shop.compose.environment["XDG_STATE_HOME"]).rglob("*.json")) == []
    code, out, err = shop.rollout("-o", "json", "--one-by-one")
    result = json.loads(out)
    assert (code, result["schema"], result["result"], result["keys"]) == (
        0,
        "fastroute.rollout/v1",
        "done",
        ["foo.com"],
    )
    assert len(shop.compose.names) == number


def test_a_page_gets_all_its_parts_from_its_own_version_where_clients_stay(shop: Shop) -> None:
    shop.compose.labels |= {version: {"fastroute.sticky": "cookie"} for version in ("1", "2")}
    shop.stand(2)
    shop.compose.version = "2"
    pages: list[tuple[bytes, bytes]] = []
    over = threading.Event()

    def load_pages() -> None:
        while not over.is_set():
            page = ask(shop.router.port, "foo.com")
            cookie = page.headers["set-cookie"].partition(";")[0]
            over.wait(0.02)
            pages.append((page.body, ask(shop.router.port, "foo.com", path="/asset", HTTP_COOKIE=cookie).body))

    visitors = [threading.Thread(target=load_pages, daemon=True) for _ in range(6)]
    for visitor in visitors:
        visitor.start()
    code, _, err = shop.rollout("--sessions", "2")
    over.set()
    for visitor in visitors:
        visitor.join(30)
    assert (code, shop.compose.versions()) == (0, ["2", "2"]), err
    assert {page for page, _ in pages} == {b"1", b"2"}
    assert not [each for each in pages if each[0] != each[1]], f"of {len(pages)} pages"


def test_a_version_that_is_not_ready_in_time_gets_no_request_and_all_is_as_before(shop: Shop) -> None:
    shop.stand(2)
    before = shop.compose.names
    shop.compose.version, shop.compose.labels["2"] = "2", {"fastroute.port": "1"}
    with SteadyLoad(shop.router) as load:
        code, out, err = shop.rollout("--timeout", "2")
    assert code == 6, err
    assert "web: not ready in time" in out
    assert "probing: waiting for its port to accept" in out
    assert "went back, all as before" in out
    assert (shop.compose.names, shop.serving()) == (before, before)
    assert {(seen.by, seen.status) for seen in load.seen} == {("1", 200)}


def test_a_canary_that_answers_errors_is_taken_back_and_says_why(shop: Shop) -> None:
    shop.stand(2)
    before = shop.compose.names
    shop.compose.version, shop.compose.scripts["2"] = "2", wrong(share=30)
    with SteadyLoad(shop.router) as load:
        code, out, err = shop.rollout("--canary", "10", "--bake", "20s", "-o", "json")
    result = json.loads(out)
    assert (code, result["result"]) == (1, "back"), err
    assert "errors of the new: " in result["reason"]
    assert (shop.compose.names, shop.serving()) == (before, before)
    by = [seen.by for seen in load.seen]
    assert 0 < by.count("2") < 0.25 * len(by)
    ((compared),) = result["compared"]
    assert compared["new"]["total"] >= 20


def test_a_good_canary_gets_its_share_then_all(shop: Shop) -> None:
    shop.stand(1)
    shop.compose.version = "2"
    with SteadyLoad(shop.router):
        code, out, err = shop.rollout("foo.com", "--canary", "20", "--bake", "2", "-o", "json")
    result = json.loads(out)
    assert (code, shop.compose.versions()) == (0, ["2"]), err
    new, old = (result["compared"][0][side]["total"] for side in ("new", "old"))
    assert 0.15 < new / (new + old) < 0.25


def test_a_canary_takes_its_share_from_its_own_service_alone(shop: Shop) -> None:
    """A container of another service serves the key as well, with weight 2 beside the weight 1 of the old one."""
    with Worker(answers(b"other")) as other:
        labels = {
            "fastroute.key": "foo.com",
            "fastroute.port": other.address.rpartition(":")[2],
            "fastroute.weight": "2",
        }
        shop.compose.docker.run("other", labels | {"fastroute.probe": "none"}, address="127.0.0.1")
        shop.compose.scale(1)
        wait_for(lambda: shop.ready() == 2, "both serve")
        shop.compose.version = "2"
        with SteadyLoad(shop.router) as load:
            code, _, err = shop.rollout("--canary", "25", "--bake", "3")
        assert (code, shop.compose.versions()) == (0, ["2"]), err
        first, last = (pick(seen.sent for seen in load.seen if seen.by == by) for pick, by in ((min, "2"), (max, "1")))
        by = Counter(seen.by for seen in load.seen if first <= seen.sent <= last)
        assert 0.6 < by["other"] / by.total() < 0.73
        assert 0.17 < by["2"] / (by["1"] + by["2"]) < 0.35
        with SteadyLoad(shop.router) as load:
            load.more(100)
        by = Counter(seen.by for seen in load.seen)
        assert 0.6 < by["other"] / by.total() < 0.73, "the weights are those of the labels again"


@pytest.mark.parametrize("algorithm", ["lrc", "random2"])
def test_no_canary_where_the_algorithm_keeps_no_share(shop: Shop, algorithm: str) -> None:
    shop.compose.labels["1"] = {"fastroute.algorithm": algorithm}
    shop.stand(1)
    code, _, err = shop.rollout("--canary", "10", "--bake", "10s")
    assert (code, f"key foo.com is balanced by {algorithm}, which keeps no share" in err) == (1, True), err
    assert shop.compose.names == ["shop-web-1"]


@pytest.mark.parametrize("step", ["hold", "up", "ready", "switching", "rm"])
def test_killed_at_any_step_and_run_again_it_comes_to_the_same_end(shop: Shop, step: str) -> None:
    shop.stand(2)
    shop.compose.version = "2"
    killed = threading.Event()

    def kill(verb: str) -> None:
        if verb == step and not killed.is_set():
            killed.set()
            running.send_signal(signal.SIGKILL)
            running.wait(10)

    if step == "ready":
        shop.compose.labels["2"] = {"fastroute.port": "1"}
    with SteadyLoad(shop.router) as load:
        with shop.begin() as running:
            shop.compose.before = kill
            assert running.stderr is not None
            words = {
                "hold": "no requests before",
                "ready": "waiting until",
                "switching": "switching",
                "removing": "removing",
            }
            for line in running.stderr:
                if step in words and words[step] in line:
                    running.send_signal(signal.SIGKILL)
                    break
            assert running.wait(30) == -signal.SIGKILL
        shop.compose.labels.clear()
        code, out, err = shop.rollout()
    assert code == 0, err
    assert shop.compose.versions() == ["2", "2"], out
    assert shop.serving() == sorted(shop.compose.names)
    assert {seen.status for seen in load.seen} == {200}


def test_without_urls_it_asks_in_the_containers_of_controller_and_router(shop: Shop) -> None:
    shop.stand(1)
    shop.compose.version = "2"
    environment = shop.compose.environment | {
        "TEST_CONTROLLER_URL": f"http://127.0.0.1:{shop.controller.admin_port}",
        "TEST_ROUTER_URL": f"http://127.0.0.1:{shop.router.admin_port}",
    }
    environment["PATH"] += f":{Path(CTL).parent}"
    command = [CTL, "rollout", "web", "--canary", "50", "--bake", "1", "-o", "json"]
    with SteadyLoad(shop.router):
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)
    assert (done.returncode, shop.compose.versions()) == (0, ["2"]), done.stderr
    assert json.loads(done.stdout)["compared"][0]["new"]["total"] > 0, "the router's answers were counted, too"


def test_two_at_once_the_second_is_refused(shop: Shop) -> None:
    shop.stand(1)
    shop.compose.version, shop.compose.labels["2"] = "2", {"fastroute.port": "1"}
    with shop.begin("--timeout", "5") as first:
        assert first.stderr is not None
        assert any("waiting until" in line for line in first.stderr)
        code, _, err = shop.rollout()
        assert (code, f"a rollout of shop/web is under way (process {first.pid})" in err) == (1, True), err
        first.stderr.read()
        assert first.wait(30) == 6


def test_what_can_not_work_is_refused_with_the_reason(shop: Shop) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"container_name": "web"}, "container_name 'web'"),
        ({"ports": [{"target": 80, "published": "8080"}]}, "it publishes port 8080"),
        ({"network_mode": "host"}, "network_mode: host"),
        ({"deploy": {"mode": "global"}}, "deploy.mode global"),
    ]
    for spec, text in cases:
        shop.compose.spec = spec
        code, _, err = shop.rollout()
        assert (code, text in err) == (2, True), err
    assert {words[0] for words in shop.compose.asked} == {"compose"}


def test_a_service_that_is_not_there_or_has_no_key_is_refused(shop: Shop) -> None:
    shop.stand(1)
    code, _, err = shop.rollout("other.com")
    assert (code != 0, "does not have key 'other.com'; it has foo.com" in err) == (True, True), err
    done = subprocess.run([CTL, "rollout", "wbe"], capture_output=True, text=True, env=shop.compose.environment)
    assert (done.returncode, "did you mean web?" in done.stderr) == (1, True), done.stderr
    shop.compose.version, shop.compose.labels["2"] = "2", {"fastroute.enable": "false"}
    shop.compose.docker.remove(shop.compose.containers[0])
    shop.compose.scale(1)
    code, _, err = shop.rollout()
    assert (code, "has no key at this controller" in err) == (1, True), err


@pytest.mark.parametrize("verb", ["up", "build"])
def test_what_docker_can_not_do_leaves_all_as_before(shop: Shop, verb: str) -> None:
    shop.stand(2)
    before = shop.compose.names
    shop.compose.version, shop.compose.failing = "2", {verb: "no space left on device"}
    code, out, err = shop.rollout("--build", "--pull")
    assert (code, "no space left on device" in out + err) == (1, True), err
    assert (shop.compose.names, shop.serving()) == (before, before)


def test_a_canary_that_is_watched_for_no_time_is_over_at_once(shop: Shop) -> None:
    shop.stand(1)
    code, out, err = shop.rollout("--canary", "5", "--dry-run")
    assert (code, "--canary without --bake is over at once" in err, "5%" in out) == (0, True, False), out + err


def test_a_dry_run_says_what_it_would_do_and_does_nothing(shop: Shop) -> None:
    shop.stand(2)
    code, out, err = shop.rollout("--dry-run", "--canary", "10", "--bake", "60s")
    assert (code, "nothing was changed" in out) == (0, True)
    assert "docker compose up -d --no-deps --no-recreate --scale web=4 web" in err
    assert not [words for words in shop.compose.asked if {"up", "stop", "rm"} & set(words)]


def test_the_first_containers_are_started(shop: Shop) -> None:
    code, out, err = shop.rollout("--dry-run")
    assert (code, "none is there: docker compose up -d --no-deps --no-recreate web\n" in err) == (0, True), err
    assert "hold" not in err
    code, out, err = shop.rollout()
    assert (code, "shop-web-1 started" in out) == (0, True), err
    assert shop.serving() == ["shop-web-1"]
