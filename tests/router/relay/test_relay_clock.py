"""What takes time, or must not happen however long one waits: the relay's loop on a clock that the test moves.

The relay, its sockets, clients and workers are real; only time is not (fuzz/world.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fuzz.world import SETTINGS, Client, Script, Served, World
from support.entries import node_row
from support.uwsgi_client import request_packet

from fastroute.router.protocol.latency import ANSWER, CONNECT
from fastroute.router.relay import loop
from fastroute.router.relay.context import RelayContext

if loop.__file__.endswith(".so"):
    pytest.skip("the compiled loop takes no clock but the machine's", allow_module_level=True)

MEGABYTE = 1 << 20
CLIENT_TIMEOUT, IDLE_TIMEOUT_HTTP = float(SETTINGS["client_timeout"]), 50.0  # type: ignore[arg-type]
ANSWER_TIMEOUT, CONNECT_TIMEOUT = float(SETTINGS["timeout"]), float(SETTINGS["connect_timeout"])  # type: ignore[arg-type]
#: Seconds within which the relay notices who left while nothing else happens (TICK of loop.py, twice).
SEEN_WITHIN = 0.1


def play(script: Callable[[World], Script], **settings: object) -> World:
    """The script in a world with one node for foo.com, and one for hole.com, where connecting hangs."""
    world = World(**settings)

    def whole() -> Script:
        rows = (("foo.com", world.addresses[0]), ("hole.com", world.hole.address))
        world.tell(["reset"], *(node_row(key, address) for key, address in rows), ["done"])
        yield 0
        yield from script(world)
        world.close_all()

    try:
        world.run(whole())
    finally:
        world.close()
    return world


def ask(world: World, host: str = "foo.com", **more: Any) -> Client:
    """A client that has sent a request."""
    client = Client(len(world.clients), request_packet(host, **more), True)
    world.connect(client, 1)
    client.send(MEGABYTE)
    return client


def serve(world: World, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Served:
    """The worker's end of the newest connection, which means to say ``answer``."""
    world.accept(0)
    worker = world.served[-1]
    worker.read()
    worker.answer = answer
    return worker


def test_a_tunnel_outlives_the_time_out_of_answers() -> None:
    def script(world: World) -> Script:
        client = ask(world, HTTP_UPGRADE="websocket")
        yield 0
        worker = serve(world, b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"one" + b"two")
        worker.send(len(worker.answer) - 6)
        yield 0
        for word in (b"one", b"two"):
            yield ANSWER_TIMEOUT + 1
            worker.send(3)
            yield 0
            client.read()
            assert client.got.endswith(word)
            assert not client.ended

    play(script)


@pytest.mark.parametrize("side", ["client", "worker"])
def test_who_does_not_read_stops_the_other_side_and_waiting_costs_nothing(side: str) -> None:
    def script(world: World) -> Script:
        client = ask(world)
        yield 0
        worker = serve(world, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(50 * MEGABYTE))
        sender: Client | Served = worker
        if side == "worker":
            client.request += bytes(50 * MEGABYTE)
            sender = client
        idle = 0
        while idle < 3:
            idle = 0 if sender.send(MEGABYTE) else idle + 1
            yield 0
        assert sender.sent < 10 * MEGABYTE
        for _ in range(5):
            yield SEEN_WITHIN
        assert world.wakeups == 0, "nothing new, and the relay was woken"

    play(script)


def test_a_busy_stream_does_not_hide_who_leaves_after_it() -> None:
    def script(world: World) -> Script:
        ask(world)
        yield 0
        stream = serve(world, bytes(MEGABYTE))
        leaver = ask(world)
        yield 0
        left = serve(world)
        assert leaver.sock is not None
        leaver.sock.close()
        leaver.sock = None
        for _ in range(20):
            stream.send(100)
            yield SEEN_WITHIN / 10
            left.read()
            if left.ended:
                return
        raise AssertionError("the worker of the client that left was not told")

    play(script)


def test_a_trial_whose_client_left_is_left_to_the_next_request() -> None:
    def script(world: World) -> Script:
        for _ in range(2):
            client = ask(world, "hole.com")
            yield 0
            yield CONNECT_TIMEOUT + 1
            yield 0
            client.read()
            assert b" 502 " in client.got
            yield CONNECT_TIMEOUT
        leaver = ask(world, "hole.com")
        yield 0
        assert len(world.relay.requests.by_client) == 1
        assert leaver.sock is not None
        leaver.sock.close()
        leaver.sock = None
        yield SEEN_WITHIN
        yield SEEN_WITHIN
        assert not world.relay.requests.by_client, "gone long before the time-out of connecting"
        client = ask(world, "hole.com")
        yield 0
        yield CONNECT_TIMEOUT + 1
        yield 0
        client.read()
        assert b" 502 " in client.got, "tried, not refused unseen"

    play(script)


