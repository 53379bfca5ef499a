"""Connections that wait for their peer: they have their time, their number is bounded, and others are answered."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fastroute.router.admin_http import server as server_module
from fastroute.router.admin_http.connections import NOTHING, READER, REQUEST, OpenConnections
from fastroute.router.admin_http.server import AdminServer


class Fake:
    def __init__(self, waits_for: int, since: float) -> None:
        self.waits_for, self.since, self.ended = waits_for, since, False

    def end(self) -> None:
        self.ended = True


def test_one_that_waits_for_its_request_gives_way_first_then_one_whose_peer_does_not_read_then_the_oldest() -> None:
    connections = OpenConnections(5)
    fakes = [Fake(NOTHING, 1), Fake(READER, 2), Fake(REQUEST, 4), Fake(REQUEST, 3), Fake(NOTHING, 0)]
    for fake in fakes:
        connections.add(fake)
    order = []
    for number in range(5):
        connections.add(Fake(NOTHING, 9 + number))
        order += [fakes.index(fake) for fake in fakes if fake.ended and fakes.index(fake) not in order]
    assert order == [3, 2, 1, 4, 0]
    assert len(connections) == 5
    assert connections.ended == {"slow": 0, "limit": 5}


def test_who_is_closed_already_is_ended_no_more() -> None:
    connections, fake = OpenConnections(5), Fake(REQUEST, 0)
    connections.add(fake)
    connections.remove(fake)
    connections.too_slow(fake)
    assert not fake.ended
    assert connections.ended["slow"] == 0


async def _hello(request: Request) -> Response:
    return PlainTextResponse(await request.body() or b"hello")


async def _large(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 65_536

    return StreamingResponse(pieces())


async def _forever(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    return StreamingResponse(pieces())


Scenario = Callable[[AdminServer, int], Awaitable[None]]


def serve(scenario: Scenario, limit: int = 8) -> AdminServer:
    async def main() -> AdminServer:
        routes = [Route("/", _hello, methods=["GET", "POST"]), Route("/large", _large), Route("/forever", _forever)]
        server = AdminServer(Starlette(routes=routes), OpenConnections(limit))
        sock = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(server.answer([sock]))
        async with asyncio.timeout(20):
            await scenario(server, sock.getsockname()[1])
        server.finish()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return server

    return asyncio.run(main())


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
        GET + b"GET / HT",
        GET.replace(b"/ ", b"/large "),
    ],
    ids=["nothing", "half a head", "half a body", "half a second request", "reads nothing"],
)
def test_a_peer_has_its_time(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT", 0.2)
    monkeypatch.setattr(server_module, "READER_TIMEOUT", 0.2)
    ended = asyncio.Event()

    async def scenario(server: AdminServer, port: int) -> None:
        too_slow = server.connections.too_slow

        def seen(connection: server_module._HttpConnection) -> None:
            too_slow(connection)
            ended.set()

        server.connections.too_slow = seen  # type: ignore[assignment,method-assign]
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        writer.write(sent)
        await ended.wait()
        writer.close()

    assert serve(scenario).connections.ended == {"slow": 1, "limit": 0}


def test_an_answer_that_goes_on_has_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT", 0.05)

    async def scenario(server: AdminServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + GET.replace(b"/ ", b"/forever "))
        for _ in range(40):
            assert await reader.read(100)
        writer.close()

    assert serve(scenario).connections.ended == {"slow": 0, "limit": 0}


@pytest.mark.parametrize("sent", [b"", b"GET /forever HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_others_are_answered_however_many_there_are(sent: bytes) -> None:
    async def scenario(server: AdminServer, port: int) -> None:
        writers = []
        for _ in range(30):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writers.append(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert len(server.connections) <= 8
        for one in (*writers, writer):
            one.close()

    assert serve(scenario).connections.ended["limit"] == 23
