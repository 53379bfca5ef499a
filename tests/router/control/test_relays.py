"""Control's end of the channels: every relay ends with the table's state, however slowly it reads."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from support.entries import make_entry, node_row, pool_row

from fastroute.router.control.configured_nodes import ConfiguredNodes
from fastroute.router.control.earlier_relays import positional
from fastroute.router.control.relays import MAX_MESSAGE, Relays, node_op, pool_op, take_part
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.subscription import Announcement, Entry
from fastroute.router.relay.level import DRAINING
from fastroute.router.relay.replica import Replica


class FakeRelay:
    """The relay's end of a channel: applies ops to a set of nodes, acks when told to."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs.setblocking(False)
        self.nodes: set[tuple[str, str]] = set()
        self.seen: set[tuple[str, str]] | None = None
        self.messages = 0

    def say(self, *message: Any) -> None:
        self.theirs.send(json.dumps(message).encode())

    def read(self, ack: bool = True) -> int:
        """Read all there is; number of messages."""
        count = 0
        while True:
            try:
                data = self.theirs.recv(1 << 17)
            except BlockingIOError:
                return count
            assert len(data) <= MAX_MESSAGE
            count += 1
            message = json.loads(data)
            for op in message["ops"]:
                self._apply(op)
            if ack:
                self.say("ack", message["epoch"], message["v"])

    def _apply(self, op: list[Any]) -> None:
        if op[0] == "reset":
            self.seen = set()
        elif op[0] == "node":
            self.nodes.add((op[1], op[2]))
            if self.seen is not None:
                self.seen.add((op[1], op[2]))
        elif op[0] == "gone":
            self.nodes.discard((op[1], op[2]))
        elif op[0] == "done":
            assert self.seen is not None
            self.nodes &= self.seen
            self.seen = None


def run(scenario: Callable[[Table, FakeRelay, Relays, list[Any]], Awaitable[None]]) -> None:
    async def main() -> None:
        table, relay, reports = Table(), FakeRelay(), []
        relays = Relays(table, ConfiguredNodes(), [relay.ours], lambda _, message: reports.append(message))
        await scenario(table, relay, relays, reports)
        relay.ours.close()
        relay.theirs.close()

    asyncio.run(main())


def join(table: Table, count: int, key: str = "k") -> None:
    entries = tuple(Entry(key, f"10.0.{n // 250}.{n % 250 + 1}:80") for n in range(count))
    table.apply(Announcement(entries=entries, source="operator"), "127.0.0.1", 0)


def want(table: Table) -> set[tuple[str, str]]:
    return {(name, address) for name, pool in table.pools.items() for address in pool.members}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the other end is a plain socket, it has no event
            await asyncio.sleep(0.001)


def test_a_relay_that_says_hello_gets_everything_in_messages_of_bounded_size() -> None:
    async def scenario(table: Table, relay: FakeRelay, relays: Relays, reports: list[Any]) -> None:
        join(table, 3000)
        relay.say("hello", 42)
        await until(lambda: (relay.read() and False) or (relay.nodes == want(table) and relay.seen is None))
        assert reports == [["hello", 42]]
        await until(lambda: relays.channels[0].lag <= 0)

    run(scenario)


def test_a_restart_drops_what_is_no_longer_there() -> None:
    async def scenario(table: Table, relay: FakeRelay, relays: Relays, reports: list[Any]) -> None:
        relay.nodes = {("old", "10.9.9.9:1")}
        join(table, 3)
        relays.channels[0].restart()
        await until(lambda: (relay.read() and False) or relay.nodes == want(table))

    run(scenario)


def test_a_relay_that_does_not_read_is_reset_and_ends_complete() -> None:
    async def scenario(table: Table, relay: FakeRelay, relays: Relays, reports: list[Any]) -> None:
        relay.say("hello", 1)
        await until(lambda: relay.read())
        join(table, 200)
        for _ in range(2000):
            relays.broadcast([node_row("k", "10.9.9.9:1", 1, 0, 0, 0, 0, "uwsgi")] * 100)
        relays.broadcast([["gone", "k", "10.9.9.9:1"]])
        assert relays.channels[0].resets > 0
        await until(lambda: (relay.read() and False) or (relay.nodes == want(table) and relay.seen is None))

    run(scenario)


def test_the_longest_keys_and_addresses_still_fit_into_messages() -> None:
    async def scenario(table: Table, relay: FakeRelay, relays: Relays, reports: list[Any]) -> None:
        entries = tuple(Entry(chr(255) * 252 + f"{n:03}", "/" + "x" * 103 + f"{n:03}") for n in range(300))
        table.apply(Announcement(entries=entries, source="operator"), "127.0.0.1", 0)
        relay.say("hello", 1)
        await until(lambda: (relay.read() and False) or (relay.nodes == want(table) and relay.seen is None))

    run(scenario)


def test_an_ack_waits_for_every_live_relay_and_is_dropped_when_too_late() -> None:
    async def scenario(table: Table, relay: FakeRelay, relays: Relays, reports: list[Any]) -> None:
        called: list[str] = []
        loop = asyncio.get_running_loop()
        relay.say("hello", 1)
        await until(lambda: reports)
        await until(lambda: (relay.read() and relays.channels[0].lag <= 0) or relays.channels[0].lag <= 0)
        relays.broadcast([pool_row("k", "wrr")])
        relays.when_applied(loop.time() + 10, lambda: called.append("in time"))
        await asyncio.sleep(0)
        assert called == []
        await until(lambda: (relay.read() and False) or called)
        relays.broadcast([pool_row("k", "wrr")])
        relays.when_applied(loop.time() - 1, lambda: called.append("too late"))
        relays.when_applied(loop.time() + 10, lambda: called.append("after"))
        await until(lambda: (relay.read() and False) or len(called) == 2)
        assert called == ["in time", "after"]

    run(scenario)


def test_acks_of_an_earlier_control_process_do_not_count() -> None:
    async def scenario(table: Table, relay: FakeRelay, relays: Relays, reports: list[Any]) -> None:
        relay.say("hello", 1)
        await until(lambda: reports)
        relay.say("ack", "another", 10**9)
        relay.say("hello", 2)
        await until(lambda: len(reports) == 2)
        assert relays.channels[0].acked < 10**9

    run(scenario)


def test_a_leaving_relay_of_the_version_before_finds_places_and_ours_finds_names() -> None:
    table = Table()
    settings = {"weight": 3, "modifier1": 5, "protocol": "http", "algorithm": "lrc"}
    entry = make_entry("k", "10.0.0.1:80", drain=True, via="f" * 16, **settings)
    table.apply(Announcement(entries=(entry,)), "127.0.0.1", 0.0)
    pool = table.pools["k"]
    part = take_part(iter([["reset"], pool_op(pool), node_op("k", pool.members["10.0.0.1:80"]), ["gone", "k", "a"]]))
    reset, of_key, node, gone = map(json.loads, positional(part))
    assert (reset, gone) == (["reset"], ["gone", "k", "a"])
    assert of_key[2] == "lrc"
    assert node[1:10] == ["k", "10.0.0.1:80", 3, 0, 1, 5, 0, "http", "f" * 16]
    replica = Replica(random.Random(1))
    assert replica.apply([reset, of_key, node, ["done"]]) == []
    made = replica.pools[b"k"].nodes["10.0.0.1:80"]
    assert (made.weight, made.modifier1, made.protocol, made.state) == (3, 5, "http", DRAINING)
    assert replica.pools[b"k"].algorithm == "lrc"
