"""Whatever way an address came, no relay is told of a node that is the router itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastroute.router.control import own_nodes
from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.own_nodes import OwnNodes
from fastroute.router.control.relays import node_op, snapshot_ops
from fastroute.router.control.status import serving, state_of
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Announcement, Entry
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.own_sockets import OwnSockets


class Here(OwnSockets):
    """A router on all interfaces of a machine whose addresses the test gives."""

    def __init__(self) -> None:
        self.ips = {bytes((10, 0, 0, 1))}
        super().__init__([("0.0.0.0:3031", None, False)], lambda: frozenset(self.ips))


class World:
    def __init__(self) -> None:
        self.table, self.log, self.here = Table(), EventLog(), Here()
        self.own = OwnNodes(self.here, self.table, self.log)
        self.configured_nodes = ConfiguredNodes(fallback=(parse_address("spare.test:3031"),))

    def join(self, *addresses: str) -> None:
        entries = tuple(Entry("k", address) for address in addresses)
        self.table.apply(Announcement(entries=entries, source="c", instance=1, seq=1), "127.0.0.1", 0)

    def told(self) -> set[str]:
        """The nodes in a snapshot."""
        ops = self.own.screen(snapshot_ops(self.table, self.configured_nodes, True))
        return {op[2] for op in ops if op[0] == "node"}

    def events(self) -> list[str]:
        return [event.fields["node"] for event in self.log.recent() if event.kind == "node-refused"]


def test_a_name_that_comes_to_ourselves_is_told_to_no_relay_and_shown_to_people() -> None:
    world = World()
    world.join("me.test:3031", "10.0.0.2:3031")
    world.table.resolved("me.test:3031", ("10.0.0.1", "10.0.0.3"), 1)
    assert world.told() == world.told() == {"10.0.0.2:3031", "10.0.0.3:3031"}
    assert world.events() == ["10.0.0.1:3031"], "said once"
    assert list(world.own.refused) == [("k", "10.0.0.1:3031")]
    assert world.own.count == 1
    states = {address: state_of(one, False) for address, one in world.table.pools["k"].members.items()}
    assert not serving(states["10.0.0.1:3031"])
    assert serving(states["10.0.0.2:3031"])
    world.table.resolved("me.test:3031", ("10.0.0.3",), 2)
    list(world.own.screen([["gone", "k", "10.0.0.1:3031"]]))
    assert not world.own.refused


def test_a_change_of_a_node_and_the_fallback_pass_the_same_check() -> None:
    world = World()
    world.join("10.0.0.1:3031")
    member = world.table.member("k", "10.0.0.1:3031")
    assert member is not None
    assert list(world.own.screen([node_op("k", member)])) == [["gone", "k", "10.0.0.1:3031"]]
    world.configured_nodes.resolved("spare.test:3031", ("10.0.0.1", "10.0.0.9"), 1)
    assert list(world.own.screen(world.configured_nodes.ops())) == [["reserve", "fallback", ["10.0.0.9:3031"]]]
    assert ("(fallback)", "10.0.0.1:3031") in world.own.refused
    world.configured_nodes.resolved("spare.test:3031", ("10.0.0.9",), 1)
    list(world.own.screen(world.configured_nodes.ops()))
    assert ("(fallback)", "10.0.0.1:3031") not in world.own.refused


def test_nodes_are_looked_at_again_when_this_machine_has_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_nodes, "CHECK_INTERVAL", 0.001)
    world, sent = World(), list[list[Any]]()
    world.join("10.0.0.1:3031", "10.0.0.2:3031")
    world.table.dirty_nodes.clear()
    assert world.told() == {"10.0.0.2:3031"}

    def changed() -> None:
        for key, address in list(world.table.dirty_nodes):
            member = world.table.member(key, address)
            assert member is not None
            sent.extend(world.own.screen([node_op(key, member)]))
        world.table.dirty_nodes.clear()
        if len(sent) == 2:
            both.set()

    both = asyncio.Event()

    async def run() -> None:
        task = asyncio.create_task(world.own.run(changed))
        world.here.ips = {bytes((10, 0, 0, 2))}
        await asyncio.wait_for(both.wait(), 10)
        task.cancel()

    asyncio.run(run())
    assert {(op[0], op[2]) for op in sent} == {("gone", "10.0.0.2:3031"), ("node", "10.0.0.1:3031")}
    assert list(world.own.refused) == [("k", "10.0.0.2:3031")]
