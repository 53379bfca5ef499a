"""``wait`` and ``max`` from whoever says them to the requests: labels, ``announce``, a worker that is started again."""

from __future__ import annotations

import json
import sys
import textwrap
import threading
import time
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support import load
from support.announcing import Announced
from support.fake_docker import fake_engine
from support.programs import Controller, Nginx, Program, Router, free_port
from support.survival import HttpLoad
from support.uwsgi_client import Answer, ask, send_datagram, subscription_packet
from support.workers import Connection, Worker, response

LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none"}
#: One process of four threads, which says how many requests it had at once at most.
APP = """
import threading, time
lock, now, most = threading.Lock(), 0, 0
def application(environ, start_response):
    global now, most
    with lock:
        now += 1
        most = max(most, now)
    time.sleep(0.03)
    with lock:
        now -= 1
    body = str(most).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class HeldWorker:
    """A worker whose requests wait until :meth:`release`; it knows how many it had at once at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock, self._released = threading.Lock(), threading.Event()
        self._worker = Worker(self._hold)
        self.port = self._worker.address.rpartition(":")[2]

    def __enter__(self) -> HeldWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._worker.close()

    def _hold(self, connection: Connection) -> None:
        connection.read_packet()
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self._released.wait(30)
        with self._lock:
            self.now -= 1
        connection.send(response(b"done"))

    def release(self) -> None:
        """Answer those that are there, and all that come."""
        self._released.set()


