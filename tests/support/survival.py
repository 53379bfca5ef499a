"""The router's processes one by one, and load that counts every request, for tests that kill or replace something."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from pathlib import Path

from support.programs import Router, wait_for
from support.uwsgi_client import ask


def children(router: Router, name: str) -> list[int]:
    """Process ids of the router's children whose module is ``name``, oldest first."""
    return children_of(router.process.pid, name)


def children_of(parent: int, name: str) -> list[int]:
    """Process ids of ``parent``'s children whose module is ``name``, oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(FileNotFoundError):
                    if f"fastroute.router.{name}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(pid)
    return sorted(found)


def replaced(router: Router, name: str, old: int) -> None:
    """Wait until the child ``old`` has a successor."""
    wait_for(lambda: [pid for pid in children(router, name) if pid != old], f"a new {name} is there")


class Load:
    """Requests one after the other on ``threads`` threads until the block ends; counts statuses (0: cut off)."""

    def __init__(self, address: int | str, host: str, threads: int = 4) -> None:
        self.seen: Counter[int] = Counter()
        self._address, self._host, self._over = address, host, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._over.is_set():
            self.seen[ask(self._address, self._host).status] += 1

    def more(self, count: int = 50) -> None:
        """Until ``count`` more requests are done."""
        goal = sum(self.seen.values()) + count
        wait_for(lambda: sum(self.seen.values()) >= goal, f"{count} more requests")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
