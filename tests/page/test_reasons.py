"""Why does this container get no traffic?  Every reason there is, and none where it gets some."""

from __future__ import annotations

from typing import Any

import pytest
from support.fleet import admin_state, container, key, node, router_status

from fastroute.page.answers import read_containers
from fastroute.page.merge import merge, nodes_by_container
from fastroute.page.reasons import why_no_traffic


def why(status: dict[str, Any] | None, **fields: Any) -> str:
    keys = merge([admin_state("router", status)])
    (one,) = read_containers({"containers": [container("c1", ("foo.com", "a:1"), **fields)]})
    return why_no_traffic(one, nodes_by_container(keys).get("c1", []), keys)


MINE = {"container": "c1"}
CASES = [
    (key("foo.com", node("a:1", **MINE, rate=2.0)), ""),
    (key("foo.com", node("a:1", **MINE, state="draining")), "draining"),
    (key("foo.com", node("a:1", **MINE, state="ejected", failures=3)), "3 failures"),
    (key("foo.com", node("a:1", **MINE), state="paused"), "foo.com is paused"),
    (key("foo.com", node("a:1", **MINE), state="maintenance"), "foo.com is in maintenance"),
    (key("foo.com", node("a:1", **MINE, weight=0)), "weight is 0"),
    (key("foo.com", node("a:1", **MINE, max=2, in_flight=2)), "its max is 2"),
    (key("foo.com", node("a:1", **MINE, in_flight=1)), "works on 1 request"),
    (key("foo.com", node("a:1", **MINE, backup=1), node("b:1", rate=5.0), rate=5.0), "a backup (level 1): 1 node"),
    (key("foo.com", node("a:1", **MINE)), "nobody asks for foo.com"),
    (key("foo.com", node("a:1", **MINE), node("b:1", rate=0.1), rate=0.1), "few requests"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "reason"), CASES, ids=[reason or "traffic" for _, reason in CASES])
def test_a_node_that_gets_nothing_says_why(row: dict[str, Any], reason: str) -> None:
    got = why(router_status(row))
    assert reason in got
    assert bool(got) == bool(reason)


def test_a_container_that_no_router_knows_says_so() -> None:
    assert "no router that answers has a node of it for foo.com" in why(router_status())


def test_what_the_controller_says_comes_first() -> None:
    assert why(router_status(), state="error", reason="unknown label") == "unknown label"
    assert why(router_status(), state="stopped") == "it does not run"
