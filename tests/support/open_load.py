"""An open-loop client over HTTP that never retries: a request goes out when its time has come, whatever became of those
before, so that any number of them may wait at once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from support.programs import wait_for

#: Seconds until a request without an answer has failed.
TIME_OUT = 60.0
BODY = b"name=value&" * 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.  ``status`` 0: no whole answer came."""

    host: str
    method: str
    #: Seconds since the load began.
    sent: float
    seconds: float
    status: int
    #: X-Fastroute-Error, or what went wrong.
    error: str

    def __str__(self) -> str:
        return f"{self.sent:.3f} s: {self.method} {self.host}: {self.status} {self.error} after {self.seconds:.3f} s"


class OpenLoad(AbstractContextManager["OpenLoad"]):
    """``rate`` requests a second to each of ``hosts`` at ``port``, GET and POST in turn, while its block runs.

    ``machines`` are asked in turn, for two requests each."""

    def __init__(
        self, port: int, hosts: Sequence[str], rate: float = 100.0, machines: Sequence[str] = ("127.0.0.1",)
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._port, self._hosts, self._rate, self._machines = port, hosts, rate, machines
        self._begun, self._stop = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._begun

    @property
    def failed(self) -> list[Outcome]:
        """Everything that was not answered 200."""
        return [outcome for outcome in self.outcomes if outcome.status != 200]

    def slowest(self, host: str) -> float:
        """Seconds until the last byte of the slowest answer."""
        return max((outcome.seconds for outcome in self.outcomes if outcome.host == host), default=0.0)

    def __enter__(self) -> OpenLoad:
        self._thread.start()
        wait_for(lambda: {outcome.host for outcome in self.outcomes} == set(self._hosts), "answers of all hosts")
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more; wait for the last answers."""
        self._stop.set()
        self._thread.join(TIME_OUT + 5)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            number = 0
            while not self._stop.is_set():
                due = number / (self._rate * len(self._hosts))
                await asyncio.sleep(max(0.0, due - self.now))
                host = self._hosts[number % len(self._hosts)]
                turn = number // len(self._hosts)
                machine = self._machines[turn // 2 % len(self._machines)]
                tasks.create_task(self._request(machine, host, ("GET", "POST")[turn % 2]))
                number += 1

    async def _request(self, machine: str, host: str, method: str) -> None:
        sent, answer, error = self.now, b"", ""
        body = BODY if method == "POST" else b""
        head = f"{method} / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(TIME_OUT):
                reader, writer = await asyncio.open_connection(machine, self._port)
                with contextlib.closing(writer):
                    writer.write(head.encode() + body)
                    answer = await reader.read()
        except (OSError, TimeoutError) as problem:
            error = repr(problem)
        status, fault = _read(answer)
        self.outcomes.append(Outcome(host, method, sent, self.now - sent, status, error or fault))


def _read(answer: bytes) -> tuple[int, str]:
    """Status of a whole answer, and its X-Fastroute-Error."""
    head, end, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not end or len(body) < int(fields.get("content-length", 0)):
        return 0, f"cut short: {answer[:80]!r}"
    return int(status.split()[1]), fields.get("x-fastroute-error", "")
