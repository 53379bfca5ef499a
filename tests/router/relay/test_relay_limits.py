"""Nodes that may have so many requests at once, in a relay: never more, and the next one at once when one ends.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import pytest
from fuzz.world import Script, World
from support.waiting_world import MEGABYTE, TICK, answer, arrived, ask, known, leaves, node, play, waiting

from fastroute.router.relay import loop
from fastroute.router.relay.limits import COLD_LIMIT

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)


@pytest.mark.parametrize("algorithm", ["wrr", "lrc", "wlrc", "iphash", "random2"])
def test_no_node_ever_has_more_than_its_max(algorithm: str) -> None:
    def script(world: World) -> Script:
        limits = {world.addresses[0]: 2, world.addresses[1]: 1}
        world.tell(*(node(address, max=limit) for address, limit in limits.items()))
        yield 0
        clients = [ask(world, front=number % 2) for number in range(40)]
        yield 0
        done = 0
        while done < len(clients):
            yield 0
            running = [worker for worker in world.served if worker.sock and worker.packet()]
            arrived(world)
            for address, limit in limits.items():
                assert sum(worker.address == address and worker.sock is not None for worker in world.served) <= limit
            for worker in running[:1]:
                answer(world, clients[int(worker.packet()[1][b"ID"])])  # type: ignore[index]
                done += 1
        assert len(world.served) == 40

    play(script, known(algorithm=algorithm))


def test_without_time_to_wait_one_more_than_max_is_503_at_once() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0], max=1))
        yield 0
        first, second = ask(world), ask(world)
        yield 0
        second.read()
        assert b"X-Fastroute-Error: no-node" in second.got
        assert b"may take more requests now" in second.got
        answer(world, first)
        yield 0
        third = ask(world)
        yield 0
        assert arrived(world) == [str(first.number), str(third.number)]

    play(script, known(wait=0))


def test_a_cold_node_gets_sixteen_and_the_rest_after_its_first_answer() -> None:
    def script(world: World) -> Script:
        clients = [ask(world) for _ in range(60)]
        yield 0
        world.tell(node(world.addresses[0]))
        for _ in range(5):
            yield TICK
        assert len(arrived(world)) == COLD_LIMIT
        answer(world, clients[0])
        yield 0
        for _ in range(10):
            arrived(world)
            yield TICK
        assert len(arrived(world)) == 60

    play(script)


def test_a_first_answer_that_streams_is_enough() -> None:
    def script(world: World) -> Script:
        for _ in range(30):
            ask(world)
        yield 0
        world.tell(node(world.addresses[0]))
        yield 0
        yield TICK
        assert len(arrived(world)) == COLD_LIMIT
        world.served[0].send(10)
        yield 0
        yield TICK
        yield TICK
        assert len(arrived(world)) == 30

    play(script)


def test_a_tunnel_gives_its_place_to_the_next_one() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0], max=1))
        yield 0
        tunnel, second = ask(world, HTTP_UPGRADE="websocket"), ask(world)
        yield 0
        assert arrived(world) == ["0"]
        worker = world.served[0]
        worker.answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello"
        worker.send(MEGABYTE)
        yield 0
        assert arrived(world) == ["0", "1"]
        third = ask(world)
        yield 0
        leaves(tunnel)
        yield TICK
        assert arrived(world) == ["0", "1"], "the tunnel's end makes no second place"
        answer(world, second)
        yield 0
        assert arrived(world) == ["0", "1", str(third.number)]

    play(script)


def test_a_full_level_keeps_its_requests_and_they_go_to_the_backup_when_it_is_down() -> None:
    def script(world: World) -> Script:
        one, two = world.addresses[:2]
        world.tell(node(one, max=1), node(two, backup=1))
        yield 0
        ask(world)
        ask(world)
        yield 0
        arrived(world)
        assert [worker.address for worker in world.served] == [one]
        world.tell(["gone", "foo.com", one])
        yield 0
        arrived(world)
        assert [worker.address for worker in world.served] == [one, two]

    play(script)


def test_an_undrained_node_takes_the_next_one() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0], draining=1))
        yield 0
        ask(world)
        yield 0
        assert arrived(world) == []
        world.tell(node(world.addresses[0]))
        yield 0
        assert arrived(world) == ["0"]

    play(script)


def test_a_node_that_joins_for_one_key_serves_that_one_only() -> None:
    def script(world: World) -> Script:
        ask(world)
        ask(world, "bar.com")
        yield 0
        world.tell(node(world.addresses[0], "bar.com"))
        yield 0
        assert arrived(world) == ["1"]
        assert waiting(world) == 1

    play(script, known(), known("bar.com"))