def get(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
    return body


def key_row(router: Router) -> dict[str, Any]:
    """What the router's status has of foo.com; empty: it is not known."""
    return next((key for key in get(router.admin_port, "/v1/status")["keys"] if key["key"] == "foo.com"), {})


def test_the_labels_of_a_container_hold_its_requests_back(tmp_path: Path) -> None:
    with (
        HeldWorker() as worker, fake_engine(tmp_path) as docker, Router() as router,
        Controller(docker.url, router) as controller, ThreadPoolExecutor(8) as clients,
    ):  # fmt: skip
        labels = LABELS | {"fastroute.max": "2", "fastroute.wait": "20s", "fastroute.port": worker.port}
        docker.run("web-1", labels, address="127.0.0.1")
        controller.wait_for(lambda: key_row(router).get("nodes"), "the container is routed")
        row = key_row(router)
        assert (row["wait"], row["nodes"][0]["max"]) == (20, 2)
        answers: list[Future[Answer]] = [clients.submit(ask, router.port, "foo.com") for _ in range(8)]
        router.wait_for(lambda: key_row(router)["waiting"] == 6, "six requests wait")
        assert worker.now == 2
        worker.release()
        assert {answer.result().status for answer in answers} == {200}
        assert worker.most == 2


def test_the_wait_is_the_oldest_containers_and_both_say_so(tmp_path: Path) -> None:
    with fake_engine(tmp_path) as docker, Router() as router, Controller(docker.url, router) as controller:
        for name, wait in (("old", "1"), ("new", "30")):
            docker.run(name, LABELS | {"fastroute.wait": wait, "fastroute.port": f"{free_port()}"}, address="127.0.0.1")
        controller.wait_for(lambda: len(key_row(router).get("nodes", ())) == 2, "both are routed")
        text = "wait of foo.com: 1 by container old wins over 30 by container new"
        reasons = {row["name"]: row["reason"] for row in get(controller.admin_port, "/v1/containers")["containers"]}
        assert text in reasons["old"]
        assert text in reasons["new"]
        assert text in controller.output()
        assert key_row(router)["wait"] == 1
        begin = time.monotonic()
        answer = ask(router.port, "foo.com")
        assert (answer.status, answer.headers.get("x-fastroute-waited")) == (503, "1.0")
        assert time.monotonic() - begin >= 1


def test_requests_wait_while_the_only_container_is_replaced(tmp_path: Path) -> None:
    """As its label says, also in the moment in which no container of the key is there."""
    with (
        HeldWorker() as worker, fake_engine(tmp_path) as docker, Router() as router,
        Controller(docker.url, router) as controller, ThreadPoolExecutor(4) as clients,
    ):  # fmt: skip
        worker.release()
        labels = LABELS | {"fastroute.wait": "20", "fastroute.port": worker.port}
        container = docker.run("web-1", labels, address="127.0.0.1")
        controller.wait_for(lambda: ask(router.port, "foo.com").status == 200, "the container serves")
        docker.kill(container, 15)
        docker.die(container)
        docker.remove(container)
        controller.wait_for(lambda: key_row(router)["nodes"] == [], "the container is gone")
        answers = [clients.submit(ask, router.port, "foo.com") for _ in range(4)]
        router.wait_for(lambda: key_row(router)["waiting"] == 4, "four requests wait")
        docker.run("web-2", labels, address="127.0.0.1")
        assert {answer.result().status for answer in answers} == {200}


def gunicorn(router: Router, port: int, folder: Path) -> Program:
    """One gunicorn with four threads, announced with room for two requests."""
    command = (sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--protocol", "uwsgi", "--threads", "4",
               "--chdir", str(folder), "app:application")  # fmt: skip
    return Announced(
        "--router", f"127.0.0.1:{router.port}", "--key", "foo.com", "--address", f"127.0.0.1:{port}", "--max", "2",
        "--wait", "20", "--probe", "/", command=command,
    )  # fmt: skip


def test_an_announced_gunicorn_is_restarted_under_load_and_never_has_more_than_its_max(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    port = free_port()
    with Router() as router, Nginx(f"127.0.0.1:{router.port}") as nginx:
        worker = gunicorn(router, port, tmp_path)
        worker.wait_line("announced and acked")
        most: list[int] = []
        # Two threads of 30 ms do 66 a second.
        with (
            HttpLoad(nginx.port, "foo.com", rate=40) as gets,
            HttpLoad(nginx.port, "foo.com", rate=10, method="POST") as posts,
        ):
            for _ in range(3):
                gets.more(40)
                posts.more(10)
                most.append(int(ask(router.port, "foo.com").body))
                assert worker.stop() == 0
                router.wait_for(lambda: key_row(router)["waiting"] >= 3, "requests wait for the worker")
                worker = gunicorn(router, port, tmp_path)
                worker.wait_line("announced and acked")
            gets.more(40)
            posts.more(10)
        most.append(int(ask(router.port, "foo.com").body))
        assert worker.stop() == 0
    assert set(gets.seen) == {200}, gets.seen
    assert set(posts.seen) == {200}, posts.seen
    assert max(most) == 2, most


def test_the_access_log_has_the_time_since_nginx_and_the_part_of_it_in_the_queue(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    options = ("--access-log", str(log), "--log-format", "json", "--wait", "20")
    start = 'uwsgi_param HTTP_X_REQUEST_START "t=$msec";'
    with (
        Router("--node", "foo.com=127.0.0.1:9", *options) as router, HeldWorker() as worker,
        Nginx(f"127.0.0.1:{router.port}", params=f"include /etc/nginx/uwsgi_params; {start}") as nginx,
        ThreadPoolExecutor(1) as client,
    ):  # fmt: skip
        worker.release()
        asked = time.monotonic()
        answer = client.submit(get_status, nginx.port)
        router.wait_for(lambda: key_row(router)["waiting"] == 1, "the request waits")
        waited = time.monotonic() - asked
        send_datagram(router.port, subscription_packet("foo.com", f"127.0.0.1:{worker.port}"))
        assert answer.result() == 200
        whole = time.monotonic() - asked
        router.wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the line is written")
        line = json.loads(log.read_text())
        # nginx asks the clock once in a turn of its loop, the router in its own.
        assert 0 < line["waited_ms"] <= line["queue_ms"] + 100
        assert waited * 1000 - 1000 <= line["queue_ms"] <= whole * 1000 + 1000


def get_status(port: int) -> int:
    return load.ask(port, "foo.com").status
