"""docs/two-routers.md as it stands there: either router is replaced, and nobody notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.programs import wait_for
from support.stack import Stack

FILES = ("-f", "compose.yaml", "-f", "compose/two-routers.yaml")


@pytest.fixture
def two(stack: Stack, two_foos: set[str]) -> Iterator[Stack]:
    stack.up(files=FILES)
    yield stack
    stack.up("--remove-orphans")


def test_one_router_after_the_other_is_replaced_without_a_failed_request(two: Stack, two_foos: set[str]) -> None:
    two.wait_answered_by("foo.com", two_foos)
    before = two.docker("compose", *FILES, "ps", "-q", "router", "router-2")
    with two.load("foo.com") as load:
        for service in ("router", "router-2"):
            two.up("--no-deps", "--force-recreate", service, files=FILES)
    assert load.failures == []
    assert set(load.answered) == two_foos
    after = two.docker("compose", *FILES, "ps", "-q", "router", "router-2")
    assert not set(before.split()) & set(after.split())
    for service in ("router", "router-2"):
        shown = two.docker("compose", *FILES, "exec", "-T", service, "fastroute-ctl", "status", "-o", "name")
        assert "foo.com" in shown


def test_a_router_that_is_gone_is_not_missed(two: Stack, two_foos: set[str]) -> None:
    two.wait_answered_by("foo.com", two_foos)
    with two.load("foo.com") as load:
        two.compose_command(*FILES, "stop", "router")
        two.wait_answered_by("foo.com", two_foos)
        two.compose_command(*FILES, "start", "router")
        (name,) = two.containers("router")
        wait_for(lambda: two.inspect(name)["State"]["Health"]["Status"] == "healthy", "the router is healthy", 60)
    assert load.failures == []
