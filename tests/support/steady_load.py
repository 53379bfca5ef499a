"""A steady load on routers, without nginx, that remembers who answered each request: for changes at one instant."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

from support.programs import Router, wait_for
from support.uwsgi_client import ask

#: Requests a second.
RATE = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: when it was sent, who answered, and with which status."""

    sent: float
    by: str
    status: int


class SteadyLoad(AbstractContextManager["SteadyLoad"]):
    """``RATE`` requests a second in all, to each of ``routers`` in turn."""

    def __init__(self, *routers: Router) -> None:
        self.seen: list[Seen] = []
        self._ports = [router.port for router in routers]
        self._stop, self._number, self._begun = threading.Event(), itertools.count(), time.monotonic()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(8)]

    def __enter__(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: len(self.seen) > 20, "answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(35)

    def more(self, number: int = 200) -> None:
        """Let so many more requests be answered."""
        end = len(self.seen) + number
        wait_for(lambda: len(self.seen) >= end, f"{number} more answers", 30)

    def _run(self) -> None:
        for number in self._number:
            if self._stop.wait(max(0.0, self._begun + number / RATE - time.monotonic())):
                return
            sent = time.monotonic()
            answer = ask(self._ports[number % len(self._ports)], "foo.com")
            self.seen.append(Seen(sent, answer.body.decode(), answer.status))
