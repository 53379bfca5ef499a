"""Requests that wait for a node: who waits, in which order, for how long, what ends it; on a clock that the test moves.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest
from fuzz.world import LONG, Client, Script, Served, World, reset
from support.uwsgi_client import request_packet

from fastroute.router.relay import loop, queueing
from fastroute.router.relay.limits import COLD_LIMIT
from fastroute.router.relay.request import Request

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)

MEGABYTE = 1 << 20
WAIT = 15.0
#: Longer than a tick of the loop.
TICK = 0.06
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def known(key: str = "foo.com", wait: float = WAIT, algorithm: str = "wrr") -> list[Any]:
    return ["pool", key, {"algorithm": algorithm, "wait": wait}]


def node(address: str, key: str = "foo.com", **settings: Any) -> list[Any]:
    return ["node", key, address, settings]


def paused(seconds: float | None = None, key: str = "foo.com") -> list[Any]:
    return ["state", key, {"state": "paused"} | ({} if seconds is None else {"seconds": seconds})]


def play(script: Callable[[World], Script], *ops: list[Any], **settings: Any) -> World:
    """The script in a world in which foo.com is known, and has the nodes of ``ops``."""
    world = World(**{"fallback": None, **settings})

    def whole() -> Script:
        world.tell(["reset"], *(ops or [known()]), ["done"])
        yield 0
        yield from script(world)
        world.close_all()

    try:
        world.run(whole())
    finally:
        world.close()
    assert world.relay.context.replica.queues.waiting == 0
    return world


def ask(world: World, host: str = "foo.com", front: int = 1, **more: Any) -> Client:
    """A client that has sent a request."""
    client = Client(len(world.clients), request_packet(host, ID=str(len(world.clients)), **more), True)
    world.connect(client, front)
    client.send(MEGABYTE)
    return client


def leaves(client: Client) -> None:
    assert client.sock is not None
    client.sock.close()
    client.sock = None


def arrived(world: World) -> list[str]:
    """The requests that workers have, in their order."""
    world.accept(0)
    for worker in world.served:
        worker.read()
    return [worker.packet()[1][b"ID"].decode() for worker in world.served if worker.packet()]  # type: ignore[index]


def answer(world: World, client: Client, data: bytes = ANSWER) -> Served:
    """The worker that has the request of ``client`` answers it and closes."""
    arrived(world)
    (worker,) = (one for one in world.served if one.sock and one.packet()[1][b"ID"] == str(client.number).encode())  # type: ignore[index]
    worker.answer = data
    worker.send(MEGABYTE)
    assert worker.sock is not None
    worker.sock.close()
    worker.sock = None
    return worker


def waiting(world: World, key: bytes = b"foo.com") -> int:
    pool = world.relay.context.replica.pools[key]
    return 0 if pool.waiting is None else len(pool.waiting.queue)


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
        assert b"X-Fastroute-Error: maintenance" in waits.got or arrived(world)[0] == "0"
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
