"""Requests that wait because their nodes could not be reached, or broke off: when they are tried again, and where.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import pytest
from fuzz.world import Script, World
from support.waiting_world import ANSWER, TICK, WAIT, answer, arrived, ask, leaves, node, play, waiting

from fastroute.router.relay import loop

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)


def test_the_timer_tries_an_ejected_node_for_those_that_wait() -> None:
    def script(world: World) -> Script:
        address = world.addresses[0]
        world.deaf(address)
        world.tell(node(address))
        yield 0
        clients = [ask(world) for _ in range(3)]
        yield 0
        for _ in range(100):
            yield TICK
        assert waiting(world) == 3
        world.hear(address)
        for _ in range(20):
            yield TICK
        assert arrived(world) == ["0", "1", "2"]
        answer(world, clients[0])
        yield 0
        clients[0].read()
        assert clients[0].got == ANSWER

    play(script)


def test_a_worker_that_says_it_is_there_is_tried_at_once() -> None:
    def script(world: World) -> Script:
        address = world.addresses[0]
        world.deaf(address)
        world.tell(node(address))
        yield 0
        ask(world)
        yield 0
        assert waiting(world) == 1
        world.hear(address)
        world.tell(["retry", "foo.com", address])
        yield 0
        assert arrived(world) == ["0"]

    play(script)


def test_every_connect_refused_is_no_answer_before_its_time_and_one_deadline_counts() -> None:
    def script(world: World) -> Script:
        for address in world.addresses:
            world.deaf(address)
        world.tell(*(node(address) for address in world.addresses))
        yield 0
        client = ask(world)
        yield 0
        waited = 0.0
        while not client.read():
            yield TICK
            waited += TICK
        assert WAIT - TICK <= waited <= WAIT + 3 * TICK
        assert b" 503 " in client.got
        assert b"X-Fastroute-Waited: 15." in client.got

    play(script)


def test_connects_that_hang_are_within_the_one_deadline_too() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.hole.address))
        yield 0
        client = ask(world)
        yield 0
        waited = 0.0
        while not client.read():
            yield 0.5
            waited += 0.5
            assert waited < 5.0 + WAIT + 1.0, "the first connect takes 5 s; from then on it waits"
        assert waited >= WAIT
        assert b" 503 " in client.got

    play(script)


def test_a_worker_that_broke_off_is_not_asked_again_and_another_one_is_waited_for() -> None:
    def script(world: World) -> Script:
        one, two = world.addresses[:2]
        world.tell(node(one), node(two, max=1))
        yield 0
        clients = [ask(world), ask(world)]
        yield 0
        arrived(world)
        broken = next(worker for worker in world.served if worker.address == one)
        busy = next(worker for worker in world.served if worker.address == two)
        number = int(broken.packet()[1][b"ID"])  # type: ignore[index]
        leaves(broken)  # type: ignore[arg-type]
        yield 0
        yield TICK
        assert waiting(world) == 1
        late = ask(world)
        yield 0
        yield TICK
        assert [worker.address for worker in world.served if worker.packet()].count(one) <= 2
        answer(world, clients[int(busy.packet()[1][b"ID"])])  # type: ignore[index]
        yield 0
        arrived(world)
        again = [worker for worker in world.served if worker.packet()[1][b"ID"] == str(number).encode()]  # type: ignore[index]
        assert [worker.address for worker in again] == [one, two]
        assert late.number != number

    play(script)


def test_one_that_may_not_go_to_the_only_free_node_holds_up_nobody() -> None:
    def script(world: World) -> Script:
        one, two = world.addresses[:2]
        world.tell(node(one, max=1), node(two, max=1))
        yield 0
        clients = [ask(world) for _ in range(4)]
        yield 0
        arrived(world)
        broken = next(worker for worker in world.served if worker.address == one)
        leaves(broken)  # type: ignore[arg-type]
        yield 0
        yield TICK
        at_one = [worker for worker in world.served if worker.address == one]
        arrived(world)
        at_one = [worker for worker in world.served if worker.address == one]
        assert len(at_one) == 2, "the next in the queue has the place"
        assert clients

    play(script)


def test_who_comes_while_only_such_a_one_waits_is_served_at_once() -> None:
    def script(world: World) -> Script:
        one, two = world.addresses[:2]
        world.tell(node(one), node(two, max=1))
        yield 0
        ask(world)
        ask(world)
        yield 0
        arrived(world)
        leaves(next(worker for worker in world.served if worker.address == one))  # type: ignore[arg-type]
        yield 0
        assert waiting(world) == 1
        late = ask(world)
        yield 0
        assert arrived(world)[-1] == str(late.number)

    play(script)


def test_a_get_that_the_only_worker_broke_off_on_is_502_soon_if_that_is_still_there() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0]))
        yield 0
        client = ask(world)
        yield 0
        arrived(world)
        leaves(world.served[0])  # type: ignore[arg-type]
        yield 0
        for _ in range(8):
            yield TICK
        client.read()
        assert b" 502 " in client.got
        assert len(arrived(world)) == 1

    play(script)


def test_a_get_that_died_with_its_worker_is_served_by_the_next_one_at_the_same_address() -> None:
    def script(world: World) -> Script:
        address = world.addresses[0]
        world.tell(node(address))
        yield 0
        client = ask(world)
        yield 0
        arrived(world)
        world.deaf(address)
        leaves(world.served[0])  # type: ignore[arg-type]
        yield 0
        for _ in range(20):
            yield TICK
        assert waiting(world) == 1
        world.hear(address)
        for _ in range(30):
            yield TICK
        assert arrived(world) == ["0", "0"]
        answer(world, client)

    play(script)


def test_a_get_whose_worker_left_as_it_broke_off_is_served_by_who_joins_there() -> None:
    def script(world: World) -> Script:
        address = world.addresses[0]
        world.tell(node(address))
        yield 0
        client = ask(world)
        yield 0
        arrived(world)
        world.tell(["gone", "foo.com", address])
        yield 0
        leaves(world.served[0])  # type: ignore[arg-type]
        yield 0
        assert waiting(world) == 1
        world.tell(node(address))
        yield 0
        assert arrived(world) == ["0", "0"]
        answer(world, client)
        yield 0
        client.read()
        assert client.got == ANSWER

    play(script)


def test_a_post_that_a_worker_may_have_begun_does_not_wait() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0]))
        yield 0
        client = ask(world, method="POST", body=b"x")
        yield 0
        arrived(world)
        leaves(world.served[0])  # type: ignore[arg-type]
        yield 0
        client.read()
        assert b" 502 " in client.got

    play(script)
