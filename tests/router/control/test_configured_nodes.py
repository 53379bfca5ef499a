"""The fallback's and the static nodes' names: what the relays are told as they resolve."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.name_watcher import NameWatcher
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Announcement, Entry


def configured_nodes(*fallback: str, to: tuple[str, ...] = ()) -> ConfiguredNodes:
    return ConfiguredNodes(fallback=tuple(map(parse_address, fallback)), to=tuple(map(parse_address, to)))


def test_a_name_stands_for_all_its_addresses_and_each_is_told_once() -> None:
    configured = configured_nodes("10.0.0.2:80", "app:80", "/run/app.sock", to=("app:80",))
    assert configured.ops() == [["reserve", "fallback", ["10.0.0.2:80", "/run/app.sock"]], ["reserve", "to", []]]
    configured.resolved("app:80", ("fd00::1", "10.0.0.2", "10.0.0.1"), 0.0)
    assert configured.ops() == [
        ["reserve", "fallback", ["10.0.0.2:80", "10.0.0.1:80", "[fd00::1]:80", "/run/app.sock"]],
        ["reserve", "to", ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]],
    ]


def test_only_what_is_new_is_told() -> None:
    configured = configured_nodes("app:80")
    configured.changed = False
    configured.resolved("app:80", ("10.0.0.1",), 0.0)
    assert configured.changed
    configured.changed = False
    configured.resolved("app:80", ("10.0.0.1",), 5.0)
    configured.resolved("other:80", ("10.0.0.9",), 5.0)
    assert not configured.changed
    configured.resolved("app:80", (), 40.0)
    assert (configured.changed, configured.ops()) == (True, [["reserve", "fallback", []]])


def test_nothing_is_told_where_nothing_is_configured() -> None:
    assert (configured_nodes().changed, configured_nodes().ops()) == (False, [])


def test_a_name_that_table_and_fallback_share_is_looked_up_once_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    table, configured = Table(), configured_nodes("app.example:80", "late.example:80")
    table.apply(Announcement(entries=(Entry("foo.com", "app.example:80"),)), "127.0.0.1", 0.0)
    asked: list[str] = []
    told = asyncio.Event()

    def getaddrinfo(host: str, port: object, **_: Any) -> list[Any]:
        asked.append(host)
        if host == "late.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 0))]

    async def run() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        running = asyncio.create_task(NameWatcher((table, configured), told.set).run())
        await asyncio.wait_for(told.wait(), 5)
        running.cancel()

    asyncio.run(run())
    assert sorted(asked)[0] == "app.example"
    assert asked.count("app.example") == 1
    assert table.member("foo.com", "10.0.0.1:80") is not None
    assert configured.ops() == [["reserve", "fallback", ["10.0.0.1:80"]]]