def test_sighup_waits_as_long_as_it_takes_and_sigterm_ends_that() -> None:
    def script(world: World) -> Script:
        client = ask(world)
        yield 0
        serve(world)
        world.relay.leave()
        yield 35
        assert world.relay.requests.by_client, "longer than the drain time-out, and still served"
        world.relay.drain()
        yield 5
        yield 0
        client.read()
        assert client.ended

    play(script, drain_timeout=4.0)


def test_idle_costs_nothing() -> None:
    def script(world: World) -> Script:
        client = ask(world)
        yield 0
        worker = serve(world)
        worker.send(MEGABYTE)
        assert worker.sock is not None
        worker.sock.close()
        worker.sock = None
        yield 0
        client.read()
        client.read()
        assert client.ended
        for _ in range(3):
            yield 1.0
        yield 0
        assert world.sleeps == -1, "no tick while there is nothing to watch"

    play(script)


def test_times_of_connecting_and_answering_are_counted_per_node() -> None:
    def script(world: World) -> Script:
        ask(world)
        yield 0
        worker = serve(world)
        yield 0.3
        worker.send(MEGABYTE)
        assert worker.sock is not None
        worker.sock.close()
        worker.sock = None
        yield 0
        yield 1.0
        yield 0
        world.listen()
        key, *_, (connect, answer), left = [row for report in world.reports for row in report["nodes"]][-1]
        assert (key, left) == ("foo.com", 0)
        assert (connect[0], sum(connect[:-1]), len(connect)) == (1, 1, len(CONNECT) + 2)
        assert (answer[ANSWER.index(0.5)], sum(answer[:-1])) == (1, 1)
        assert answer[-1] == pytest.approx(0.3)

    play(script)


def test_with_post_buffering_no_worker_is_asked_before_the_body_is_whole() -> None:
    def script(world: World) -> Script:
        client = Client(0, request_packet("foo.com", "POST", body=b"body"), True)
        world.connect(client, 1)
        client.send(len(client.request) - 1)
        yield 0
        yield 30
        yield 0
        world.accept(0)
        assert not world.served
        client.send(1)
        yield 0
        world.accept(0)
        assert len(world.served) == 1

    play(script, post_buffering=4096)


def http_client(world: World, text: str) -> Client:
    """A client of the HTTP front that means to send ``text``."""
    client = Client(len(world.clients), text.encode(), True)
    world.connect(client, 3)
    return client


def test_all_of_a_head_has_the_clients_time_however_steadily_it_comes() -> None:
    def script(world: World) -> Script:
        client = http_client(world, "GET / HTTP/1.1\r\nHost: foo.com\r\n" + "X: y\r\n" * 100)
        passed = 0.0
        while not client.got:
            client.send(4)
            yield 1.0
            client.read()
            passed += 1.0
            assert passed < 2 * CLIENT_TIMEOUT, "a byte now and then kept the connection"
        assert passed >= CLIENT_TIMEOUT
        assert client.got.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nConnection: close\r\n" in client.got
        assert not world.served
        world.accept(0)
        assert not world.served, "no worker was asked"

    play(script)


def test_a_connection_without_a_request_is_kept_as_long_as_the_option_says() -> None:
    def script(world: World) -> Script:
        client = http_client(world, "GET / HTTP/1.1\r\nHost: nobody.com\r\n\r\n" * 2)
        client.send(len(client.request) // 2)
        yield 0
        yield IDLE_TIMEOUT_HTTP - 2
        client.send(MEGABYTE)
        yield 0
        client.read()
        assert client.got.count(b"HTTP/1.1 404 ") == 2
        yield IDLE_TIMEOUT_HTTP - 2
        client.read()
        assert not client.ended
        yield 4.0
        yield 0
        client.read()
        assert client.ended

    play(script, idle_timeout_http=IDLE_TIMEOUT_HTTP, fallback=[])


def test_what_is_remembered_of_warnings_keeps_no_node_that_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them are remembered, and a node that is kept keeps its pool and its times: 4 MB in an hour."""
    subjects: list[Any] = []
    monkeypatch.setattr(RelayContext, "warn", lambda _context, subject, *_: subjects.append(subject))

    def script(world: World) -> Script:
        ask(world)
        yield 0
        worker = serve(world)
        assert worker.sock is not None
        worker.sock.close()
        worker.sock = None
        yield 0
        yield 0

    play(script)
    assert subjects
    remembered = [part for subject in subjects for part in (subject if isinstance(subject, tuple) else (subject,))]
    assert {type(part) for part in remembered} == {str}
