"""``POST /v1/switch`` at a controller: after its answer no router sends a request to the containers that it left."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_docker import FakeDocker, fake_engine
from support.nginx_mode import ServedNginx
from support.programs import Controller, Router, wait_for
from support.steady_load import SteadyLoad
from support.uwsgi_client import ask
from support.workers import Worker, answers

OLD, NEW = ("old-1", "old-2"), ("new-1", "new-2")


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_engine(tmp_path) as engine:
        yield engine


def run(docker: FakeDocker, stack: ExitStack, *names: str, **more: str) -> None:
    """Containers for foo.com, each with a worker on loopback that answers with the container's name."""
    for name in names:
        worker = stack.enter_context(Worker(answers(name.encode())))
        labels = {"fastroute.key": "foo.com", "fastroute.port": worker.address.rpartition(":")[2], **more}
        docker.run(name, {"fastroute.probe": "none"} | labels, address="127.0.0.1")


def switch(controller: Controller, *to: str, **more: object) -> dict[str, Any]:
    answer = httpx.post(f"http://127.0.0.1:{controller.admin_port}/v1/switch", timeout=30,
                        json={"key": "foo.com", "to": list(to), **more})  # fmt: skip
    return {"status": answer.status_code, **answer.json()}


def ready(router: Router | Controller) -> int:
    """The nodes of foo.com that get requests, as the admin says."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/keys/foo.com")
    except httpx.TransportError:
        return 0
    return int(answer.json().get("ready", 0)) if answer.status_code == 200 else 0


def test_no_request_goes_to_an_old_container_after_the_answer_and_the_way_back_is_as_fast(docker: FakeDocker) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(Router("--processes", "2")) for _ in range(2))
        run(docker, stack, *OLD, *NEW)
        controller = stack.enter_context(Controller(docker.url, one, "--router", f"127.0.0.1:{two.port}"))
        wait_for(lambda: ready(one) == ready(two) == 4, "four nodes at both")
        answered: list[tuple[float, set[str]]] = [(0.0, {*OLD, *NEW})]
        seconds = []
        with SteadyLoad(one, two) as load:
            for to in (OLD, NEW, OLD, NEW):
                begun = time.monotonic()
                answer = switch(controller, *to)
                answered.append((time.monotonic(), set(to)))
                seconds.append(answered[-1][0] - begun)
                assert (answer["status"], answer["acked"], answer["to"]) == (200, True, list(to)), answer
                assert [row["problem"] for row in answer["routers"]] == [None, None]
                load.more()
        assert {seen.status for seen in load.seen} == {200}
        for (at, allowed), (until, _) in itertools.pairwise([*answered, (float("inf"), set())]):
            # A request that was sent before an answer may be at either.
            late = [seen for seen in load.seen if at <= seen.sent < until - 1 and seen.by not in allowed]
            assert not late, f"{len(late)} of {len(load.seen)}: {late[:3]}, {at}"
            assert {seen.by for seen in load.seen if at <= seen.sent < until} >= allowed
        print(f"\n{len(load.seen)} requests, switched in {', '.join(f'{each * 1000:.0f} ms' for each in seconds)}")
        assert all(each < 2 for each in seconds)


def test_a_router_gets_it_as_one_packet_however_many_containers_there_are(docker: FakeDocker) -> None:
    with ExitStack() as stack:
        router = stack.enter_context(Router())
        names = [f"web-{number}" for number in range(20)]
        run(docker, stack, *names)
        controller = stack.enter_context(Controller(docker.url, router))
        wait_for(lambda: ready(router) == 20, "twenty nodes")
        assert switch(controller, *names[:10])["acked"]
        assert ready(router) == 10
        assert switch(controller, *names[10:])["acked"]
        assert ready(router) == 10
        lines = httpx.get(f"http://127.0.0.1:{controller.admin_port}/v1/events?follow=0").text.splitlines()
        assert sum('"packet"' in line and "and 17 more" in line for line in lines) == 1, "the second switch, of twenty"


def test_a_router_that_is_away_is_named_and_has_it_when_it_is_back(docker: FakeDocker) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(Router()) for _ in range(2))
        run(docker, stack, "old-1", "new-1")
        options = ("--router", f"127.0.0.1:{two.port}", "--heartbeat", "0.2")
        controller = stack.enter_context(Controller(docker.url, one, *options))
        wait_for(lambda: ready(one) == ready(two) == 2, "both nodes at both")
        two.stop()
        answer = switch(controller, "new-1")
        problems = {row["router"]: row["problem"] for row in answer["routers"]}
        assert (answer["status"], answer["acked"], problems[f"127.0.0.1:{one.port}"]) == (200, False, None)
        assert problems[f"127.0.0.1:{two.port}"] in ("it has not acked yet", "it does not answer")
        assert {ask(one.port, "foo.com").body for _ in range(8)} == {b"new-1"}
        with Router.at(two.port, two.admin_port, "--listen", f"127.0.0.1:{two.port}") as back:
            wait_for(lambda: ready(back) == 1, "it is told")
            assert {ask(back.port, "foo.com").body for _ in range(8)} == {b"new-1"}
            assert switch(controller, "old-1")["acked"]


def test_what_can_not_be_done_is_refused_with_the_reason_and_changes_nothing(docker: FakeDocker) -> None:
    with ExitStack() as stack:
        router = stack.enter_context(Router())
        run(docker, stack, "old-1", "new-1")
        run(docker, stack, "not-ready", **{"fastroute.probe": "tcp", "fastroute.port": "1"})
        run(docker, stack, "zero", **{"fastroute.weight": "0"})
        run(docker, stack, "other", **{"fastroute.key": "bar.com"})
        controller = stack.enter_context(Controller(docker.url, router))
        wait_for(lambda: ready(router) == 2, "both nodes")
        for body, status, text in [
            ({"to": ["nobody"]}, 404, "no labelled container is called 'nobody'"),
            ({"to": ["other"]}, 409, "container other can't serve foo.com: its labels name bar.com"),
            ({"to": ["old-1", "not-ready"]}, 409, "it is not ready: probing (waiting for its port to accept"),
            ({"to": ["zero"]}, 409, "its label says weight 0"),
            ({"to": ["old-1"], "weights": {"new-1": 1}}, 409, "not one of those that serve"),
            ({"to": []}, 400, "at least one"),
            ({"to": "old-1"}, 400, "at least one"),
            ({"to": ["old-1"], "weights": {"old-1": 0}}, 400, "from 1 to 65535"),
            ({"to": ["old-1"], "off": ["old-1"]}, 400, "container old-1 stands in 'to' and in 'off'"),
            ({"to": ["old-1"], "off": "new-1"}, 400, "absent: all others"),
            ({"to": ["old-1"], "hold": -1}, 400, "seconds from 0 to 3600"),
            ({"to": ["old-1"], "from": ["new-1"]}, 400, "'from' is not known here"),
            ({"to": ["old-1"], "key": "nobody.com"}, 404, "no labelled container has key 'nobody.com'"),
            ({"to": ["old-1"], "key": "no key"}, 400, "no key"),
        ]:
            answer = switch(controller, **body)  # type: ignore[arg-type]
            assert (answer["status"], text in answer["error"]) == (status, True), answer
        assert ready(router) == 2
        assert switch(controller, "old-1", "zero", weights={"zero": 3})["acked"]
        assert ready(router) == 2


def test_nginx_mode_switches_by_one_proven_reload(docker: FakeDocker) -> None:
    with ExitStack() as stack:
        nginx = stack.enter_context(ServedNginx())
        unused = stack.enter_context(Router())
        run(docker, stack, *OLD, *NEW)
        of = nginx.settings
        options = {"mode": "nginx", "nginx-conf-dir": of.nginx_conf_dir, "nginx-test": of.nginx_test,
                   "nginx-reload": of.nginx_reload, "nginx-listen": of.nginx_listen[0],
                   "nginx-status": str(of.nginx_status), "nginx-min-interval": "0.1"}  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        controller = stack.enter_context(Controller(docker.url, unused, *words))
        wait_for(lambda: ready(controller) == 4, "nginx serves all four", 30)
        assert {nginx.get("foo.com").text for _ in range(20)} == {*OLD, *NEW}
        for to in (NEW, OLD):
            answer = switch(controller, *to)
            assert (answer["acked"], answer["routers"]) == (True, [{"router": "nginx", "problem": None}])
            assert {nginx.get("foo.com").text for _ in range(20)} == set(to)
