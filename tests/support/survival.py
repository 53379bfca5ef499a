"""The router's processes one by one, and load that counts every request, for tests that kill or replace something."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from pathlib import Path

from support.programs import Router, wait_for
from support.uwsgi_client import ask
from support.workers import Connection, Worker, response


def children(router: Router, name: str) -> list[int]:
    """Process ids of the router's children whose module is ``name``, oldest first."""
    return children_of(router.process.pid, name)


def children_of(parent: int, name: str) -> list[int]:
    """Process ids of ``parent``'s children whose module is ``name``, oldest first."""
    pids = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if f"fastroute.router.{name}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                        pids.append(pid)
    return sorted(pids)


def replaced(router: Router, name: str, old: int) -> None:
    """Wait until the child ``old`` has a successor."""
    wait_for(lambda: [pid for pid in children(router, name) if pid != old], f"a new {name} is there")


class Load:
    """Requests one after the other on ``threads`` threads until the block ends; counts statuses (0: cut off, or nobody
    listened)."""

    def __init__(self, address: int | str, host: str, threads: int = 4) -> None:
        self.seen: Counter[int] = Counter()
        self._address, self._host, self._over = address, host, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._over.is_set():
            self.seen[self._ask()] += 1

    def _ask(self) -> int:
        try:
            return ask(self._address, self._host).status
        except ConnectionRefusedError:
            return 0

    def more(self, count: int = 50) -> None:
        """Until ``count`` more requests are done."""
        goal = sum(self.seen.values()) + count
        wait_for(lambda: sum(self.seen.values()) >= goal, f"{count} more requests")

    def end(self) -> None:
        """No more requests."""
        self._over.set()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


class HttpLoad(Load):
    """Requests at ``rate`` a second in all, through an nginx; statuses as it sends them, 0: cut off."""

    def __init__(self, port: int, host: str, rate: float, threads: int = 8, method: str = "GET") -> None:
        super().__init__(port, host, threads)
        self._pause, self._method = threads / rate, method

    def _run(self) -> None:
        due = time.monotonic() + random.random() * self._pause
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - 1)
            self.seen[self._ask()] += 1

    def _ask(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", int(self._address), timeout=30)
        try:
            body = b"body" if self._method == "POST" else None
            connection.request(self._method, "/", body, {"Host": self._host})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


class Held:
    """A worker that keeps its requests until :meth:`release`, and who asks it, each on a thread of its own."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._released = threading.Event()
        self._threads: list[threading.Thread] = []
        self._worker = Worker(self._play)
        self.address = self._worker.address

    def _play(self, connection: Connection) -> None:
        connection.read_packet()
        self._released.wait(60)
        connection.send(response(b"at last"))

    def ask(self, port: int, host: str) -> None:
        """One request, which is with the worker when this returns."""
        before = len(self._worker.requests)
        self._threads.append(threading.Thread(target=lambda: self.seen.append(ask(port, host).status)))
        self._threads[-1].start()
        wait_for(lambda: len(self._worker.requests) > before, "the request is with the worker")

    def release(self) -> None:
        """Answer all."""
        self._released.set()

    def ended(self) -> list[int]:
        """Wait for everybody's answer: the statuses."""
        for thread in self._threads:
            thread.join()
        return self.seen

    def close(self) -> None:
        """No worker any more."""
        self.release()
        self._worker.close()
