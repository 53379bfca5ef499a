"""Pause and maintenance of one router, with nginx in front and real uWSGI workers behind: nobody is lost, the order
stays, and it outlives control, the router and the worker."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from support.programs import Nginx, Router, UwsgiWorker, free_port, wait_for
from support.survival import HttpLoad, Load, children, replaced
from support.uwsgi_client import Answer, ask, send_datagram, subscription_packet

#: It answers with the queries that it has seen so far, in their order.
ORDER_APP = """
    seen = []
    def application(environ, start_response):
        seen.append(environ.get("QUERY_STRING", ""))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [",".join(seen).encode()]
"""


def key(router: Router, name: str = "foo.com") -> dict[str, Any]:
    answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/keys/{name}", timeout=5)
    return answer.json() if answer.status_code == 200 else {}


def post(router: Router, verb: str, name: str = "foo.com", **more: object) -> dict[str, Any]:
    url = f"http://127.0.0.1:{router.admin_port}/v1/{verb}"
    answer = httpx.post(url, json={"key": name, **more}, timeout=10)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def waiting(router: Router, number: int) -> None:
    wait_for(lambda: key(router).get("waiting") == number, f"{number} wait")


class Asker:
    """One request on a thread of its own."""

    def __init__(self, router: Router, path: str = "/") -> None:
        self.answer = Answer(0)
        self._thread = threading.Thread(target=self._run, args=(router.port, path))
        self._thread.start()

    def _run(self, port: int, path: str) -> None:
        self.answer = ask(port, "foo.com", path=path)

    def done(self) -> Answer:
        """Its answer, once that is there."""
        self._thread.join(30)
        return self.answer


@contextmanager
def behind_nginx(router: Router) -> Iterator[Nginx]:
    with Nginx(f"127.0.0.1:{router.port}", extra="uwsgi_read_timeout 60s;") as nginx:
        yield nginx


def test_under_load_a_pause_costs_nobody_his_request() -> None:
    with UwsgiWorker("one") as worker, Router("--node", f"foo.com={worker.address}") as router:
        with (
            behind_nginx(router) as nginx,
            HttpLoad(nginx.port, "foo.com", rate=80) as gets,
            HttpLoad(nginx.port, "foo.com", rate=40, method="POST") as posts,
        ):
            gets.more(20)
            for _ in range(2):
                post(router, "pause", seconds=20)
                before = sum(gets.seen.values()) + sum(posts.seen.values())
                waiting(router, 16)
                assert sum(gets.seen.values()) + sum(posts.seen.values()) <= before + 16, "nobody gets past it"
                post(router, "resume")
                gets.more(20)
                posts.more(10)
        assert set(gets.seen) == set(posts.seen) == {200}
        metrics = httpx.get(f"http://127.0.0.1:{router.admin_port}/metrics", timeout=5).text
        assert 'fastroute_waiting{key="foo.com"} 0.0' in metrics
        count = next(line for line in metrics.splitlines() if line.startswith("fastroute_waited_seconds_count"))
        assert float(count.split()[1]) >= 32


def test_those_who_wait_go_on_in_the_order_in_which_they_came() -> None:
    with (
        UwsgiWorker("one", "--threads", "1", app=ORDER_APP) as worker,
        Router("--node", f"foo.com={worker.address}") as router,
    ):
        post(router, "pause")
        askers = []
        for number in range(8):
            askers.append(Asker(router, f"/?{number}"))
            waiting(router, number + 1)
        post(router, "resume")
        assert max((asker.done().body for asker in askers), key=len) == b"0,1,2,3,4,5,6,7"


def test_a_pause_ends_by_itself_and_waits_no_longer_than_it_says() -> None:
    with UwsgiWorker("one") as worker, Router("--node", f"foo.com={worker.address}") as router:
        begin = time.monotonic()
        answer = post(router, "pause", seconds=1)
        assert (answer["state"], bool(answer["until"])) == ("paused", True)
        assert Asker(router).done().status == 200
        assert time.monotonic() - begin >= 0.9
        router.wait_line("foo.com => serves again (its time is over)")


def test_a_key_without_a_node_is_paused_and_the_worker_that_comes_meanwhile_serves_it() -> None:
    with Router() as router:
        assert ask(router.port, "foo.com").status == 404
        post(router, "pause", seconds=60)
        asker = Asker(router)
        waiting(router, 1)
        with UwsgiWorker("late", subscribe=f"server=127.0.0.1:{router.port},key=foo.com"):
            wait_for(lambda: key(router)["ready"] == 1, "the worker has joined")
            assert key(router)["waiting"] == 1
            post(router, "resume")
            assert asker.done().node == "late"


def test_maintenance_says_so_to_everybody_but_the_networks_that_are_let_through() -> None:
    with (
        UwsgiWorker("one") as worker,
        Router("--node", f"foo.com={worker.address}", "--node", f"bar.com={worker.address}") as router,
        behind_nginx(router) as nginx,
    ):

        def get(source: str, host: str = "foo.com") -> tuple[int, str, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20, source_address=(source, 0))
            try:
                connection.request("GET", "/", headers={"Host": host})
                answer = connection.getresponse()
                return answer.status, answer.headers.get("X-Fastroute-Error", ""), answer.read()
            finally:
                connection.close()

        post(router, "maintenance", message="back at 9", allow=["127.0.0.1"])
        assert get("127.0.0.1")[0] == 200
        status, error, body = get("127.0.0.2")
        assert (status, error, b"back at 9" in body) == (503, "maintenance", True)
        assert get("127.0.0.2", "bar.com")[0] == 200, "another key"
        post(router, "maintenance", allow=["127.0.0.0/8"])
        assert get("127.0.0.2")[0] == 200
        post(router, "maintenance")
        assert get("127.0.0.1")[:2] == (503, "maintenance")
        post(router, "resume")
        assert get("127.0.0.1")[0] == 200


def test_control_is_killed_during_a_pause_and_nobody_notices() -> None:
    with UwsgiWorker("one") as worker, Router("--processes", "2", "--node", f"foo.com={worker.address}") as router:
        post(router, "pause", seconds=60)
        askers = [Asker(router) for _ in range(12)]
        waiting(router, 12)
        victim = children(router, "control.main")[0]
        os.kill(victim, signal.SIGKILL)
        replaced(router, "control.main", victim)

        def again() -> tuple[object, object]:
            try:
                return key(router).get("state"), key(router).get("waiting")
            except httpx.TransportError:
                return None, None

        wait_for(lambda: again() == ("paused", 12), "its successor knows the pause, and both relays' waiters")
        assert all(asker.answer.status == 0 for asker in askers)
        post(router, "resume")
        assert {asker.done().status for asker in askers} == {200}


def test_a_restarted_router_goes_on_with_what_is_left(tmp_path: Path) -> None:
    node = ""
    with UwsgiWorker("one") as worker:
        node = f"foo.com={worker.address}"
        with Router("--state-dir", str(tmp_path), "--node", node) as router:
            until = post(router, "pause", seconds=100)["until"]
            post(router, "maintenance", "*.bar.com", message="back at 9", allow=["10.0.0.0/8"])
            router.stop()
        with Router("--state-dir", str(tmp_path), "--node", node) as router:
            wait_for(lambda: key(router).get("ready") == 1, "it is there")
            found = key(router)
            assert found["state"] == "paused"
            assert abs(_epoch(found["until"]) - _epoch(until)) < 1, "the end is where it was"
            assert key(router, "*.bar.com")["message"] == "back at 9"
            asker = Asker(router)
            waiting(router, 1)
            post(router, "resume")
            assert asker.done().status == 200
            assert ask(router.port, "a.bar.com").headers["x-fastroute-error"] == "maintenance"


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def test_a_reload_keeps_a_pause_and_those_who_wait(tmp_path: Path) -> None:
    config = tmp_path / "router.yaml"
    with UwsgiWorker("one") as worker:
        config.write_text(f"router: {{node: ['foo.com={worker.address}']}}\n")
        with Router(str(config)) as router:
            post(router, "pause", seconds=60)
            askers = [Asker(router) for _ in range(3)]
            waiting(router, 3)
            config.write_text(f"router: {{node: ['foo.com={worker.address}'], timeout: 50}}\n")
            router.send_signal(signal.SIGHUP)
            router.wait_line("reloaded: timeout")
            waiting(router, 3)
            post(router, "resume")
            assert {asker.done().status for asker in askers} == {200}


def test_one_paused_key_holds_up_no_other() -> None:
    with (
        UwsgiWorker("one") as worker,
        Router("--node", f"foo.com={worker.address}", "--node", f"bar.com={worker.address}") as router,
    ):
        post(router, "pause", seconds=60)
        askers = [Asker(router) for _ in range(20)]
        waiting(router, 20)
        with Load(router.port, "bar.com") as load:
            load.more(100)
        assert set(load.seen) == {200}
        send_datagram(router.port, subscription_packet("foo.com/api", worker.address))
        wait_for(lambda: key(router, "foo.com/api").get("ready") == 1, "a key with a path")
        assert ask(router.port, "foo.com", path="/api/x").status == 200
        post(router, "resume")
        assert {asker.done().status for asker in askers} == {200}


def test_a_name_under_a_wildcard_is_paused_alone_and_served_by_the_wildcard_again() -> None:
    with UwsgiWorker("wild") as worker, Router("--node", f"*.bar.com={worker.address}") as router:
        post(router, "pause", "A.bar.com.", seconds=60)
        assert key(router, "a.bar.com")["state"] == "paused"
        answers: list[Answer] = []
        asker = threading.Thread(target=lambda: answers.append(ask(router.port, "a.bar.com")))
        asker.start()
        wait_for(lambda: key(router, "a.bar.com").get("waiting") == 1, "it waits")
        assert ask(router.port, "b.bar.com").node == "wild"
        post(router, "resume", "a.bar.com")
        asker.join(30)
        assert [answer.node for answer in answers] == ["wild"]
        assert ask(router.port, "a.bar.com").node == "wild"
        assert not key(router, "a.bar.com")
        post(router, "maintenance", "*.bar.com", allow=["203.0.113.0/24"])
        assert ask(router.port, "b.bar.com", REMOTE_ADDR="198.51.100.1").headers["x-fastroute-error"] == "maintenance"
        assert ask(router.port, "b.bar.com").node == "wild"


def test_too_many_who_wait_are_told_so_and_the_event_names_the_key() -> None:
    with UwsgiWorker("one") as worker, Router("--wait-max", "2", "--node", f"foo.com={worker.address}") as router:
        post(router, "pause", seconds=60)
        askers = [Asker(router) for _ in range(2)]
        waiting(router, 2)
        assert {ask(router.port, "foo.com").headers["x-fastroute-error"] for _ in range(3)} == {"queue-full"}

        def told() -> str:
            return httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/events?follow=0", timeout=5).text

        wait_for(lambda: "event: queue-full" in told(), "the event")
        router.wait_line("foo.com => ")
        assert "requests found the queue full (--wait-max)" in router.output()
        post(router, "resume")
        assert {asker.done().status for asker in askers} == {200}


def test_the_router_own_wait_shows_where_nobody_says_another() -> None:
    with Router(
        "--wait", "15", "--node", "foo.com=127.0.0.1:9", "--node", "bar.com=127.0.0.1:9,wait=500ms,max=3"
    ) as it:
        assert (key(it)["wait"], key(it, "bar.com")["wait"], key(it, "bar.com")["nodes"][0]["max"]) == (15, 0.5, 3)


def test_a_router_that_takes_over_ends_the_pause_for_those_who_wait_at_the_old_one(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    with UwsgiWorker("one") as worker:
        options = ("--listen", f"127.0.0.1:{port}", "--run-dir", str(tmp_path), "--node", f"foo.com={worker.address}")
        tmp_path.chmod(0o755)
        with Router.at(port, admin, *options) as old:
            old.wait_line("serves on")
            post(old, "pause", seconds=60)
            askers = [Asker(old) for _ in range(3)]
            waiting(old, 3)
            with Router.at(port, admin, *options) as new:
                old.wait_line("handed over to the router with pid")
                wait_for(lambda: key(new).get("state") == "paused", "the new one knows it")
                late = Asker(new)
                waiting(new, 4)
                post(new, "resume")
                assert {asker.done().status for asker in (*askers, late)} == {200}
                assert old.ended() == 0
