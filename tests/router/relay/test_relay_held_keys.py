"""Keys that are paused or under maintenance, and keys that are forgotten while requests wait for them.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import pytest
from fuzz.world import Script, World
from support.waiting_world import ANSWER, TICK, WAIT, answer, arrived, ask, known, node, paused, play, waiting

from fastroute.router.relay import loop

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)


def test_the_pause_of_a_key_makes_its_requests_wait_whatever_it_says_of_waiting() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0]), paused(30.0))
        yield 0
        clients = [ask(world) for _ in range(3)]
        yield 0
        yield 29.0
        assert arrived(world) == []
        world.tell(["state", "foo.com", {"state": "serving"}])
        late = ask(world)
        yield 0
        yield TICK
        assert arrived(world) == ["0", "1", "2", "3"]
        assert (len(clients), late.number) == (3, 3)

    play(script, known(wait=0))


def test_a_pause_costs_nothing_while_an_ejected_node_is_due() -> None:
    def script(world: World) -> Script:
        world.deaf(world.addresses[0])
        world.tell(node(world.addresses[0]))
        yield 0
        ask(world)
        yield 0
        world.tell(paused(30.0))
        yield 0
        for _ in range(10):
            yield 1.0
            assert world.wakeups <= 1

    play(script)


def test_a_pause_that_nobody_ends_ends_for_those_that_wait() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0]), paused(30.0))
        yield 0
        client = ask(world)
        yield 0
        yield 30.0
        assert not client.read()
        yield WAIT + TICK
        yield 0
        client.read()
        assert b" 503 " in client.got
        assert b"X-Fastroute-Waited: 45." in client.got

    play(script)


def test_a_pause_does_not_use_up_the_time_of_those_that_wait() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0], max=1), paused(100.0))
        yield 0
        clients = [ask(world), ask(world)]
        yield 0
        yield 60.0
        world.tell(["state", "foo.com", {"state": "serving"}])
        yield 0
        assert arrived(world) == ["0"]
        yield WAIT - 1
        answer(world, clients[0])
        yield 0
        assert arrived(world) == ["0", "1"]

    play(script)


def test_a_snapshot_without_the_state_of_a_key_means_that_it_serves() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0]), paused(30.0))
        yield 0
        ask(world)
        yield 0
        world.tell(["reset"], known(), node(world.addresses[0]), paused(20.0), ["done"])
        yield 0
        assert arrived(world) == []
        world.tell(["reset"], known(), node(world.addresses[0]), ["done"])
        yield 0
        assert arrived(world) == ["0"]

    play(script)


def test_maintenance_is_said_to_all_but_the_allowed_also_to_those_that_wait() -> None:
    def script(world: World) -> Script:
        waits = ask(world)
        yield 0
        state = {"state": "maintenance", "message": "Back at noon", "allow": ["192.0.2.0/24", "2001:db8::/32"]}
        world.tell(node(world.addresses[0], max=1), ["state", "foo.com", state])
        yield 0
        refused, allowed, mapped = (
            ask(world, REMOTE_ADDR=address) for address in ("198.51.100.1", "192.0.2.7", "::ffff:192.0.2.8")
        )
        yield 0
        yield 0
        waits.read()
        refused.read()
        assert b"X-Fastroute-Error: maintenance" in waits.got
        assert b"X-Fastroute-Error: maintenance" in refused.got
        assert b"Back at noon" in refused.got
        assert "1" not in arrived(world)
        assert allowed.number == 2
        assert mapped.number == 3
        assert waiting(world) == 1, "max counts for the allowed, too"

    play(script)


def test_a_key_that_is_forgotten_keeps_its_promise_and_is_found_again() -> None:
    def script(world: World) -> Script:
        kept, late = ask(world), None
        yield 0
        world.tell(["forget", "foo.com"])
        yield 0
        yield 1.0
        assert not kept.read()
        late = ask(world)
        yield 0
        late.read()
        assert b" 404 " in late.got
        world.tell(known(), node(world.addresses[0]))
        yield 0
        assert arrived(world) == ["0"]
        answer(world, kept)
        yield 0
        kept.read()
        assert kept.got == ANSWER

    play(script)


def test_a_key_that_is_forgotten_for_good_answers_in_time() -> None:
    def script(world: World) -> Script:
        client = ask(world)
        yield 0
        world.tell(["forget", "foo.com"])
        yield 0
        yield WAIT + TICK
        yield 0
        client.read()
        assert b" 503 " in client.got

    play(script)


def test_when_a_key_is_forgotten_a_wildcard_takes_over() -> None:
    def script(world: World) -> Script:
        world.tell(known("*.example.com"), node(world.addresses[0], "*.example.com"))
        world.tell(known("a.example.com"), paused(30.0, "a.example.com"))
        yield 0
        ask(world, "a.example.com")
        yield 0
        assert arrived(world) == []
        world.tell(["state", "a.example.com", {"state": "serving"}], ["forget", "a.example.com"])
        yield 0
        assert arrived(world) == ["0"]

    play(script)
