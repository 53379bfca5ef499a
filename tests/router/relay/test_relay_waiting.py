"""Requests that wait for a node: who waits, in which order, for how long, what ends it; on a clock that the test moves.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest
from fuzz.world import LONG, Script, World, reset
from support.waiting_world import ANSWER, MEGABYTE, TICK, WAIT, answer, arrived, ask, known, leaves, node, play, waiting

from fastroute.router.relay import loop, queueing
from fastroute.router.relay.request import Request

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)


def test_a_request_waits_for_the_first_node_and_is_served_by_it_at_once() -> None:
    def script(world: World) -> Script:
        clients = [ask(world), ask(world)]
        yield 0
        yield 14.0
        assert arrived(world) == []
        assert waiting(world) == 2
        world.tell(node(world.addresses[0]))
        yield 0
        assert arrived(world) == ["0", "1"], "no tick later"
        for client in clients:
            answer(world, client)
        yield 0
        assert [client.read() and client.got for client in clients] == [ANSWER, ANSWER]

    play(script)


def test_without_a_node_it_is_answered_503_when_its_time_is_over_and_not_before() -> None:
    def script(world: World) -> Script:
        client = ask(world)
        yield 0
        yield WAIT - 0.1
        client.read()
        assert not client.got
        yield 0.2
        yield 0
        client.read()
        head = client.got.decode()
        assert head.startswith("HTTP/1.1 503 ")
        assert "X-Fastroute-Error: no-node\r\n" in head
        assert "Retry-After: 1\r\n" in head
        assert "X-Fastroute-Waited: 15.1\r\n" in head
        client.read()
        assert client.ended
        yield 1.0
        world.listen()
        rows = [row for report in world.reports for row in report.get("waits", ())]
        assert rows[-1][:2] == ["foo.com", 0]
        assert sum(rows[-1][2][:-1]) == 1

    play(script)


def test_the_time_of_those_that_wait_ends_although_more_keep_coming() -> None:
    def script(world: World) -> Script:
        first = ask(world)
        for _ in range(int((WAIT + 0.5) / 0.03)):
            yield 0.03
            ask(world)
        first.read()
        assert b" 503 " in first.got

    play(script)


def test_unknown_keys_and_keys_without_time_do_not_wait() -> None:
    def script(world: World) -> Script:
        unknown, timeless = ask(world, "scan.example"), ask(world)
        yield 0
        for client, status in ((unknown, b" 404 "), (timeless, b" 503 ")):
            client.read()
            assert status in client.got
            assert b"Waited" not in client.got

    play(script, known(wait=0))


def test_what_only_a_fallback_serves_does_not_wait_and_a_known_key_goes_there_before_it_waits() -> None:
    def script(world: World) -> Script:
        fallback = world.addresses[1]
        world.deaf(fallback)
        unknown = ask(world, "scan.example")
        yield 0
        unknown.read()
        assert b" 502 " in unknown.got
        client = ask(world)
        yield 0
        assert waiting(world) == 1
        world.hear(fallback)
        yield 1.0
        yield TICK
        assert arrived(world) == [str(client.number)]

    def whole(world: World) -> Script:
        world.tell(["reserve", "fallback", [world.addresses[1]]])
        yield 0
        yield from script(world)

    play(whole, known(wait=WAIT), fallback=["x:1"], wait=WAIT)


def test_the_one_that_waits_longest_is_first_and_nobody_overtakes() -> None:
    def script(world: World) -> Script:
        world.tell(node(world.addresses[0], max=1))
        yield 0
        clients = [ask(world) for _ in range(6)]
        yield 0
        for client in clients:
            assert arrived(world)[-1] == str(client.number)
            if client.number == 3:
                # It comes in the turn in which a place becomes free.
                clients.append(ask(world))
            answer(world, client)
            yield 0
        assert arrived(world) == [str(number) for number in range(7)]

    play(script)


def test_a_post_waits_without_being_read() -> None:
    body = b"x" * (8 * MEGABYTE)

    def script(world: World) -> Script:
        client = ask(world, method="POST", body=body)
        yield 0
        for _ in range(20):
            client.send(MEGABYTE)
            yield TICK
        assert client.sent < MEGABYTE, "only what the sockets hold"
        assert world.wakeups == 0, "what it sends wakes nobody"
        world.tell(node(world.addresses[0]))
        yield 0
        while client.sent < len(client.request):
            client.send(MEGABYTE)
            arrived(world)
            yield 0
        for _ in range(200):
            arrived(world)
            yield 0
        assert world.served[0].got.endswith(body)

    play(script)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("front", [0, 1])
def test_a_client_that_leaves_leaves_the_queue(how: str, front: int) -> None:
    def script(world: World) -> Script:
        first, second = ask(world, front=front), ask(world, front=front)
        yield 0
        assert first.sock is not None
        (reset if how == "reset" else socket.socket.close)(first.sock)
        first.sock = None
        yield 0
        assert waiting(world) == 1
        world.tell(node(world.addresses[0]))
        yield 0
        assert arrived(world) == [str(second.number)]

    play(script)


@pytest.mark.parametrize("front", [0, 1])
def test_a_client_that_only_ends_its_side_goes_on_waiting(front: int) -> None:
    def script(world: World) -> Script:
        client = ask(world, front=front)
        yield 0
        assert client.sock is not None
        client.sock.shutdown(socket.SHUT_WR)
        for _ in range(5):
            yield TICK
        assert world.wakeups == 0
        assert waiting(world) == 1
        world.tell(node(world.addresses[0]))
        yield 0
        answer(world, client)
        yield 0
        client.read()
        assert client.got == ANSWER

    play(script)


def test_a_full_queue_is_said_at_once_and_only_of_its_key() -> None:
    def script(world: World) -> Script:
        clients = [ask(world) for _ in range(4)]
        other = ask(world, "bar.com")
        yield 0
        refused = clients[3]
        refused.read()
        assert b"X-Fastroute-Error: queue-full" in refused.got
        assert b"Retry-After: 1" in refused.got
        assert waiting(world) == 3
        assert waiting(world, b"bar.com") == 1
        leaves(clients[0])
        yield 0
        ask(world)
        yield 0
        assert waiting(world) == 3
        assert not other.read()
        yield 1.0
        world.listen()
        rows = {row[0]: row for report in world.reports for row in report.get("waits", ())}
        assert (rows["foo.com"][1], rows["foo.com"][3]) == (3, 1)

    play(script, known(), known("bar.com"), wait_max=3)


@pytest.mark.parametrize("served", [True, False])
def test_a_router_that_ends_lets_them_wait_and_answers_them_at_its_end(served: bool) -> None:
    def script(world: World) -> Script:
        clients = [ask(world, front=number % 2, method="POST", body=b"x" * 100) for number in range(3)]
        yield 0
        world.relay.drain()
        yield 3.0
        yield 0
        if served:
            world.tell(node(world.addresses[0]))
            yield 0
            assert sorted(arrived(world)) == ["0", "1", "2"]
            for client in clients:
                answer(world, client)
            yield 0
        else:
            yield 1.1
        yield 0
        for client in clients:
            client.read()
            assert (b" 200 " if served else b" 503 ") in client.got

    play(script, known(wait=60.0), drain_timeout=4.0)


def test_a_reload_lets_them_wait_to_their_end() -> None:
    def script(world: World) -> Script:
        ask(world)
        yield 0
        world.relay.leave()
        yield LONG
        world.tell(node(world.addresses[0]))
        yield 0
        assert arrived(world) == ["0"]

    play(script, known(wait=600.0))


def test_all_keys_together_leave_room_for_others() -> None:
    def script(world: World) -> Script:
        assert world.relay.context.wait_max_all == 2048, "half of the descriptors of this world"
        world.relay.context.wait_max_all = 3
        first = [ask(world), ask(world)]
        second = [ask(world, "bar.com"), ask(world, "bar.com")]
        yield 0
        assert not any(client.read() for client in (*first, second[0]))
        second[1].read()
        assert b"queue-full" in second[1].got

    play(script, known(), known("bar.com"))


def test_head_is_answered_without_a_body() -> None:
    def script(world: World) -> Script:
        client = ask(world, method="HEAD")
        yield 0
        yield WAIT + TICK
        yield 0
        client.read()
        assert b" 503 " in client.got
        assert client.got.endswith(b"\r\n\r\n")

    play(script)


def test_those_that_have_waited_are_freed_at_once() -> None:
    def script(world: World) -> Script:
        gc.collect()
        before = sum(isinstance(thing, Request) for thing in gc.get_objects())
        clients = [ask(world) for _ in range(5)]
        yield 0
        leaves(clients.pop())
        yield 0
        yield 10.0
        world.tell(node(world.addresses[0], max=2))
        yield 0
        for client in clients[:2]:
            answer(world, client)
        yield 0
        yield 10.0
        for _ in range(3):
            yield TICK
        for client in clients:
            client.read()
            leaves(client)
        world.close_all()
        yield 0
        yield 10.0
        yield 0
        assert not world.relay.requests.by_client
        assert sum(isinstance(thing, Request) for thing in gc.get_objects()) == before

    gc.disable()
    try:
        play(script)
    finally:
        gc.enable()


def test_a_flood_whose_time_is_over_at_once_holds_up_no_other_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(world: World) -> Script:
        for number in range(200):
            ask(world)
            if number % 50 == 49:
                yield 0
        assert waiting(world) == 200
        yield 10.0
        ask(world, "bar.com")
        yield 0
        world.tell(node(world.addresses[0], "bar.com"))
        turns: list[int] = []
        real = queueing.serve_queues

        def counted(*arguments: Any) -> bool:
            before = waiting(world)
            left = real(*arguments)
            turns.append(before - waiting(world))
            assert not left or turns[-1] <= queueing.TURNS
            if len(turns) == 3:
                assert waiting(world, b"bar.com") == 0, "its turn comes before the flood has had all of its own"
            return left

        monkeypatch.setattr(loop, "serve_queues", counted)
        yield 5.0 + TICK
        yield 0
        assert sum(turns) == 200
        assert len([served for served in turns if served]) >= 200 // queueing.TURNS
        assert arrived(world) == ["200"]

    play(script, known(), known("bar.com"))


def test_the_access_log_says_how_long_a_request_waited(tmp_path: Any) -> None:
    log = tmp_path / "access.log"

    def script(world: World) -> Script:
        client, leaver = ask(world), ask(world)
        yield 0
        yield 2.0
        leaves(leaver)
        yield 0
        world.tell(node(world.addresses[0]))
        yield 0
        answer(world, client)
        yield 0
        client.read()
        yield 1.0

    play(script, access_log=str(log), log_format="text")
    lines = log.read_text().splitlines()
    assert [line.rpartition(" waited=")[2] for line in lines] == ["2000.0", "2000.0"]
    assert "error=client-gone" in lines[0]
