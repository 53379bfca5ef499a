"""Control's names: what the resolver finds out reaches the books, also where a name comes back or was restored."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastroute.router.control.name_watcher import NameWatcher
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.subscription import Announcement, Entry


class World:
    """A table whose names are followed; ``news`` is set whenever it was told of some."""

    def __init__(self) -> None:
        self.table, self.news = Table(), asyncio.Event()
        self.names = NameWatcher((self.table,), self.news.set)

    def join(self, key: str, address: str, *, gone: bool = False) -> None:
        self.table.apply(Announcement(entries=(Entry(key, address, gone=gone),), source="operator"), "127.0.0.1", 0)
        self.names.poke()

    async def until(self, key: str, *addresses: str) -> None:
        """Until these are the nodes of ``key``."""
        async with asyncio.timeout(10):
            while {*self.table.pools[key].members} != {*addresses}:
                self.news.clear()
                await self.news.wait()


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        task = asyncio.create_task(world.names.run())
        await asyncio.sleep(0)
        await scenario(world)
        task.cancel()

    asyncio.run(main())


def test_a_name_that_hangs_holds_up_no_other_and_not_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        if host == "hangs.test":
            release.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def scenario(world: World) -> None:
        for number in range(20):
            world.join("slow.test", f"hangs.test:{number + 1}")
        world.join("foo.test", "quick.test:80")
        await world.until("foo.test", "10.0.0.1:80")
        assert not world.table.pools["slow.test"].members
        release.set()
        await world.until("slow.test", *(f"10.0.0.1:{number + 1}" for number in range(20)))

    run(scenario)


def test_a_name_that_comes_back_or_by_another_port_has_its_addresses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::7%eth0", 0, 0, 2))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def scenario(world: World) -> None:
        world.join("foo.test", "app.test:80")
        await world.until("foo.test", "[fe80::7]:80")
        world.join("foo.test", "app.test:81")
        await world.until("foo.test", "[fe80::7]:80", "[fe80::7]:81")
        world.join("foo.test", "app.test:80", gone=True)
        world.join("foo.test", "app.test:80")
        await world.until("foo.test", "[fe80::7]:80", "[fe80::7]:81")
        assert asked == ["app.test"]

    run(scenario)
