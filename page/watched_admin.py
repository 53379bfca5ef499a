"""One router or controller that the page shows: it is asked again and again, and its events are followed.  An edge.

How often depends on what an answer costs there and on whether somebody looks: a page that nobody reads must not keep
routers busy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

from fastroute.page.admin_client import AdminClient, AdminTrouble
from fastroute.page.answers import ContainerStatus, Status, read_containers, read_status
from fastroute.router.runtime.json_text import read_json

#: Seconds between two questions while somebody looks, and while nobody does.
WATCHED_INTERVAL, IDLE_INTERVAL = 1.0, 5.0
#: An answer that takes long is asked for less often: so many times what it took, but never over ``MAX_INTERVAL``.
COST_FACTOR, MAX_INTERVAL = 20.0, 15.0
#: Seconds until one that does not answer is asked again, and until a stream that ended is opened again.
RETRY_INTERVAL = 1.0

AdminKind = Literal["router", "controller"]
#: Gets the id and the data of an event.
OnEvent = Callable[[str, dict[str, object]], object]

log = logging.getLogger("fastroute.page")


class WatchedAdmin:
    """The admin of a router or a controller at ``url``, shown as ``name``.

    ``changed`` is called when there is a new answer, or none; ``on_event`` for each event.
    """

    def __init__(
        self, kind: AdminKind, name: str, url: str, client: AdminClient, changed: Callable[[WatchedAdmin], object],
        on_event: OnEvent,
    ) -> None:  # fmt: skip
        self.kind: AdminKind = kind
        self.name, self.url, self.client = name, url, client
        #: Its last answer; None: there was none yet.
        self.status: Status | None = None
        self.containers: tuple[ContainerStatus, ...] = ()
        #: Monotonic time of its last answer, and seconds since the epoch; 0: there was none.
        self.answered_at = self.answered_wall = 0.0
        #: Why it does not answer now; empty: it does.
        self.problem = "it was not asked yet"
        #: Seconds between two questions now.
        self.interval = WATCHED_INTERVAL
        self._changed, self._on_event = changed, on_event
        self._watched = False
        self._wake = asyncio.Event()

    def watch(self, watched: bool) -> None:
        """Whether somebody looks from now on."""
        if watched and not self._watched:
            self._wake.set()
        self._watched = watched

    async def run(self) -> None:
        """Ask and follow for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll())
            tasks.create_task(self._follow())

    async def _poll(self) -> None:
        while True:
            began = time.monotonic()
            await self._ask()
            least = RETRY_INTERVAL if self.problem else WATCHED_INTERVAL if self._watched else IDLE_INTERVAL
            took = time.monotonic() - began
            self.interval = max(least, 0.0 if self.problem else min(took * COST_FACTOR, MAX_INTERVAL))
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), self.interval)
            except TimeoutError:
                pass

    async def _ask(self) -> None:
        before = self.problem
        try:
            status = await asyncio.to_thread(read_status, await self.client.get("/v1/status"))
            self._check_kind(status)
            if self.kind == "controller":
                listed = await self.client.get("/v1/containers")
                self.containers = await asyncio.to_thread(read_containers, listed)
            self.status = status
        except (AdminTrouble, ValueError) as error:
            self.problem = str(error)
            if self.problem != before:
                log.warning("%s %s does not answer: %s", self.kind, self.url, self.problem)
        else:
            self.problem, self.answered_at, self.answered_wall = "", time.monotonic(), time.time()
            if before:
                log.info("%s %s answers", self.kind, self.url)
        self._changed(self)

    def _check_kind(self, status: Status) -> None:
        """``ValueError`` for an answer of the other kind of program: with swapped URLs the page would stay empty."""
        block = status.router if self.kind == "router" else status.controller
        if block is None:
            other = "controller" if self.kind == "router" else "router"
            raise ValueError(f"it is a {other}: --{other}-url expected for it")

    async def _follow(self) -> None:
        while True:
            try:
                async with self.client.lines("/v1/events") as lines:
                    id = ""
                    async for line in lines:
                        name, _, value = line.partition(": ")
                        if name == "id":
                            id = value
                        elif name == "data":
                            self._event(id, value)
            except AdminTrouble:
                # Whatever is wrong with the stream, the status says it, too.
                pass
            await asyncio.sleep(RETRY_INTERVAL)

    def _event(self, id: str, text: str) -> None:
        try:
            data = read_json(text)
            if isinstance(data, dict):
                self._on_event(id, data)
        except ValueError as error:
            log.debug("%s %s: an event is left out: %s", self.kind, self.url, error)
