"""Any bytes as a script for :mod:`fuzz.world` with workers that speak HTTP/1.1 and keep their connections: what must
hold is that nobody ever gets an answer, or a part of a request, that was meant for somebody else.

Two bytes are one step, as in relay_script.py.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

from fuzz.world import LONG, Client, Script, World, pattern, reset, small_buffers
from support.entries import node_row

from fastroute.router.protocol.wire import encode_packet, encode_vars

MAX_STEPS = 120
SIZES = (3, 40, 5_000, 66_000, 1 << 20, 1 << 20)
#: What a worker says unasked, or behind its answer.
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


class Server:
    """The worker's end of one connection: what came, and what is still to be said."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket | None = sock
        self.got = b""
        #: Numbers of the requests seen so far, whole or not, and the body of each.
        self.seen: list[int] = []
        self.bodies: list[bytes] = []
        #: Numbers of those whose answer ends with the connection only, so that a part looks like the whole.
        self.until_close: list[int] = []
        self.answered = 0
        self.saying = b""
        self.closes = False

    def read(self) -> None:
        """All that is there, cut into requests."""
        while self.sock is not None:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.sock.close()
                self.sock = None
            self.got += data
        self.seen, self.bodies = [], []
        self.parse()

    def parse(self) -> None:
        """What came, as requests."""
        rest = self.got
        while (end := rest.find(b"\r\n\r\n") + 4) >= 4:
            head = rest[:end]
            assert head.partition(b" ")[0] in (b"GET", b"HEAD", b"POST"), head
            assert re.match(rb"[A-Z]+ / HTTP/1\.1\r\nHost: (foo|both)\.com\r\n", head), head
            self.seen.append(int(head.partition(b"\r\nX-Id: ")[2].partition(b"\r\n")[0]))
            if b"\r\nTransfer-Encoding: chunked\r\n" in head:
                body, rest = _dechunked(rest[end:])
            else:
                length = int(head.partition(b"\r\nContent-Length: ")[2].partition(b"\r\n")[0] or b"0")
                body, rest = rest[end : end + length], rest[end + length :]
            self.bodies.append(body)

    def begin(self, kind: int) -> None:
        """Answer the request that waits, if one does and nothing is being said."""
        if self.saying or self.answered == len(self.seen) or self.sock is None or self.closes:
            return
        number = self.seen[self.answered]
        self.answered += 1
        body = answer_to(number)
        length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body)
        half = len(body) // 2
        self.saying = (
            length + b"\r\n" + body,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n%x\r\n%b\r\n0\r\nT: x\r\n\r\n"
            % (half, body[:half], len(body) - half, body[half:]),
            length + b"Connection: close\r\n\r\n" + body,
            b"HTTP/1.1 200 OK\r\n\r\n" + body,
            b"HTTP/1.1 100 Continue\r\n\r\n" + length + b"\r\n" + body,
            length + b"\r\n" + body + EVIL,
            # Nobody expects what follows, and it may come when the next request is under way.
            b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
        )[kind % 8]  # fmt: skip
        self.closes = kind % 8 in (2, 3)
        if kind % 8 == 3:
            self.until_close.append(number)

    def say(self, size: int) -> None:
        """Up to ``size`` bytes of what is to be said."""
        if self.sock is None or not self.saying:
            return
        try:
            done = self.sock.send(self.saying[:size])
        except BlockingIOError:
            return
        except OSError:
            done, self.saying = 0, b""
        self.saying = self.saying[done:]
        if self.closes and not self.saying:
            self.sock.close()
            self.sock = None

    def say_unasked(self, size: int) -> None:
        """Up to ``size`` bytes of an answer, where nobody waits for one: else it would be his."""
        if self.sock is not None and not self.saying and self.answered == len(self.seen):
            self.saying = EVIL
            self.say(size)
            self.saying = b""


def _dechunked(data: bytes) -> tuple[bytes, bytes]:
    """The body at the beginning of ``data``, as far as it is there, and what is behind it."""
    body = b""
    while (end := data.find(b"\r\n")) >= 0:
        size = int(data[:end], 16)
        if not size:
            return body, data[end + 4 :]
        body += data[end + 2 : end + 2 + size]
        data = data[end + 2 + size + 2 :]
    return body, b""


def answer_to(number: int) -> bytes:
    """The body that only the request ``number`` may get."""
    return pattern(number, (5, 500, 70_000, 300_000)[number % 4])


def body_of(number: int, kind: int) -> bytes:
    return pattern(number + 1000, (0, 0, 10, 200_000)[kind % 4])


def run_kept(data: bytes) -> None:
    """Whatever clients and HTTP workers do: no exception, no spinning, no descriptor left, nothing in flight or kept at
    the end; every client got a beginning of its own answer or one of ours, every worker the beginning of what a client
    sent, what may not be repeated once, the rest twice at most."""
    run_world(lambda world, servers: _script(world, servers, data), _check)


