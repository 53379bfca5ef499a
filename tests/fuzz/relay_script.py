"""Any bytes as a script for :mod:`fuzz.world`: which client and worker does what, in which order, and what must hold.

Two bytes are one step.  When the bytes are used up, whoever behaved well so far finishes, and everything is closed.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from fuzz.world import LONG, Client, Script, Served, World, request, reset
from support.entries import node_row, offered

from fastroute.router.relay.level import READY
from fastroute.router.relay.states import WAITING

#: Steps of one script; more would only be slower.
MAX_STEPS = 120
#: modifier1 and modifier2 of the three nodes.
MODIFIERS = ((0, 0), (5, 7), (30, 0))
#: Seconds that requests wait for a node; keys that are not here have none.
WAITS = {"foo.com": 8.0, "bar.com": 3.0}
#: Requests that the second and the third node may have at once.
LIMITS = (0, 2, 1)
#: Seconds that peers may keep the relay waiting and still count as well-behaved: less than every time-out of a
#: connection.
PATIENCE = 20
SIZES = (3, 40, 5_000, 66_000, 1 << 20, 1 << 20)


def run_relay(data: bytes) -> None:
    """Whatever clients and workers do: no exception, no spinning, no descriptor left, nothing in flight at the end, and
    everyone got an unchanged beginning of what was meant for him, all of it where both sides behaved."""
    before = len(os.listdir("/proc/self/fd"))
    world = World()
    try:
        world.run(_script(world, data))
        _check(world)
    finally:
        world.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor is left"


def _script(world: World, data: bytes) -> Script:
    one, two, three = world.addresses
    keys = [["pool", key, {"wait": wait}] for key, wait in WAITS.items()]
    nodes = [
        _node(key, address, number, backup=backup)
        for key, address, backup, number in (
            ("foo.com", one, 0, 0), ("foo.com", two, 0, 1), ("foo.com", three, 1, 2), ("bar.com", three, 0, 2),
            ("dead.com", "127.0.0.1:1", 0, 0), ("dead.com", "/nowhere", 0, 0),
            ("hole.com", "127.0.0.1:1", 0, 0), ("hole.com", world.hole.address, 0, 0), ("hole.com", one, 0, 0),
        )
    ]  # fmt: skip
    world.tell(["reset"], *keys, *nodes, ["reserve", "fallback", [one]], ["done"])
    yield 0
    blameless = world.now
    for code, argument in zip(data[: 2 * MAX_STEPS : 2], data[1 : 2 * MAX_STEPS : 2], strict=False):
        pause = _step(world, code, argument)
        yield pause
        if not pause:
            _check_queues(world)
        _pair(world)
        if world.now - blameless > PATIENCE:
            _nobody_is_to_blame(world)
            blameless = world.now
    world.tell(["accept", 1], *(["state", key, {"state": "serving"}] for key in WAITS))
    for address in world.addresses:
        world.hear(address)
    yield from _finish(world)
    yield from _end(world)


def _step(world: World, code: int, argument: int) -> float:
    """One thing happens; how many seconds pass with it."""
    action, which = ACTIONS[code % len(ACTIONS)], code // len(ACTIONS)
    clients = [client for client in world.clients if client.sock]
    served = [one for one in world.served if one.sock]
    if action == "connect" or not clients:
        packet, whole = request(len(world.clients), argument)
        client = Client(len(world.clients), packet, whole)
        world.connect(client, which % 2)
        client.send(SIZES[which % 6])
    elif action in CLIENT:
        CLIENT[action](clients[which % len(clients)], SIZES[argument % 6])
    elif action == "accept" or (action in WORKER and not served):
        world.accept(argument)
    elif action in WORKER:
        WORKER[action](served[which % len(served)], SIZES[argument % 6])
    elif action == "pause":
        return (0.06, 0.6, 6.0)[which % 3]
    elif argument >= 248:
        _nobody_is_to_blame(world)
        return LONG
    else:
        _control_step(world, which, argument)
    return 0


def _client_shuts(client: Client, _size: int) -> None:
    client.clean &= client.sent == len(client.request)
    client.shut = True
    try:
        client.sock.shutdown(socket.SHUT_WR)  # type: ignore[union-attr]
    except OSError:
        client.clean = False


def _goes(peer: Client | Served, how: Callable[[socket.socket], None]) -> None:
    peer.clean = False
    how(peer.sock)  # type: ignore[arg-type]
    peer.sock = None


def _worker_shuts(one: Served, _size: int) -> None:
    one.clean &= one.sent > 0 and (one.tunnel or _has_all(one))
    one.shut = True
    try:
        one.sock.shutdown(socket.SHUT_WR)  # type: ignore[union-attr]
    except OSError:
        one.clean = False


def _worker_closes(one: Served, _size: int) -> None:
    # What was said before closing on an unread body may be lost on its way.
    clean = one.clean and one.sent > 0 and _has_all(one)
    _goes(one, socket.socket.close)
    one.clean = clean


CLIENT: dict[str, Callable[[Client, int], object]] = {
    "send": Client.send,
    "read": Client.read,
    "shut": _client_shuts,
    "close": lambda client, _: _goes(client, socket.socket.close),
    "reset": lambda client, _: _goes(client, reset),
}
WORKER: dict[str, Callable[[Served, int], object]] = {
    "worker sends": Served.send,
    "worker reads": Served.read,
    "worker shuts": _worker_shuts,
    "worker closes": _worker_closes,
    "worker resets": lambda one, _: _goes(one, reset),
}
#: By the first byte of a step; what leads on is there more often than what ends.
ACTIONS = (
    *["connect"] * 4, *["send"] * 4, *["read"] * 3, "shut", "close", "reset", *["accept"] * 4, *["worker sends"] * 4,
    *["worker reads"] * 4, "worker shuts", "worker closes", "worker resets", *["pause"] * 2, "control",
)  # fmt: skip


def _nobody_is_to_blame(world: World) -> None:
    """From now on anything may be lost."""
    peer: Client | Served
    for peer in [*world.clients, *world.served]:  # type: ignore[assignment]
        peer.clean = False


def _has_all(one: Served) -> bool:
    return one.client is not None and len(one.got) == len(one.client.request)


def _control_step(world: World, which: int, argument: int) -> None:
    number = which % 3
    address, key = world.addresses[number], "bar.com" if number == 2 else "foo.com"
    joins = _node(key, address, number, weight=1 + argument % 3, draining=argument % 2)
    what = argument % 10
    if what <= 1:
        world.deaf(address)
        _nobody_is_to_blame(world)
    elif what == 2:
        world.hear(address)
    elif what == 3:
        world.tell(["gone", key, address])
    elif what == 4:
        world.tell(["accept", which % 2])
    elif what == 5:
        world.tell(["retry", key, address])
    elif what == 6:
        algorithm = ("wrr", "lrc", "wlrc", "iphash", "random2")[which % 5]
        world.tell(["pool", key, {"algorithm": algorithm, "wait": WAITS[key]}])
    elif what == 7:
        state = ("paused", "serving", "maintenance", "serving")[which % 4]
        world.tell(["state", key, {"state": state, "seconds": 5.0, "allow": ["192.0.2.0/24"]}])
        if state == "maintenance":
            _nobody_is_to_blame(world)
    elif what == 8:
        world.tell(_node(key, address, number, limit=which % 4))
    else:
        world.tell(joins)


def _node(key: str, address: str, number: int, *, backup: int = 0, weight: int = 1, draining: int = 0,
          limit: int | None = None) -> list[Any]:  # fmt: skip
    row = node_row(key, address, weight, backup, draining, *MODIFIERS[number], "uwsgi")
    row[-1]["max"] = LIMITS[number] if limit is None else limit
    return row


def _check_queues(world: World) -> None:
    """While the relay sleeps: nobody waits who could be served, nobody is lost, and nobody has more than it may."""
    context, requests = world.relay.context, world.relay.requests
    states = Counter(request.transfer.state for request in requests.by_client.values())
    pools = [*context.replica.pools.values(), *context.replica.forgotten.values()]
    assert states[WAITING] == context.replica.queues.waiting
    assert states[WAITING] == sum(len(pool.waiting.queue) for pool in pools if pool.waiting is not None)
    running = Counter(r.transfer.upstream.node for r in requests.by_upstream.values() if r.transfer.upstream)
    for pool in pools:
        for node in pool.nodes.values():
            assert node.in_flight == running[node]
            assert node.state != READY or not node.at_limit
        served = offered(pool) and not pool.levels.full_without(())
        if served and pool.waiting is not None and not pool.waiting.paused:
            assert all(waiter.choosy for waiter in pool.waiting.queue.next_in_turn()), "it waits, and a node is free"


def _pair(world: World) -> None:
    """Whose request a worker has, as soon as that shows."""
    for one in world.served:
        if one.client is None and (packet := one.packet()) is not None:
            one.client = world.clients[int(packet[1][b"ID"])]


def _finish(world: World) -> Script:
    """Those who behaved go on to the end: the request is sent and read, then the answer."""
    deadline = time.monotonic() + 5
    progress, waited = True, 0
    while progress or not _all_done(world):
        if not progress:
            assert time.monotonic() < deadline, "well-behaved requests do not get on"
            time.sleep(0.0005 if waited > 5 else 0)
            waited += 1
        progress = False
        world.accept(0)
        for client in world.clients:
            if client.clean:
                progress |= bool(client.send(1 << 20)) | bool(client.read())
        for one in world.served:
            progress |= bool(one.read())
            _pair(world)
            if one.sock and _has_all(one) and not one.shut:
                progress |= bool(one.send(1 << 20))
                if one.sent == len(one.answer) and (one.ended or not _said_all(one)):
                    one.sock.close()
                    one.sock = None
                    progress = True
        yield 0 if progress or waited > 20 else 0.06


def _said_all(one: Served) -> bool:
    """Whether the client has ended its side, so that the worker must see an end as well."""
    return one.client is not None and one.client.shut and one.client.clean


def _all_done(world: World) -> bool:
    for client in world.clients:
        if _certain(world, client):
            (worker,) = (one for one in world.served if one.client is client)
            if not client.ended or (worker.tunnel and not _has_all(worker)):
                return False
    return True


def _certain(world: World, client: Client) -> bool:
    """Whether nothing happened to this request that excuses a loss."""
    workers = [one for one in world.served if one.client is client]
    return client.clean and client.whole and len(workers) == 1 and workers[0].clean


def _end(world: World) -> Script:
    world.close_all()
    yield 0
    world.accept(0)
    world.close_all()
    yield 0
    yield LONG
    yield LONG
    assert not world.relay.requests.by_upstream, "a request is in flight when all peers are gone"
    assert not world.relay.context.replica.queues.waiting, "a request waits when all clients are gone"
    assert not world.relay.requests.by_client, "a client is waited for when all peers are gone"


def _check(world: World) -> None:
    for pool in world.relay.context.replica.pools.values():
        assert not pool.leaving
        for node in pool.nodes.values():
            assert node.in_flight == 0, node
    for one in world.served:
        _check_request(world, one)
    for client in world.clients:
        _check_answer(world, client)


def _check_request(world: World, one: Served) -> None:
    packet = one.packet()
    if packet is None:
        return
    header, values = packet
    client = world.clients[int(values[b"ID"])]
    assert client.whole
    assert (header[0], header[3]) == MODIFIERS[world.addresses.index(one.address)], "modifiers are the node's"
    expected = header[:1] + client.request[1:3] + header[3:] + client.request[4:]
    assert expected[: client.sent].startswith(one.got), "a worker got what the client never sent"
    if _certain(world, client) and (one.tunnel or not one.shut):
        assert one.got == expected, "a part of a request was lost"


def _check_answer(world: World, client: Client) -> None:
    workers = [one for one in world.served if one.client is client]
    if b"POST" in client.request[:60]:
        assert len(workers) <= 1, "sent twice"
    assert len(workers) <= 2, "sent more than twice"
    # A worker that answered before it read is nobody's yet.
    possible = [one for one in world.served if one.client in (client, None)]
    if not any(one.told().startswith(client.got) for one in possible):
        ours = any(begin.startswith(client.got[:10]) for begin in (b"HTTP/1.1 4", b"HTTP/1.1 5"))
        assert ours, "not what a worker said"
    if _certain(world, client) and client.ended:
        told = workers[0].told()
        assert client.got == told or (not told and client.got.startswith(b"HTTP/1.1 502 ")), "a part was lost"
