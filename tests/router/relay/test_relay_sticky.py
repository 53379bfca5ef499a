"""Clients that stay with their node by a cookie, in a relay: where they go, where they wait, and what they are told.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from fuzz.world import Client, Script, World
from hypothesis import given, settings
from hypothesis import strategies as st
from support.waiting_world import TICK, answer, arrived, ask, play, waiting

from fastroute.router.relay import loop

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)

OURS = re.compile(rb"\r\nSet-Cookie: fr=([^;\r]*); Path=/; HttpOnly; SameSite=Lax\r\n")


def sticky(wait: float = 15.0, algorithm: str = "wrr", key: str = "foo.com") -> list[Any]:
    return ["pool", key, {"algorithm": algorithm, "wait": wait, "sticky": "cookie:fr"}]


def node(world: World, number: int, **named: Any) -> list[Any]:
    """The node ``number``, whose clients have the value ``vNUMBER``."""
    return ["node", "foo.com", world.addresses[number], {"session": f"v{number}", **named}]


def visit(world: World, cookie: str = "", **more: Any) -> Client:
    return ask(world, HTTP_COOKIE=cookie, **more) if cookie else ask(world, **more)


def where(world: World, client: Client) -> int:
    """The number of the node that has the request of ``client``; -1: none has it."""
    arrived(world)
    for worker in world.served:
        packet = worker.packet()
        if packet and packet[1][b"ID"] == str(client.number).encode():
            return world.addresses.index(worker.address)
    return -1


def told(client: Client) -> list[bytes]:
    """The values that the answer sets."""
    client.read()
    return OURS.findall(client.got)


@pytest.mark.parametrize("algorithm", ["wrr", "lrc", "wlrc", "iphash", "random2"])
def test_the_first_answer_names_the_node_and_the_next_requests_go_there(algorithm: str) -> None:
    def script(world: World) -> Script:
        world.tell(*(node(world, number) for number in range(3)))
        yield 0
        for number in range(6):
            first = visit(world, REMOTE_ADDR=f"10.0.0.{number}")
            yield 0
            at = where(world, first)
            answer(world, first)
            yield 0
            assert told(first) == [f"v{at}".encode()]
            for _ in range(3):
                again = visit(world, f"a=b; fr=v{at}; c=d")
                yield 0
                assert where(world, again) == at
                answer(world, again)
                yield 0
                assert told(again) == []
                assert again.got.startswith(b"HTTP/1.1 200 OK\r\n")

    play(script, sticky(algorithm=algorithm))


@pytest.mark.parametrize("forged", ["fr=", "fr=v9", "fr=" + "x" * 3000, "fr=v0x", "x=v1", 'fr="v1"'])
def test_a_forged_cookie_is_a_fresh_choice(forged: str) -> None:
    def script(world: World) -> Script:
        world.tell(*(node(world, number) for number in range(3)))
        yield 0
        seen = set()
        for _ in range(3):
            client = visit(world, forged)
            yield 0
            seen.add(where(world, client))
            answer(world, client)
            yield 0
            assert told(client) == [f"v{where(world, client)}".encode()]
        assert seen == {0, 1, 2}

    play(script, sticky())


def test_the_workers_own_cookies_stay_and_ours_comes_once() -> None:
    rest = b"Set-Cookie: fr=mine\r\nSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\nok"

    def script(world: World) -> Script:
        world.tell(node(world, 0))
        yield 0
        client = visit(world)
        yield 0
        answer(world, client, b"HTTP/1.1 200 OK\r\n" + rest)
        yield 0
        assert told(client) == [b"v0"]
        assert client.got.count(b"Set-Cookie") == 3
        assert client.got.endswith(b"\r\n" + rest)

    play(script, sticky())


HEADS = [
    b"HTTP/1.1 200 OK\r\n\r\nbody", b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n", b"Status: 200 OK\r\n\r\nbody",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes\r\n\r\n", b"HTTP/1.1 200 OK\nA: b\n\nbody",
    b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(HEADS), st.lists(st.integers(1, 30), max_size=8))
def test_in_whatever_pieces_an_answer_comes_it_is_set_behind_the_first_line(head: bytes, pieces: list[int]) -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0))
        yield 0
        client = visit(world)
        yield 0
        arrived(world)
        (worker,) = world.served
        worker.answer = head
        for piece in pieces:
            worker.send(piece)
            yield 0
        worker.send(1 << 20)
        yield 0
        assert worker.sock is not None
        worker.sock.close()
        worker.sock = None
        yield 0
        client.read()
        final = head[head.rindex(b"HTTP/1.1 200") :] if head.startswith(b"HTTP/1.1 103") else head
        line = final.index(b"\n") + 1
        ours = b"Set-Cookie: fr=v0; Path=/; HttpOnly; SameSite=Lax\r\n"
        assert client.got == final[:line] + ours + final[line:]

    play(script, sticky())


def test_a_client_whose_node_is_gone_gets_another_and_stays_there() -> None:
    def script(world: World) -> Script:
        world.tell(*(node(world, number) for number in range(2)))
        yield 0
        for leave in (["gone", "foo.com", world.addresses[0]], node(world, 0, draining=1), node(world, 0, weight=0)):
            world.tell(leave)
            yield 0
            client = visit(world, "fr=v0")
            yield 0
            assert where(world, client) == 1
            answer(world, client)
            yield 0
            assert told(client) == [b"v1"]
            world.tell(node(world, 0))
            yield 0
            back = visit(world, "fr=v0")
            yield 0
            assert where(world, back) == 0

    play(script, sticky())


def test_a_node_that_refuses_is_ejected_and_its_clients_are_elsewhere() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0), node(world, 2))
        yield 0
        world.deaf(world.addresses[0])
        client = visit(world, "fr=v0")
        yield TICK
        assert where(world, client) == 2
        answer(world, client)
        yield 0
        assert told(client) == [b"v2"]

    play(script, sticky())


def test_a_node_that_drains_serves_its_sessions_for_as_long_as_it_has() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0), node(world, 1))
        yield 0
        world.tell(node(world, 0, draining=1, sessions=60.0))
        yield 0
        for seconds in (0.0, 59.0):
            yield seconds
            clients = [visit(world, "fr=v0"), visit(world), visit(world)]
            yield 0
            assert [where(world, client) for client in clients] == [0, 1, 1]
            for client in clients:
                answer(world, client)
            yield 0
            assert [told(client) for client in clients] == [[], [b"v1"], [b"v1"]]
        yield 1.1
        late = visit(world, "fr=v0")
        yield 0
        assert where(world, late) == 1

    play(script, sticky())


def test_a_session_waits_for_its_full_node_and_nobody_else_waits_for_it() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0, max=1), node(world, 1, max=9))
        yield 0
        first, second, third = (visit(world, "fr=v0") for _ in range(3))
        yield 0
        others = [visit(world) for _ in range(4)] + [visit(world, "fr=v1")]
        yield 0
        assert [where(world, client) for client in (first, second, third)] == [0, -1, -1]
        assert [where(world, client) for client in others] == [1] * 5
        assert waiting(world) == 2
        answer(world, first)
        newcomer = visit(world)
        yield 0
        assert [where(world, client) for client in (second, third, newcomer)] == [0, -1, 1]
        answer(world, second)
        yield 0
        assert where(world, third) == 0
        assert waiting(world) == 0
        answer(world, third)
        yield 0
        assert told(third) == []
        (free,) = [visit(world) for _ in range(1)]
        yield 0
        assert where(world, free) in (0, 1)

    play(script, sticky())


def test_whose_time_is_over_goes_to_another_node_and_is_503_only_where_none_is_free() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0, max=1), node(world, 1, max=1))
        yield 0
        first, second, third = visit(world, "fr=v0"), visit(world, "fr=v0"), visit(world, "fr=v0")
        yield 0
        for _ in range(80):
            yield 0.2
        assert [where(world, client) for client in (first, second, third)] == [0, 1, -1]
        third.read()
        assert b"X-Fastroute-Error: no-node" in third.got
        answer(world, second)
        yield 0
        assert told(second) == [b"v1"]

    play(script, sticky(wait=15.0))


def test_who_may_not_wait_goes_to_another_node_at_once() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0, max=1), node(world, 1, max=1))
        yield 0
        clients = [visit(world, "fr=v0") for _ in range(3)]
        yield 0
        assert [where(world, client) for client in clients] == [0, 1, -1]
        clients[2].read()
        assert b"HTTP/1.1 503" in clients[2].got

    play(script, sticky(wait=0.0))


@pytest.mark.parametrize("leave", ["gone", "draining", "deaf"])
def test_those_that_wait_for_a_node_that_leaves_go_to_others(leave: str) -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0, max=1), node(world, 2, max=9))
        yield 0
        clients = [visit(world, "fr=v0") for _ in range(4)]
        yield 0
        assert [where(world, client) for client in clients] == [0, -1, -1, -1]
        if leave == "gone":
            world.tell(["gone", "foo.com", world.addresses[0]])
        elif leave == "draining":
            world.tell(node(world, 0, max=1, draining=1))
        else:
            world.deaf(world.addresses[0])
            answer(world, clients[0])
        for _ in range(3):
            yield TICK
        assert [where(world, client) for client in clients[1:]] == [2, 2, 2]
        assert waiting(world) == 0

    play(script, sticky())


def test_among_those_that_wait_for_any_and_for_one_the_oldest_is_next() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0, max=1), node(world, 1, max=1))
        yield 0
        running = [visit(world, "fr=v0"), visit(world, "fr=v1")]
        yield 0
        queue = [visit(world), visit(world, "fr=v0"), visit(world), visit(world, "fr=v0"), visit(world, "fr=v1")]
        yield 0
        assert waiting(world) == 5
        answer(world, running[0])
        yield 0
        assert [where(world, client) for client in queue] == [0, -1, -1, -1, -1]
        answer(world, queue[0])
        yield 0
        assert [where(world, client) for client in queue] == [0, 0, -1, -1, -1]
        answer(world, running[1])
        yield 0
        assert [where(world, client) for client in queue] == [0, 0, 1, -1, -1]
        answer(world, queue[2])
        yield 0
        assert [where(world, client) for client in queue] == [0, 0, 1, -1, 1]
        answer(world, queue[1])
        yield 0
        assert [where(world, client) for client in queue] == [0, 0, 1, 0, 1]

    play(script, sticky())


def test_clients_that_wait_and_leave_let_their_node_serve_others_again() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0, max=1))
        yield 0
        first, second = visit(world, "fr=v0"), visit(world, "fr=v0")
        yield 0
        assert second.sock is not None
        second.sock.close()
        second.sock = None
        yield TICK
        assert waiting(world) == 0
        answer(world, first)
        yield 0
        third = visit(world)
        yield 0
        assert where(world, third) == 0

    play(script, sticky())


def test_a_paused_key_keeps_its_sessions_too() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0), node(world, 1), ["state", "foo.com", {"state": "paused"}])
        yield 0
        clients = [visit(world, "fr=v1"), visit(world, "fr=v1"), visit(world, "fr=v0")]
        yield TICK
        assert [where(world, client) for client in clients] == [-1, -1, -1]
        world.tell(["state", "foo.com", {"state": "serving"}])
        yield TICK
        assert [where(world, client) for client in clients] == [1, 1, 0]

    play(script, sticky(wait=0.0))


def test_a_session_stays_on_a_backup_level_and_has_a_router_behind_do_it_itself() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0), node(world, 1, backup=1), node(world, 2, backup=2, via="0123456789abcdef"))
        yield 0
        client = visit(world, "fr=v1")
        yield 0
        assert where(world, client) == 1
        world.tell(["gone", "foo.com", world.addresses[0]], ["gone", "foo.com", world.addresses[1]])
        yield 0
        through = visit(world)
        yield 0
        assert where(world, through) == 2
        answer(world, through)
        yield 0
        assert told(through) == []
        through.read()
        assert through.got.startswith(b"HTTP/1.1 200")

    play(script, sticky())


def test_clients_cease_to_stay_when_the_key_says_so() -> None:
    def script(world: World) -> Script:
        world.tell(node(world, 0), node(world, 1))
        yield 0
        world.tell(["pool", "foo.com", {"algorithm": "wrr", "wait": 1.0}], *(
            ["node", "foo.com", world.addresses[number], {}] for number in range(2)))  # fmt: skip
        yield 0
        clients = [visit(world, "fr=v0") for _ in range(2)]
        yield 0
        assert {where(world, client) for client in clients} == {0, 1}
        for client in clients:
            answer(world, client)
        yield 0
        assert [told(client) for client in clients] == [[], []]

    play(script, sticky())
