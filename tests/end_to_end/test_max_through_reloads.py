"""A node's ``max`` through reloads and upgrades in place: relays that finish what they have, and those that serve after
them, send no more than that together."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.programs import Router, free_port
from support.survival import Load, children
from support.waiting import wait_for
from support.workers import Connection, Worker, response

MAX = 6
#: More clients than slots, so that some always wait in the relays of before.
CLIENTS = 16


class SlowWorker:
    """Takes its time for each request, and knows how many it had at once at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()
        self._worker = Worker(self._answer)
        self.address = self._worker.address

    def _answer(self, connection: Connection) -> None:
        connection.read_packet()
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(random.uniform(0.05, 0.25))
        with self._lock:
            self.now -= 1
        connection.send(response(b"done"))

    def close(self) -> None:
        self._worker.close()


def only(processes: list[int]) -> int:
    return processes[0] if len(processes) == 1 else 0


@pytest.fixture
def worker() -> Iterator[SlowWorker]:
    worker = SlowWorker()
    yield worker
    worker.close()


class LimitedRouter:
    """A router with one node that has a ``max``; reloads and upgrades of it."""

    def __init__(self, folder: Path, worker: SlowWorker, processes: int) -> None:
        self.processes = processes
        self.file, self.port, self.admin_port = folder / "router.yaml", free_port(), free_port()
        self.timeout = 60
        self.node = f"foo.com={worker.address},max={MAX},wait=30"
        self.run_dir = folder
        self.routers: list[Router] = []
        self.reloads = 0

    def write(self) -> None:
        options = {
            "listen": [f"127.0.0.1:{self.port}"], "admin": f"127.0.0.1:{self.admin_port}", "log-format": "text",
            "subscription-server": f"127.0.0.1:{self.port}", "processes": self.processes, "node": [self.node],
            "timeout": self.timeout, "run-dir": str(self.run_dir),
        }  # fmt: skip
        self.file.write_text(yaml.safe_dump({"router": options}))

    def start(self) -> Router:
        self.write()
        router = Router.from_file(self.file, self.port, self.admin_port)
        self.routers.append(router)
        router.wait_line("serves on")
        return router

    def reload(self) -> None:
        # Relays are replaced when a setting of theirs changes.
        self.timeout += 1
        self.write()
        self.reloads += 1
        router = self.routers[-1]
        router.send_signal(signal.SIGHUP)
        router.wait_for(lambda: router.output().count("reloaded: ") == self.reloads, "it is reloaded")

    def upgrade(self) -> None:
        old = self.routers[-1]
        self.start()
        old.wait_line("handed over to the router with pid")


@pytest.fixture
def limited(tmp_path: Path, worker: SlowWorker, processes: int) -> Iterator[LimitedRouter]:
    limited = LimitedRouter(tmp_path, worker, processes)
    limited.start()
    yield limited
    for router in limited.routers:
        router.__exit__()


def begins_anew_under_load(limited: LimitedRouter, worker: SlowWorker, begin: Callable[[], None]) -> None:
    with Load(limited.port, "foo.com", CLIENTS) as load:
        load.more(2 * MAX)
        for _ in range(2):
            begin()
            load.more(3 * MAX)
        if limited.processes == 1:
            # Of several relays, some may have no client.
            wait_for(lambda: worker.now == MAX, "all slots are used again")
    assert set(load.seen) == {200}
    assert worker.most <= MAX


@pytest.mark.parametrize("processes", [1, 3])
def test_reloads_never_send_a_worker_more_than_its_max(limited: LimitedRouter, worker: SlowWorker) -> None:
    begins_anew_under_load(limited, worker, limited.reload)


@pytest.mark.parametrize("processes", [3])
def test_upgrades_never_send_a_worker_more_than_its_max(limited: LimitedRouter, worker: SlowWorker) -> None:
    begins_anew_under_load(limited, worker, limited.upgrade)


@pytest.mark.parametrize("processes", [1])
def test_a_control_that_is_killed_meanwhile_costs_nothing(limited: LimitedRouter, worker: SlowWorker) -> None:
    def reload_and_kill() -> None:
        limited.reload()
        router = limited.routers[-1]
        control = wait_for(lambda: only(children(router, "control.main")), "the control of before has ended")
        os.kill(control, signal.SIGKILL)
        wait_for(lambda: only(children(router, "control.main")) not in (0, control), "another control runs")

    begins_anew_under_load(limited, worker, reload_and_kill)
