"""All routers and controllers that the page watches, and what it knows of them.  An edge: it has the clock."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import urlsplit

from fastroute.page.admin_client import AdminClient
from fastroute.page.fleet import Fleet, FleetPicture
from fastroute.page.history import SLOT_SECONDS
from fastroute.page.merge import AdminState
from fastroute.page.meter import Meter
from fastroute.page.watched_admin import AdminKind, WatchedAdmin
from fastroute.router.admin_http.urls import socket_path

#: Seconds over which the numbers per second of now are taken.
NOW_WINDOW = 10.0
#: Seconds beyond three intervals after which an answer that has not come is late.
MAX_DELAY = 2.0
#: Seconds that a picture is shown before another one is made, for all who look together.
PICTURE_INTERVAL = 0.5


class WatchedFleet:
    """The admins at these URLs."""

    def __init__(self, routers: Sequence[str], controllers: Sequence[str], token_file: str | None) -> None:
        self.fleet = Fleet(self._states)
        self._admins: list[WatchedAdmin] = []
        self._now: dict[str, Meter] = {}
        self._between_samples: dict[str, Meter] = {}
        self._sampled: dict[str, float] = {}
        self._picture: FleetPicture | None = None
        self._made = 0.0
        admins: list[tuple[AdminKind, str]] = [("router", url) for url in routers]
        admins += [("controller", url) for url in controllers]
        for (kind, url), name in short_names(admins).items():
            self._add(kind, name, url, token_file)

    def _add(self, kind: AdminKind, name: str, url: str, token_file: str | None) -> None:
        def on_event(id: str, data: dict[str, object]) -> None:
            self.fleet.events.add(name, id, data)

        self._now[name], self._between_samples[name] = Meter(NOW_WINDOW), Meter(0.0)
        self._admins.append(WatchedAdmin(kind, name, url, AdminClient(url, token_file), self._answered, on_event))

    async def run(self) -> None:
        """Watch until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for admin in self._admins:
                    tasks.create_task(admin.run())
                tasks.create_task(self._sample())
        finally:
            for admin in self._admins:
                await admin.client.close()

    def watch(self, watched: bool) -> None:
        """Whether a browser looks from now on."""
        for admin in self._admins:
            admin.watch(watched)

    def client(self, state: AdminState) -> AdminClient:
        """The client that asks the router or controller of ``state``."""
        return next(admin.client for admin in self._admins if admin.name == state.name)

    def picture(self) -> FleetPicture:
        """Everything as it is now."""
        if self._picture is None or time.monotonic() - self._made >= PICTURE_INTERVAL:
            self._picture = self.fleet.picture(time.time())
            self._made = time.monotonic()
        return self._picture

    def _answered(self, admin: WatchedAdmin) -> None:
        if admin.problem:
            self._now[admin.name].forget()
            self._between_samples[admin.name].forget()
        elif admin.status is not None:
            self._now[admin.name].read(admin.status, admin.answered_at)
            # Also where nobody looks: events are called by the names that are known when they come.
            self.fleet.remember_containers(admin.containers)

    async def _sample(self) -> None:
        while True:
            wall = time.time()
            await asyncio.sleep(SLOT_SECONDS - wall % SLOT_SECONDS)
            for admin in self._admins:
                if admin.status is not None and not admin.problem:
                    self._between_samples[admin.name].read(admin.status, admin.answered_at)
            self.fleet.sample(time.time())

    def _states(self, between_samples: bool) -> list[AdminState]:
        meters, now = (self._between_samples if between_samples else self._now), time.monotonic()
        return [
            AdminState(
                admin.kind, admin.name, admin.url, admin.status, admin.containers,
                now - admin.answered_at if admin.answered_at else None, admin.interval, _problem(admin, now),
                meters[admin.name],
            )
            for admin in self._admins
        ]  # fmt: skip


def _problem(admin: WatchedAdmin, now: float) -> str:
    """Why the last answer of ``admin`` is not how it is now; empty: it is."""
    if admin.problem:
        return admin.problem
    late = now - admin.answered_at - 3 * admin.interval
    return "it does not answer in time" if late > MAX_DELAY else ""


def short_names(admins: Sequence[tuple[AdminKind, str]]) -> dict[tuple[AdminKind, str], str]:
    """A short name for each: its kind where it is the only one, else its address or the name of its socket."""
    kinds = Counter(kind for kind, _ in dict.fromkeys(admins))
    hosts = Counter(urlsplit(url).hostname for _, url in dict.fromkeys(admins) if socket_path(url) is None)
    names: dict[tuple[AdminKind, str], str] = {}
    for kind, url in dict.fromkeys(admins):
        path, parts = socket_path(url), urlsplit(url)
        short = PurePath(path).stem if path else f"{kind} {parts.port}" if hosts[parts.hostname] > 1 else parts.netloc
        short = kind if kinds[kind] == 1 else short
        names[kind, url] = short if short not in names.values() else f"{kind} {url}"
    return names
