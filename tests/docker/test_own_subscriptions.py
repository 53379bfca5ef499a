"""One setting lets workers subscribe themselves; without it they cannot (test_least_privilege)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.stack import Stack


@pytest.fixture
def open_router(stack: Stack) -> Iterator[None]:
    """The router, taking subscriptions from the workers' network."""
    network = json.loads(stack.docker("network", "inspect", stack.network))[0]
    stack.environment["FASTROUTE_SUBSCRIPTION_ALLOW"] = network["IPAM"]["Config"][0]["Subnet"]
    try:
        stack.up("--no-deps", "router")
        yield
    finally:
        del stack.environment["FASTROUTE_SUBSCRIPTION_ALLOW"]
        stack.up("--no-deps", "router")


def test_a_uwsgi_worker_subscribes_itself(stack: Stack, two_foos: set[str], open_router: None) -> None:
    # uWSGI takes a number for the server; --resolve looks the name up, once.
    subscribe = ("--resolve", "fastroute=router", "--subscribe2", "server=%(fastroute):3031,key=self.com,addr=:3031")
    with stack.container("--no-healthcheck", stack.image("foo"), *subscribe) as name:
        stack.wait_answered_by("self.com", {stack.host_name(name)})
        stack.wait_answered_by("foo.com", two_foos)
