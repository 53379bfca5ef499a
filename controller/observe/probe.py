"""Is the worker there?  Probes on one thread of their own, many at once, until they succeed or nobody waits any more.

A probe with a path is a GET in the worker's own protocol, and any status below 500 but 400 is a yes: uWSGI and gunicorn
accept before the application is loaded and answer after, so the answer comes the moment it can.  Without a path a
connection that is accepted is a yes.  Attempts follow each other fast at first and slower the longer it takes; an
attempt that hangs is given up, because a worker that died while it had our connection says nothing.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fastroute.controller.decide.messages import Probed
from fastroute.controller.desired import ProbeTarget
from fastroute.router.protocol.address import parse_address
from fastroute.router.sidecar.probe import (
    CONNECT_TIMEOUT,
    GET_TIMEOUT,
    final,
    interval,
    undecided,
    verdict,
)
from fastroute.router.sidecar.probe import request as get_packet

#: Attempts under way at once, whatever the number of containers.
MAX_CONCURRENT_PROBES = 64
_READ = 4096


class Prober:
    """Runs probes; every attempt's outcome goes to ``post``, from the prober's thread."""

    def __init__(self, post: Callable[[Probed], None]) -> None:
        self._post = post
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[ProbeTarget, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(MAX_CONCURRENT_PROBES)
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
        self._thread.start()

    def start(self, target: ProbeTarget) -> None:
        """Begin to probe ``target``."""
        self._loop.call_soon_threadsafe(self._begin, target)

    def cancel(self, target: ProbeTarget) -> None:
        """Nobody waits for ``target`` any more."""
        self._loop.call_soon_threadsafe(self._end, target)

    def stop(self) -> None:
        """End all probes and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in self._tasks.values():
            task.cancel()
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.gather(*self._tasks.values(), return_exceptions=True))
        self._loop.close()

    def _begin(self, target: ProbeTarget) -> None:
        self._end(target)
        self._tasks[target] = self._loop.create_task(self._probe(target))

    def _end(self, target: ProbeTarget) -> None:
        task = self._tasks.pop(target, None)
        if task is not None:
            task.cancel()

    async def _probe(self, target: ProbeTarget) -> None:
        started = time.monotonic()
        while True:
            async with self._gate:
                problem = await attempt(target)
            self._post(Probed(target, problem))
            if not problem:
                self._tasks.pop(target, None)
                return
            await asyncio.sleep(interval(time.monotonic() - started))


async def attempt(target: ProbeTarget) -> str:
    """One attempt: what went wrong, empty for a yes."""
    address = parse_address(target.address)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if address.kind == "unix":
                reader, writer = await asyncio.open_unix_connection(os.fsdecode(address.sockaddr()))  # type: ignore[arg-type]
            else:
                reader, writer = await asyncio.open_connection(address.host, address.port)
    except TimeoutError:
        return f"no connection to {target.address} within {CONNECT_TIMEOUT:g} s"
    except OSError as error:
        return f"no connection to {target.address}: {error.strerror or error}"
    try:
        return await _get(target, reader, writer) if target.path else ""
    except TimeoutError:
        return f"GET {target.path}: no answer within {GET_TIMEOUT:g} s"
    except OSError as error:
        return f"GET {target.path}: {error.strerror or error}"
    finally:
        # A worker that is being asked nothing must not be kept waiting for our goodbye.
        writer.transport.abort()


async def _get(target: ProbeTarget, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(request(target))
    answer = b""
    async with asyncio.timeout(GET_TIMEOUT):
        while undecided(answer) and (data := await reader.read(_READ)):
            answer = final(answer + data)
    return verdict(target.path, answer)


def request(target: ProbeTarget) -> bytes:
    """The GET of ``target`` in the worker's protocol."""
    return get_packet(target.path, target.protocol, target.host)
