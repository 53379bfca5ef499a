"""``python -m benchmarks.peers.strict_client``: requests at fixed moments to every target, none of them tried again.

A process of its own, so that the harness does not slow it down.  Standard input has one line of JSON: ``rate`` and
``targets`` (name -> host, port, key); it ends with the input and writes what became of the requests.  Each request has
a connection of its own, GET and POST in turn; whatever is not a whole answer 200 of a container with the right key has
failed.  It waits for an answer for ``TIME_OUT`` seconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.outcomes import GOOD, Outcome

TIME_OUT = 10.0
BODY = b"name=value&" * 20
_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and which key the containers that answer must have."""

    host: str
    port: int
    key: str


def judged(answer: bytes, key: str) -> tuple[str, str]:
    """The status of an answer, which is ``wrong key`` or ``cut short`` where it deserves no 200, and who gave it."""
    head, end, body = answer.partition(b"\r\n\r\n")
    status, length = _HEAD.match(head), _LENGTH.search(head)
    if not status or not end or (length and len(body) < int(length[1])):
        return ("cut short" if answer else "closed"), ""
    text = status[1].decode()
    by, _, own = body.decode("latin-1").strip().partition(" ")
    if text == GOOD and own != key:
        return "wrong key", by
    return text, by if text == GOOD else ""


class _Request(asyncio.Protocol):
    """One request on a connection of its own; ``done`` has the answer's bytes, or the exception."""

    def __init__(self, request: bytes, done: asyncio.Future[bytes]) -> None:
        self._request, self._done, self._answer = request, done, bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            if exc is not None:
                self._done.set_exception(exc)
            else:
                self._done.set_result(bytes(self._answer))

    def close(self) -> None:
        """The client hangs up."""
        if self._transport is not None:
            self._transport.abort()


class _Client:
    def __init__(self, rate: float, targets: dict[str, Target]) -> None:
        self._rate, self._targets = rate, targets
        self.outcomes: dict[str, list[Outcome]] = {name: [] for name in targets}
        #: The most that a request went out too late: what the client itself is to blame for.
        self.late = 0.0

    async def run(self, ended: asyncio.Event) -> None:
        """Until ``ended``, and until all answers are there."""
        begun, number, targets = time.monotonic(), 0, list(self._targets.items())
        async with asyncio.TaskGroup() as tasks:
            while not ended.is_set():
                due = begun + number / (self._rate * len(targets))
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.late = max(self.late, time.monotonic() - due)
                name, target = targets[number % len(targets)]
                method = ("GET", "POST")[number // len(targets) % 2]
                tasks.create_task(self._request(name, target, method))
                number += 1

    async def _request(self, name: str, target: Target, method: str) -> None:
        body = BODY if method == "POST" else b""
        head = f"{method} / HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        sent, loop = time.monotonic(), asyncio.get_running_loop()
        done: asyncio.Future[bytes] = loop.create_future()
        by, protocol = "", _Request(head.encode() + body, done)
        try:
            async with asyncio.timeout(TIME_OUT):
                await loop.create_connection(lambda: protocol, "127.0.0.1", target.port)
                status, by = judged(await done, target.key)
        except TimeoutError:
            status = "time-out"
        except OSError as error:
            status = type(error).__name__
        finally:
            protocol.close()
        self.outcomes[name].append(Outcome(sent, time.monotonic() - sent, status, method, by))


class StrictClient(AbstractContextManager["StrictClient"]):
    """Requests while the block runs; ``outcomes`` and ``late`` are known behind it."""

    def __init__(self, targets: dict[str, Target], rate: float) -> None:
        self.outcomes: dict[str, list[Outcome]] = {}
        self.late = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        told = {name: [target.host, target.port, target.key] for name, target in targets.items()}
        self._process.stdin.write(json.dumps({"rate": rate, "targets": told}) + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> StrictClient:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "begun\n":
            raise RuntimeError("the client did not begin")
        return self

    def __exit__(self, *_: object) -> None:
        found: dict[str, Any] = json.loads(self._process.communicate(timeout=TIME_OUT + 20)[0])
        self.late = found["late"]
        self.outcomes = {name: [Outcome(*each) for each in seen] for name, seen in found["outcomes"].items()}


async def _main() -> None:
    told = json.loads(sys.stdin.readline())
    client = _Client(told["rate"], {name: Target(*target) for name, target in told["targets"].items()})
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    waiting = loop.run_in_executor(None, wait_for_end)
    print("begun", flush=True)
    await client.run(ended)
    await waiting
    seen = {
        name: [(each.sent, each.seconds, each.status, each.method, each.by) for each in outcomes]
        for name, outcomes in client.outcomes.items()
    }
    print(json.dumps({"late": client.late, "outcomes": seen}))


if __name__ == "__main__":
    asyncio.run(_main())
