"""Open-loop clients over HTTP that never retry: a request goes out when its time has come, whatever became of those
before, so that any number of them may wait at once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from support.load import Answer
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
    #: The body of the answer.
    text: str = ""

    def __str__(self) -> str:
        return f"{self.sent:.3f} s: {self.method} {self.host}: {self.status} {self.error} after {self.seconds:.3f} s"


class Pace(AbstractContextManager["Pace"]):
    """Begins ``request(number)`` ``rate`` times a second while its block runs, on an event loop in a thread of its own.

    One that begins late (the machine was busy) begins at once, so that the rate is kept in the mean."""

    def __init__(self, request: Callable[[int], Coroutine[Any, Any, None]], rate: float) -> None:
        #: How many requests were begun.
        self.requests = 0
        self._request, self._rate = request, rate
        self._began, self._stop = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """Requests that were begun, a second, until now."""
        return self.requests / self.now

    def __enter__(self) -> Pace:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Begin no more; wait for those that run."""
        self._stop.set()
        self._thread.join(2 * TIME_OUT + 5)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self._stop.is_set():
                await asyncio.sleep(max(0.0, self.requests / self._rate - self.now))
                tasks.create_task(self._request(self.requests))
                self.requests += 1


class OpenLoad(AbstractContextManager["OpenLoad"]):
    """``rate`` requests a second to each of ``hosts`` at ``port``, GET and POST in turn, while its block runs.

    ``machines`` are asked in turn, for two requests each."""

    def __init__(
        self, port: int, hosts: Sequence[str], rate: float = 100.0, machines: Sequence[str] = ("127.0.0.1",)
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._port, self._hosts, self._machines = port, hosts, machines
        #: When its requests begin, and how many have.
        self.pace = Pace(self._request, rate * len(hosts))

    @property
    def failed(self) -> list[Outcome]:
        """Everything that was not answered 200."""
        return [outcome for outcome in self.outcomes if outcome.status != 200]

    def slowest(self, host: str) -> float:
        """Seconds until the last byte of the slowest answer."""
        return max((outcome.seconds for outcome in self.outcomes if outcome.host == host), default=0.0)

    def __enter__(self) -> OpenLoad:
        self.pace.__enter__()
        wait_for(lambda: {outcome.host for outcome in self.outcomes} == set(self._hosts), "answers of all hosts")
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more; wait for the last answers."""
        self.pace.__exit__()

    async def _request(self, number: int) -> None:
        host = self._hosts[number % len(self._hosts)]
        turn = number // len(self._hosts)
        machine = self._machines[turn // 2 % len(self._machines)]
        sent, method = self.pace.now, ("GET", "POST")[turn % 2]
        body = BODY if method == "POST" else b""
        try:
            async with asyncio.timeout(TIME_OUT), _connection(machine, self._port) as connection:
                answer = await _ask(connection, host, method=method, headers={"Connection": "close"}, body=body)
        except (OSError, TimeoutError) as problem:
            answer = Answer(0, {}, repr(problem))
        error = answer.headers.get("x-fastroute-error", "") if answer.status else answer.text
        self.outcomes.append(Outcome(host, method, sent, self.pace.now - sent, answer.status, error, answer.text))


@dataclass(frozen=True, slots=True)
class PageLoad:
    """A page, and the asset that it names, as one client asked for them; times are seconds since the load began."""

    page: str
    began: float
    #: When the page was there, and when the asset was.
    got_page: float
    ended: float
    #: The asset came from a container of another version, which does not have it.
    mismatch: bool


class PageLoads(AbstractContextManager["PageLoads"]):
    """``rate`` clients a second that load a page of ``host``, and right after it the asset of the version that the page
    names, on the same connection and with the cookie that came with the page: each client is new, and loads one."""

    def __init__(self, machine: str, port: int, host: str, rate: float) -> None:
        self.loads: list[PageLoad] = []
        #: What was answered neither 200, nor 404 for an asset of another version.
        self.failures: list[str] = []
        self._machine, self._port, self._host = machine, port, host
        #: When its page loads begin, and how many have.
        self.pace = Pace(self._visit, rate)

    def __enter__(self) -> PageLoads:
        self.pace.__enter__()
        wait_for(lambda: self.loads or self.failures, "a first page")
        return self

    def __exit__(self, *_: object) -> None:
        self.pace.__exit__()

    async def _visit(self, _: int) -> None:
        began = self.pace.now
        try:
            async with asyncio.timeout(TIME_OUT), _connection(self._machine, self._port) as connection:
                page = await _ask(connection, self._host)
                got_page = self.pace.now
                if page.status == 200:
                    cookie = page.headers.get("set-cookie", "").partition(";")[0]
                    headers = {"Cookie": cookie} if cookie else {}
                    asset = await _ask(connection, self._host, f"/asset?{page.text}", headers=headers)
        except (OSError, TimeoutError) as problem:
            self.failures.append(repr(problem))
            return
        if page.status != 200:
            self.failures.append(f"page: {page.status} {page.text[:200]}")
        elif asset.status not in (200, 404):
            self.failures.append(f"asset: {asset.status} {asset.text[:200]}")
        else:
            self.loads.append(PageLoad(page.text, began, got_page, self.pace.now, asset.status == 404))


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def _connection(machine: str, port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(machine, port)
    with contextlib.closing(writer):
        yield reader, writer


async def _ask(
    connection: Connection, host: str, path: str = "/", *, method: str = "GET",
    headers: Mapping[str, str] | None = None, body: bytes = b"",
) -> Answer:  # fmt: skip
    """One request.  Names of headers are lower-case in the answer; status 0: no whole answer came."""
    reader, writer = connection
    fields = {"Host": host, "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines_of_answer = head.decode("latin-1").split("\r\n")
        answered = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines_of_answer)
        }
        length = answered.get("content-length")
        text = await (reader.read() if length is None else reader.readexactly(int(length)))
    except asyncio.IncompleteReadError as problem:
        return Answer(0, {}, f"cut short: {problem.partial[:80]!r}")
    return Answer(int(status.split()[1]), answered, text.decode("utf-8", "replace"))
