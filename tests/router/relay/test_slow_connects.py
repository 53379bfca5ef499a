"""What a node costs whose connections are not there at once: the relay's loop on a clock that the test moves."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from fuzz.world import Client, Script, Served, World
from support.entries import node_row
from support.uwsgi_client import request_packet
from support.waiting import DEADLINE

from fastroute.router.relay import loop, slow_connects
from fastroute.router.relay.connect_probe import ACCEPTED, PENDING
from fastroute.router.relay.connect_times import MIN_CONNECT_TIMEOUT, connect_limit
from fastroute.router.relay.level import EJECTED, READY
from fastroute.router.relay.node import Node
from fastroute.router.relay.slow_connects import PROBE_INTERVAL, PROBE_TIME

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)

MEGABYTE = 1 << 20
#: Seconds: a short connect, and the ticks until it is seen that it was one.
GIVEN_UP = MIN_CONNECT_TIMEOUT + 0.1
#: Seconds within which the loop has seen that a request takes its time.
SEEN_WITHIN = 0.11


class DarkNode:
    """A port that swallows what is sent there, as an overlay network does with what goes to a task it does not know."""

    def __init__(self, world: World) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        listener.setblocking(False)
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._world, self.listener, self._fill = world, listener, []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            self._fill.append(client)

    def light_up(self) -> None:
        """From now on it takes connections; those that were lost TCP tries again after a second of the real clock."""
        self.listener.listen(100)
        self._world.listeners[self.address] = self.listener

    def close(self) -> None:
        for sock in (*self._fill, self.listener):
            sock.close()


def play(script: Callable[[World, DarkNode], Script], good: bool = True) -> None:
    """The script in a world where foo.com has a dark node, and a ``good`` one."""
    world = World()
    dark = DarkNode(world)

    def whole() -> Script:
        addresses = ([world.addresses[0]] if good else []) + [dark.address]
        world.tell(["reset"], *(node_row("foo.com", address) for address in addresses), ["done"])
        yield 0
        yield from script(world, dark)
        world.close_all()

    try:
        world.run(whole())
    finally:
        world.close()
        dark.close()


def node_of(world: World, address: str) -> Node:
    return world.relay.context.replica.pools[b"foo.com"].nodes[address]


def ask(world: World) -> Client:
    """A client that has sent a request."""
    client = Client(len(world.clients), request_packet("foo.com"), True)
    world.connect(client, 1)
    client.send(MEGABYTE)
    return client


def serve(world: World) -> list[Served]:
    """Every request that has come to a worker is answered.  Returns those."""
    world.accept(0)
    asked = []
    for served in world.served:
        if served.read() and not served.sent:
            served.send(MEGABYTE)
            served.sock.close()  # type: ignore[union-attr]
            served.sock = None
            asked.append(served)
    return asked


def answered(clients: list[Client]) -> int:
    return sum(b" 200 OK" in client.got for client in clients if client.read() or client.got)


def test_one_request_at_a_time_tries_a_new_node_and_it_goes_elsewhere_after_a_short_connect() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        clients = [ask(world) for _ in range(20)]
        yield 0
        serve(world)
        yield 0
        assert node_of(world, dark.address).in_flight == 1
        assert answered(clients) == 19
        for _ in range(8):
            yield GIVEN_UP / 8
        serve(world)
        yield 0
        assert answered(clients) == 20

    play(script)


def test_where_there_is_no_other_node_all_requests_try_the_new_one() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        for _ in range(5):
            ask(world)
        yield 0
        assert node_of(world, dark.address).in_flight == 5

    play(script, good=False)


def test_the_others_may_try_it_too_once_the_other_nodes_leave() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        for _ in range(4):
            ask(world)
        yield 0
        assert node_of(world, dark.address).in_flight == 1
        world.tell(["reset"], node_row("foo.com", dark.address), ["done"])
        yield 0
        ask(world)
        yield 0
        assert node_of(world, dark.address).in_flight == 2

    play(script)


def test_a_node_that_accepted_a_connection_is_like_any_other() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        clients = [ask(world) for _ in range(2)]
        yield 0
        node = node_of(world, dark.address)
        assert node.held
        dark.light_up()
        # TCP sends again what was lost, after a second of the real clock.
        deadline = time.monotonic() + DEADLINE
        while node.held and time.monotonic() < deadline:
            time.sleep(0.01)
            world.accept(0)
            yield 0
        assert not node.held
        clients += [ask(world) for _ in range(4)]
        yield 0
        assert node.requests == 3
        serve(world)
        yield 0
        assert answered(clients) == 6

    play(script)


def test_a_client_that_leaves_makes_room_for_the_next_to_try() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        clients = [ask(world), ask(world)]
        yield 0
        node = node_of(world, dark.address)
        assert node.held
        for client in clients:
            assert client.sock is not None
            client.sock.close()
            client.sock = None
        yield SEEN_WITHIN
        yield SEEN_WITHIN
        assert (node.state, node.held) == (READY, False)

    play(script)


def test_every_trial_of_a_node_that_stays_dark_costs_one_short_connect() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        node, waits = node_of(world, dark.address), []
        for _ in range(400):
            client, began = ask(world), world.now
            yield 0
            serve(world)
            yield 0
            while not answered([client]):
                yield 0.05
                serve(world)
                yield 0
            if world.now > began:
                waits.append(world.now - began)
            yield 0.1
        assert node.state == EJECTED
        assert 4 < len(waits) < 10
        assert max(waits) < GIVEN_UP

    play(script)


def test_a_node_that_accepts_connections_is_back_without_a_request() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        clients = [ask(world), ask(world)]
        yield 0
        node = node_of(world, dark.address)
        dark.light_up()
        world.accept(0)
        for _ in range(8):
            yield GIVEN_UP / 8
        serve(world)
        yield 0
        assert answered(clients) == 2
        yield SEEN_WITHIN
        assert (node.state, node.requests) == (READY, 0)

    play(script)


def test_one_that_can_be_reached_late_is_back_within_a_second_of_that() -> None:
    """However long it is ejected for: it is tried without a request all the time."""

    def script(world: World, dark: DarkNode) -> Script:
        node = node_of(world, dark.address)
        node.streak = 6
        clients = [ask(world), ask(world)]
        for _ in range(100):
            yield 0.1
        serve(world)
        yield 0
        assert answered(clients) == 2
        assert node.state == EJECTED
        assert node.until > world.now + PROBE_INTERVAL
        dark.light_up()
        world.accept(0)
        yield PROBE_INTERVAL
        yield SEEN_WITHIN
        assert (node.state, node.requests) == (READY, 0)

    play(script)


def test_one_that_stays_silent_is_not_tried_for_ever() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        node = node_of(world, dark.address)
        node.streak = 7
        ask(world)
        ask(world)
        yield GIVEN_UP / 2
        yield GIVEN_UP / 2
        yield SEEN_WITHIN
        assert node in world.relay._slow_connects._silent
        yield PROBE_TIME
        assert node.state == EJECTED
        assert not world.relay._slow_connects._silent

    play(script)


def test_one_that_is_far_away_is_learnt_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(world: World, dark: DarkNode) -> Script:
        class FarProbe:
            """Somebody accepts there, and it takes 0.4 s until that is known here."""

            def __init__(self, _: Node) -> None:
                self._since = world.now

            def result(self) -> int:
                return ACCEPTED if world.now >= self._since + 0.4 else PENDING

            def close(self) -> None:
                """There is no connection."""

        monkeypatch.setattr(slow_connects, "ConnectProbe", FarProbe)
        ask(world)
        ask(world)
        node = node_of(world, dark.address)
        limits = []
        for _ in range(10):
            yield GIVEN_UP / 4
            limits.append((node.state, connect_limit(node, 3.0)))
        assert (EJECTED, MIN_CONNECT_TIMEOUT) in limits
        assert limits[-1][0] == READY
        assert 1.0 < limits[-1][1] < 1.5

    play(script)


def test_a_connection_that_was_lost_while_others_were_answered_is_begun_anew() -> None:
    def script(world: World, dark: DarkNode) -> Script:
        lost = ask(world)
        yield 0
        yield SEEN_WITHIN
        dark.light_up()
        world.accept(0)
        other = ask(world)
        yield 0
        serve(world)
        yield 0
        assert answered([lost, other]) == 1
        for _ in range(8):
            yield GIVEN_UP / 8
        serve(world)
        yield 0
        assert answered([lost, other]) == 2
        assert node_of(world, dark.address).failures == 0

    play(script, good=False)
