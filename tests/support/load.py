"""Requests over HTTP: one, or a steady stream of them by a client that never retries."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from support.programs import wait_for


@dataclass(frozen=True)
class Answer:
    """One answer of nginx."""

    status: int
    headers: Mapping[str, str]
    text: str


def ask(
    port: int,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterator[bytes] | None = None,
) -> Answer:
    """One request to nginx at ``port``, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace"))
    finally:
        connection.close()


class Load(AbstractContextManager["Load"]):
    """``rate`` requests a second by a client that never retries, each on a connection of its own.

    Requests are sent when their time has come, whatever became of those before.  ``answered`` counts who answered;
    ``failures`` are (seconds since the start, what went wrong), ``slowest`` is the longest time to an answer.  It runs
    while its block does.
    """

    CLIENTS = 16

    def __init__(self, get: Callable[[], Answer], rate: int = 200) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[tuple[float, str]] = []
        self.slowest = 0.0
        self._get, self._rate = get, rate
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._started, self._number = time.monotonic(), itertools.count()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.CLIENTS)]

    @property
    def sent(self) -> int:
        """Requests that have an answer, or none."""
        with self._lock:
            return self.answered.total() + len(self.failures)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.answered, "a first answer")
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more; wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(35)

    def _run(self) -> None:
        while True:
            with self._lock:
                due = self._started + next(self._number) / self._rate
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._one()

    def _one(self) -> None:
        begun, failure, name = time.monotonic(), "", ""
        try:
            answer = self._get()
        except (OSError, http.client.HTTPException) as error:
            failure = repr(error)
        else:
            name = answer.text
            if answer.status != 200:
                failure = f"{answer.status} {answer.headers.get('X-Fastroute-Error', '')}"
        with self._lock:
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if failure:
                self.failures.append((round(self.now, 3), failure))
            else:
                self.answered[name] += 1
