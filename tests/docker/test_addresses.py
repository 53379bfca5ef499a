"""Which address a request goes to, by every way that Docker has to give a container one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.stack import Stack

IDLE = ("--entrypoint", "sleep")


def labelled(key: str, *more: str) -> tuple[str, ...]:
    # Who has no node is told at once.
    labels = (f"fastroute.key={key}", "fastroute.port=3031", "fastroute.wait=0", *more)
    return ("--no-healthcheck", *(word for label in labels for word in ("-l", label)))


def addresses(stack: Stack, key: str) -> list[str]:
    return [node["address"] for node in stack.status(key).get("nodes", ())]


@pytest.fixture
def other(stack: Stack) -> Iterator[str]:
    """A network that sorts before the stack's own; nobody is on it yet."""
    name = f"a-{stack.project}"
    stack.docker("network", "create", name)
    try:
        yield name
    finally:
        stack.docker("network", "rm", name)


def test_a_network_joined_later_is_used_and_one_that_is_left_no_more(stack: Stack, other: str) -> None:
    with stack.container(*labelled("late.com"), stack.image("foo"), network=other) as name:
        row = stack.wait_state(name, "error")
        assert f"network {stack.network}" in row["reason"]
        assert stack.get("late.com").status == 503
        stack.docker("network", "connect", stack.network, name)
        stack.wait_answered_by("late.com", {stack.host_name(name)})
        assert addresses(stack, "late.com") == [f"{stack.address(name)}:3031"]
        stack.docker("network", "disconnect", stack.network, name)
        stack.wait_state(name, "error")
        assert stack.get("late.com").status == 503


def test_of_two_shared_networks_the_one_that_is_named_gives_the_one_node(stack: Stack, other: str) -> None:
    # The router to reach it, the controller to probe it.
    ours = [*stack.containers("router"), *stack.containers("controller")]
    for name in ours:
        stack.docker("network", "connect", other, name)
    try:
        named = labelled("two.com", f"fastroute.network={other}")
        with (
            stack.container(*labelled("one.com"), stack.image("foo")) as one,
            stack.container(*named, stack.image("foo")) as two,
        ):
            stack.wait_state(two, "error")
            for name in (one, two):
                stack.docker("network", "connect", other, name)
            stack.wait_answered_by("two.com", {stack.host_name(two)})
            on_other = stack.inspect(two)["NetworkSettings"]["Networks"][other]["IPAddress"]
            assert addresses(stack, "two.com") == [f"{on_other}:3031"]
            stack.wait_answered_by("one.com", {stack.host_name(one)})
            assert addresses(stack, "one.com") == [f"{stack.address(one)}:3031"]
    finally:
        for name in ours:
            stack.docker("network", "disconnect", other, name)


def test_a_borrowed_network_is_followed_and_a_port_in_it_has_one_holder(stack: Stack) -> None:
    with stack.container("--no-healthcheck", *IDLE, stack.image("foo"), "600") as lender:
        lent = f"container:{lender}"
        with stack.container(*labelled("lent.com"), stack.image("foo"), network=lent) as first:
            stack.wait_answered_by("lent.com", {stack.host_name(lender)})
            assert addresses(stack, "lent.com") == [f"{stack.address(lender)}:3031"]
            with stack.container(*labelled("rival.com"), *IDLE, stack.image("foo"), "600", network=lent) as rival:
                assert f"container {first}'s already" in stack.wait_state(rival, "error")["reason"]
                assert stack.get("rival.com").status == 503
                assert set(stack.answered_by("lent.com", 4)) == {stack.host_name(lender)}


def test_on_the_hosts_network_it_is_the_gateway_of_the_shared_one(stack: Stack) -> None:
    (network,) = json.loads(stack.docker("network", "inspect", stack.network))
    argv = (*labelled("host.com", "fastroute.probe=none"), *IDLE, stack.image("foo"), "600")
    with stack.container(*argv, network="host") as name:
        row = stack.wait_state(name, "ready")
        gateway = network["IPAM"]["Config"][0]["Gateway"].partition("/")[0]
        assert row["routes"] == [{"key": "host.com", "address": f"{gateway}:3031"}]
