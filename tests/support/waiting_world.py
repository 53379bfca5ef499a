"""A relay whose time is a number (fuzz/world.py), and the words of tests in which requests wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuzz.world import Client, Script, Served, World
from support.uwsgi_client import request_packet

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
    id = str(client.number).encode()
    (worker,) = (worker for worker in world.served if worker.sock and worker.packet()[1][b"ID"] == id)  # type: ignore[index]
    worker.answer = data
    worker.send(MEGABYTE)
    assert worker.sock is not None
    worker.sock.close()
    worker.sock = None
    return worker


def waiting(world: World, key: bytes = b"foo.com") -> int:
    pool = world.relay.context.replica.pools[key]
    return 0 if pool.waiting is None else len(pool.waiting.queue)