def run_world(script: Callable[[World, list[Server]], Script], check: Callable[[World, list[Server]], None]) -> None:
    """Play ``script`` in a world of its own, then ``check`` what became of it; no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    world = World()
    servers: list[Server] = []
    try:
        world.run(script(world, servers))
        check(world, servers)
    finally:
        for server in servers:
            if server.sock is not None:
                server.sock.close()
        world.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor is left"


def close_peers(world: World, servers: list[Server]) -> None:
    """Clients and workers go."""
    peer: Client | Server
    for peer in [*world.clients, *servers]:  # type: ignore[assignment]
        if peer.sock is not None:
            peer.sock.close()
            peer.sock = None


def _nodes(world: World) -> list[list[object]]:
    return [node_row("foo.com", address, 1, 0, 0, 0, 0, "http") for address in world.addresses[:2]]


def _script(world: World, servers: list[Server], data: bytes) -> Script:
    world.tell(["reset"], *_nodes(world), ["done"])
    yield 0
    for code, argument in zip(data[: 2 * MAX_STEPS : 2], data[1 : 2 * MAX_STEPS : 2], strict=False):
        yield _step(world, servers, code, argument)
        for server in servers:
            server.read()
    accept(world, servers)
    close_peers(world, servers)
    yield 0
    world.close_all()
    yield LONG
    yield LONG
    assert not world.relay.requests.by_upstream, "a request is in flight when all peers are gone"
    assert not world.relay.requests.by_client, "a client is waited for when all peers are gone"
    assert not world.relay.context.idle.waiting, "a connection is kept when all peers are gone"


#: By the first byte of a step.
ACTIONS = (
    *["connect"] * 5, *["send"] * 4, *["read"] * 3, "client shuts", "client closes", "client resets", *["accept"] * 4,
    *["begin"] * 5, *["say"] * 5, "evil", "server closes", "server resets", *["pause"] * 3, "control",
)  # fmt: skip


def _step(world: World, servers: list[Server], code: int, argument: int) -> float:
    action, which = ACTIONS[code % len(ACTIONS)], code // len(ACTIONS) + argument
    clients = [client for client in world.clients if client.sock]
    live = [server for server in servers if server.sock]
    size = SIZES[argument % 6]
    if action == "connect" or not clients:
        _connect(world, argument)
    elif action in ("send", "read"):
        client = clients[which % len(clients)]
        client.send(size) if action == "send" else client.read(size)
    elif action.startswith("client"):
        client_goes(clients[which % len(clients)], action)
    elif action == "accept" or (not live and action != "pause"):
        accept(world, servers)
    elif action == "pause":
        return (0.06, 0.6, 1.5, 6.0, 31.0)[argument % 5]
    elif action == "control":
        address = world.addresses[argument % 2]
        world.tell(*([["gone", "foo.com", address]] if argument & 2 else _nodes(world)))
    else:
        if action == "evil" and argument % 2:
            # In the same turn of the relay: which of the two it sees first must not matter.
            _connect(world, 0)
        server_acts(live[which % len(live)], action, argument, size)
    return 0


def _connect(world: World, argument: int) -> None:
    number = len(world.clients)
    body = body_of(number, argument)
    # A worker answers HEAD with a body, too (gunicorn 23).
    method = "POST" if body else "HEAD" if argument & 8 else "GET"
    values = {"REQUEST_METHOD": method, "REQUEST_URI": "/", "HTTP_HOST": "foo.com",
              "HTTP_X_ID": str(number), "CONTENT_LENGTH": str(len(body)) if body else ""}  # fmt: skip
    block = encode_vars((name.encode(), value.encode()) for name, value in values.items())
    # What follows a body belongs to nobody.
    behind = b"GET /smuggled HTTP/1.1\r\n\r\n" if argument % 16 > 12 else b""
    client = Client(number, encode_packet(0, 0, block) + body + behind, True)
    world.connect(client, argument // 16 % 2)
    small_buffers(client.sock)  # type: ignore[arg-type]
    client.send(SIZES[argument // 32 % 6])


def client_goes(client: Client, action: str) -> None:
    """The client ends its side, closes, or resets."""
    assert client.sock is not None
    if action == "client shuts":
        client.shut = True
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return
    client.sock.close() if action == "client closes" else reset(client.sock)
    client.sock = None


def server_acts(server: Server, action: str, argument: int, size: int) -> None:
    """What a worker does of its own."""
    server.read()
    if action == "begin":
        server.begin(argument)
        server.say(size)
    elif action == "say":
        server.say(size)
    elif action == "evil":
        server.say_unasked(size)
    elif server.sock is not None:
        server.sock.close() if action == "server closes" else reset(server.sock)
        server.sock = None


def accept(
    world: World,
    servers: list[Server],
    made: Callable[[socket.socket, socket.socket], Server] = lambda listener, sock: Server(sock),
) -> None:
    """Every connection that waits for a worker gets one, which is ``made`` of the listening socket and its own."""
    for listener in world.listeners.values():
        while listener is not None:
            try:
                sock, _ = listener.accept()
            except OSError:
                break
            sock.setblocking(False)
            if listener.family == socket.AF_INET:
                # Else what is said unasked waits for the relay's next word, and is an answer to it.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            servers.append(made(listener, sock))


def _check(world: World, servers: list[Server]) -> None:
    for pool in world.relay.context.replica.pools.values():
        for node in pool.nodes.values():
            assert node.in_flight == 0, node
            assert not node.idle
    times: dict[int, int] = {}
    for server in servers:
        for number, body in zip(server.seen, server.bodies, strict=True):
            times[number] = times.get(number, 0) + 1
            client = world.clients[number]
            sent = client.request.partition(b"CONTENT_LENGTH")[2]
            assert body in sent, "a worker got what the client never sent"
    for client in world.clients:
        most = 1 if b"POST" in client.request[:60] else 2
        assert times.get(client.number, 0) <= most, "sent too often"
        head, _, body = client.got.partition(b"\r\n\r\n")
        assert b"evil" not in client.got, "what was said unasked became an answer"
        if head and not head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
            assert answer_to(client.number).startswith(body), "an answer that was meant for somebody else"
            assert body == b"" or times.get(client.number), "an answer from nowhere"
