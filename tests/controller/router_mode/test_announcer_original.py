"""The announcer and a real uWSGI FastRouter: what its stats show is what we announced."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support.applying import apply
from support.entries import make_entry
from support.programs import UwsgiFastRouter, wait_for

from fastroute.controller.desired import Desired, Route
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Entry


@pytest.fixture
def original() -> Iterator[UwsgiFastRouter]:
    with UwsgiFastRouter() as router:
        yield router


def desired(*entries: Entry) -> Desired:
    routes = [Route(entry, "some-container") for entry in entries]
    return {route.id: route for route in routes}


def nodes(router: UwsgiFastRouter) -> dict[str, dict[str, dict[str, Any]]]:
    """Live nodes by key and address."""
    text = b""
    with socket.create_connection(("127.0.0.1", router.stats_port)) as stats:
        while data := stats.recv(65_536):
            text += data
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for pool in json.loads(text)["subscriptions"]:
        found[pool["key"]] = {node["name"]: node for node in pool["nodes"] if not node["death_mark"]}
    return {key: pool for key, pool in found.items() if pool}


def test_the_real_fastrouter_holds_what_is_desired_and_nothing_else(original: UwsgiFastRouter) -> None:
    one = make_entry("foo.com", "127.0.0.1:9001", weight=3, modifier1=5, owner="c1@1")
    two = Entry("foo.com", "127.0.0.1:9002", owner="c2@1")
    drained = Entry("bar.com", "127.0.0.1:9003", owner="c3@1")
    known = Entry("baz.com", owner="c4@1")
    with closing(SourceAnnouncer([parse_address(f"127.0.0.1:{original.port}")], lambda: "test", 1.0)) as announcer:
        announcer.start()
        apply(announcer, desired(one, two, drained, known))
        wait_for(lambda: len(nodes(original).get("foo.com", {})) == 2 and "bar.com" in nodes(original), "all joined")
        held = nodes(original)["foo.com"]["127.0.0.1:9001"]
        assert (held["weight"], held["modifier1"]) == (3, 5)

        apply(announcer, desired(two, Entry("bar.com", "127.0.0.1:9003", drain=True, owner="c3@1"), known))
        wait_for(lambda: {key: set(pool) for key, pool in nodes(original).items()} == {"foo.com": {"127.0.0.1:9002"}},
                 "the withdrawn and the drained node leave")  # fmt: skip
        seen = nodes(original)["foo.com"]["127.0.0.1:9002"]["last_check"]
        wait_for(lambda: nodes(original)["foo.com"]["127.0.0.1:9002"]["last_check"] > seen, "a refresh by heartbeat")
        (status,) = announcer.status()["routers"]  # type: ignore[misc]  # JSON
        assert (status["state"], status["boot_id"], status["pending"]) == ("original", None, 0)  # type: ignore[has-type]
    assert "invalid" not in original.output()
