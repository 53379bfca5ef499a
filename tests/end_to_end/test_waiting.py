"""Requests wait for a worker: through its death and restart, in order, and never more at a worker than it may have."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.crowd import Crowd
from support.programs import Nginx, Program, Router, UwsgiWorker, free_port, listens, wait_for
from support.survival import HttpLoad, children, replaced
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Connection, Worker, answers, answers_http, response

from fastroute.router.relay.limits import COLD_LIMIT


class Busy:
    """A worker that notes how many requests it has at once; it answers after ``seconds``, or when it is released."""

    def __init__(self, seconds: float = 0.0, port: int = 0) -> None:
        self.seconds, self.now, self.most, self.total = seconds, 0, 0, 0
        self._lock, self.released = threading.Lock(), threading.Event()
        self._worker = Worker(self._play, port=port)
        self.address = self._worker.address

    def __enter__(self) -> Busy:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._worker.close()

    def _play(self, connection: Connection) -> None:
        connection.read_packet()
        with self._lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)
        if self.seconds:
            time.sleep(self.seconds)
        else:
            self.released.wait(30)
        with self._lock:
            self.now -= 1
        connection.send(response(b"done"))


def know(router: Router, key: str = "foo.com") -> None:
    """Make ``key`` known, without a node."""
    send_datagram(router.port, subscription_packet(key, "127.0.0.1:1"))
    send_datagram(router.port, subscription_packet(key, "127.0.0.1:1", leave=True))
    wait_for(lambda: key in status(router), "the key is known")
    wait_for(lambda: not status(router)[key]["nodes"], "and has no node")


def status(router: Router) -> dict[str, dict[str, object]]:
    answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/status").json()
    return {key["key"]: key for key in answer["keys"]}


def waiting(router: Router) -> int:
    text = httpx.get(f"http://127.0.0.1:{router.admin_port}/metrics").text
    return sum(int(float(value)) for value in re.findall(r"^fastroute_waiting\{.*\} (\S+)$", text, re.MULTILINE))


def until_waiting(router: Router, count: int) -> None:
    wait_for(lambda: waiting(router) == count, f"{count} requests wait")


def join(router: Router, address: str, key: str = "foo.com", **more: Any) -> None:
    send_datagram(router.port, subscription_packet(key, address, **more))


@pytest.fixture
def gunicorn() -> Iterator[Callable[[int], Program]]:
    """Starts gunicorn at a port."""
    started: list[Program] = []

    def start(port: int) -> Program:
        support = str(Path(__file__).parents[1] / "support")
        program = Program(
            sys.executable, "-m", "gunicorn", "--protocol", "uwsgi", "--bind", f"127.0.0.1:{port}", "--threads", "4",
            "--pythonpath", support, "web_apps:wsgi",
        )  # fmt: skip
        started.append(program)
        return program

    yield start
    for program in started:
        program.__exit__()


def test_the_only_worker_dies_and_is_started_again_and_nobody_notices(gunicorn: Callable[[int], Program]) -> None:
    port = free_port()
    worker = gunicorn(port)
    worker.wait_for(lambda: listens(port), "the worker listens")
    with (
        Router("--node", f"foo.com=127.0.0.1:{port}", "--wait", "15") as router,
        Nginx(f"127.0.0.1:{router.port}") as nginx, HttpLoad(nginx.port, "foo.com", rate=60) as load,
    ):  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGKILL):
            load.more(60)
            # Its first process alone: where the others end before it, its queue takes a request that one of them broke
            # off, breaks it off as well, and it is not sent a third time.
            worker.stop(number)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.process.pid, number)
            wait_for(lambda: waiting(router) > 3, "requests wait")
            worker = gunicorn(port)
            load.more(100)
    assert set(load.seen) == {200}, load.seen


def test_a_new_uwsgi_worker_at_another_address_serves_those_that_waited() -> None:
    with Router("--wait", "15") as router, Nginx(f"127.0.0.1:{router.port}") as nginx, UwsgiWorker("one") as old:
        join(router, old.address)
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "the first one serves")
        with HttpLoad(nginx.port, "foo.com", rate=60, method="POST") as load:
            load.more(30)
            join(router, old.address, leave=True)
            wait_for(lambda: waiting(router) > 5, "requests wait")
            with UwsgiWorker("two") as new:
                join(router, new.address)
                load.more(60)
                load.end()
                wait_for(lambda: waiting(router) == 0, "nobody waits")
                load.__exit__()
                assert set(load.seen) == {200}, load.seen


@pytest.mark.parametrize("processes", [1, 2])
def test_a_flood_of_a_thousand_is_two_at_a_time_for_the_worker(processes: int) -> None:
    with (
        Busy(0.002) as worker,
        Router("--node", f"foo.com={worker.address},max=2", "--wait", "60", "--processes", str(processes)) as router,
        Crowd(router.port, "foo.com", 1000) as crowd,
    ):
        assert crowd.finish(60) == {200: 1000}
        assert worker.most <= 2
        assert worker.total == 1000


def test_a_cold_worker_gets_sixteen_at_once_until_it_has_answered() -> None:
    with Busy() as worker, Router("--wait", "30") as router:
        know(router)
        with Crowd(router.port, "foo.com", 200) as crowd:
            until_waiting(router, 200)
            join(router, worker.address)
            wait_for(lambda: worker.now == COLD_LIMIT, "it has sixteen")
            until_waiting(router, 200 - COLD_LIMIT)
            crowd.read()
            assert worker.most == COLD_LIMIT
            worker.released.set()
            assert crowd.finish() == {200: 200}


def test_a_worker_that_keeps_its_one_connection_serves_all_over_it() -> None:
    with (
        Worker(answers_http()) as worker,
        Router("--node", f"foo.com={worker.address},max=1,protocol=http", "--wait", "20") as router,
        Crowd(router.port, "foo.com", 50) as crowd,
    ):
        assert crowd.finish() == {200: 50}
        assert len(worker.requests) == 50
        assert len({id(connection) for connection in worker.requests}) == 1


def test_clients_that_leave_leave_the_queue() -> None:
    with Worker(answers()) as worker, Router("--wait", "30") as router:
        know(router)
        with Crowd(router.port, "foo.com", 100) as crowd:
            until_waiting(router, 100)
            crowd.leave(count=60)
            until_waiting(router, 40)
            join(router, worker.address)
            assert crowd.finish() == {200: 40}
        assert len(worker.requests) == 40


def test_control_is_killed_while_a_hundred_wait_and_they_are_served() -> None:
    with Worker(answers()) as worker, Router("--wait", "30") as router:
        know(router)
        with Crowd(router.port, "foo.com", 100) as crowd:
            until_waiting(router, 100)
            victim = children(router, "control.main")[0]
            os.kill(victim, signal.SIGKILL)
            replaced(router, "control.main", victim)
            router.wait_for(lambda: listens(router.admin_port), "the admin answers")
            until_waiting(router, 100)
            crowd.read()
            assert len(crowd) == 100
            join(router, worker.address)
            assert crowd.finish() == {200: 100}


def test_a_reload_and_an_upgrade_in_place_let_a_hundred_wait_and_they_are_served() -> None:
    folder, port, admin = Path(tempfile.mkdtemp(prefix="fastroute-waiting-")), free_port(), free_port()
    file = folder / "router.yaml"
    file.write_text("router: {wait: 30, timeout: 60}")
    words = (str(file), "--listen", f"127.0.0.1:{port}", "--run-dir", str(folder))
    old = Router.at(port, admin, *words)
    new: Router | None = None
    try:
        old.wait_line("serves on")
        know(old)
        with Worker(answers()) as worker, Crowd(port, "foo.com", 100) as crowd:
            until_waiting(old, 100)
            relay = children(old, "relay.main")[0]
            file.write_text("router: {wait: 30, timeout: 61}")
            old.send_signal(signal.SIGHUP)
            replaced(old, "relay.main", relay)
            with Crowd(port, "foo.com", 50) as later:
                until_waiting(old, 150)
                new = Router.at(port, admin, *words)
                old.wait_line("handed over to the router with pid")
                until_waiting(new, 150)
                join(new, worker.address)
                assert crowd.finish() == {200: 100}
                assert later.finish() == {200: 50}
            assert old.ended() == 0
    finally:
        for router in (old, new):
            if router is not None:
                router.__exit__()
        shutil.rmtree(folder)


def test_a_router_that_ends_answers_who_still_waits() -> None:
    with Router("--wait", "60", "--drain-timeout", "1") as router:
        know(router)
        with Crowd(router.port, "foo.com", 50, method="POST", body=b"x" * 1000) as crowd:
            until_waiting(router, 50)
            router.send_signal(signal.SIGTERM)
            assert crowd.finish() == {503: 50}
            assert all(b"X-Fastroute-Error: no-node" in answer for answer in crowd.answers)
            assert all(b"X-Fastroute-Waited: " in answer for answer in crowd.answers)
        assert router.ended() == 0


def test_thousands_wait_in_little_memory_and_nearly_no_time() -> None:
    with Worker(answers()) as worker, Router("--wait", "120", "--wait-max", "3000") as router:
        know(router)
        relay = children(router, "relay.main")[0]
        before = memory(relay)
        with Crowd(router.port, "foo.com", 3_000) as crowd:
            until_waiting(router, 3_000)
            assert (memory(relay) - before) / 3_000 < 6.0, "KiB for each, its 500 bytes of vars and its objects"
            spent = cpu(relay)
            time.sleep(2.0)
            used = (cpu(relay) - spent) / 2.0
            print(f"{(memory(relay) - before) / 3_000:.2f} KiB each, {used:.2%} of a core")
            assert used < 0.1, f"{used:.1%} of a core, only for waiting"
            assert ask(router.port, "scan.example").status == 404
            # Not all at once: a worker whose queue overflows drops connections that the router believes to have.
            join(router, worker.address, weight=1, max=64)
            assert crowd.finish(90) == {200: 3_000}


def memory(pid: int) -> int:
    """KiB that the process has in memory."""
    (line,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(line)


def cpu(pid: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
