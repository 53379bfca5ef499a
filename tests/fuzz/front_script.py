"""Any bytes as a script for :mod:`fuzz.world` with HTTP/1.1 clients that keep their connections and send one request
behind the other, before workers of both protocols: each request gets its own answer or one of ours, in order, or the
connection is seen to break off; and nothing in a request becomes another one on the other side.

Two bytes are one step, as in relay_script.py.
"""

from __future__ import annotations

import h11
from fuzz.kept_script import ACTIONS, SIZES, Server, accept, answer_to, client_goes, close_peers, run_world, server_acts
from fuzz.world import LONG, Client, Script, World, pattern
from support.entries import node_row

from fastroute.router.protocol.wire import decode_vars

MAX_STEPS = 120
#: Longer than the time for which a connection without a request is kept.
KEPT = 80.0
HOSTS = ("foo.com", "foo.com", "bar.com", "both.com", "nobody.com")
#: What would be a request of its own, if a body were taken for one.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: foo.com\r\n\r\n"


class UwsgiServer(Server):
    """The same for a worker that speaks uwsgi."""

    def parse(self) -> None:
        """What came, as requests."""
        rest = self.got
        while len(rest) >= 4 and len(rest) >= (end := 4 + (rest[1] | rest[2] << 8)):
            assert rest[:1] == b"\0", "no packet"
            values = dict(decode_vars(rest[4:end]))
            assert (values[b"PATH_INFO"], values[b"HTTP_HOST"][-4:]) == (b"/", b".com"), values
            assert b"HTTP_TRANSFER_ENCODING" not in values
            length = int(values[b"CONTENT_LENGTH"] or b"0")
            self.seen.append(int(values[b"HTTP_X_ID"]))
            self.bodies.append(rest[end : end + length])
            rest = rest[end + length :]


class Asked:
    """One request: its number among all, and what is known of it."""

    def __init__(self, number: int, kind: int) -> None:
        self.number = number
        self.host = HOSTS[kind // 8 % 5]
        self.body = (b"", b"", pattern(number + 1000, 10) + SMUGGLED, pattern(number + 1000, 120_000))[kind % 4]
        self.method = "POST" if self.body else "HEAD" if kind & 4 else "GET"
        chunked = self.body and kind & 4
        lines = [f"{self.method} / HTTP/1.1", f"Host: {self.host}", f"X-Id: {number}"]
        lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(self.body)}")
        sent = self.body
        if chunked:
            parts = (sent[:7], sent[7:])
            sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        self.text = "\r\n".join([*lines, "", ""]).encode() + sent


class Pipeline(Client):
    """A client with several requests on its connection."""

    def __init__(self, number: int, asked: list[Asked]) -> None:
        super().__init__(number, b"".join(request.text for request in asked), True)
        self.asked = asked


def run_front(data: bytes) -> None:
    """Whatever HTTP clients and workers do: no exception, no spinning, no descriptor left, nothing in flight or kept at
    the end, every answer where it belongs, what may not be repeated sent once."""
    asked: list[Asked] = []
    run_world(
        lambda world, servers: _script(world, servers, asked, data),
        lambda world, servers: _check(world, servers, asked),
    )


def _nodes(world: World) -> list[list[object]]:
    one, two, three = world.addresses
    rows = (("foo.com", one, "http"), ("foo.com", two, "http"), ("bar.com", three, "uwsgi"), ("both.com", one, "http"),
            ("both.com", three, "uwsgi"))  # fmt: skip
    return [node_row(key, address, 1, 0, 0, 0, 0, protocol) for key, address, protocol in rows]


def _script(world: World, servers: list[Server], asked: list[Asked], data: bytes) -> Script:
    world.tell(["reset"], *_nodes(world), ["done"])
    yield 0
    for code, argument in zip(data[: 2 * MAX_STEPS : 2], data[1 : 2 * MAX_STEPS : 2], strict=False):
        yield _step(world, servers, asked, code, argument)
        for server in servers:
            server.read()
    _accept(world, servers)
    for client in world.clients:
        client.read()
    close_peers(world, servers)
    yield 0
    world.close_all()
    yield LONG
    yield LONG
    requests = world.relay.requests
    assert not requests.by_upstream, "a request is in flight when all peers are gone"
    assert not requests.by_client, "a client is waited for when all peers are gone"
    assert not requests.kept, "a client's connection is kept when all peers are gone"


def _accept(world: World, servers: list[Server]) -> None:
    uwsgi = world.listeners[world.addresses[2]]
    accept(world, servers, lambda listener, sock: UwsgiServer(sock) if listener is uwsgi else Server(sock))


def _step(world: World, servers: list[Server], asked: list[Asked], code: int, argument: int) -> float:
    action, which = ACTIONS[code % len(ACTIONS)], code // len(ACTIONS) + argument
    clients = [client for client in world.clients if client.sock]
    live = [server for server in servers if server.sock]
    size = SIZES[argument % 6]
    if action == "connect" or not clients:
        requests = [Asked(len(asked) + at, argument + 29 * at) for at in range(1 + which % 4)]
        asked += requests
        client = Pipeline(len(world.clients), requests)
        world.connect(client, 2 + argument // 16 % 2)
        client.send(SIZES[argument // 32 % 6])
    elif action in ("send", "read"):
        one = clients[which % len(clients)]
        one.send(size) if action == "send" else one.read(size)
    elif action.startswith("client"):
        client_goes(clients[which % len(clients)], action)
    elif action == "accept" or (not live and action != "pause"):
        _accept(world, servers)
    elif action == "pause":
        return (0.06, 0.6, 1.5, 6.0, KEPT)[argument % 5]
    elif action == "control":
        address = world.addresses[argument % 2]
        world.tell(*([["gone", "foo.com", address]] if argument & 2 else _nodes(world)))
    else:
        server_acts(live[which % len(live)], action, argument, size)
    return 0


def _check(world: World, servers: list[Server], asked: list[Asked]) -> None:
    for pool in world.relay.context.replica.pools.values():
        for node in pool.nodes.values():
            assert node.in_flight == 0, node
    times: dict[int, int] = {}
    for server in servers:
        for number, body in zip(server.seen, server.bodies, strict=True):
            times[number] = times.get(number, 0) + 1
            assert asked[number].body.startswith(body), "a worker got a body that was meant for another request"
    for request in asked:
        assert times.get(request.number, 0) <= (1 if request.body else 2), "sent too often"
    until_close = {number for server in servers for number in server.until_close}
    for client in world.clients:
        assert isinstance(client, Pipeline)
        _check_answers(client, times, until_close)


def _check_answers(client: Pipeline, times: dict[int, int], until_close: set[int]) -> None:
    """Read what it got as h11 does: an answer for each request in order, until the first that is not whole."""
    assert b"evil" not in client.got, "what was said unasked became an answer"
    if not client.got:
        return
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.receive_data(client.got)
    for request in client.asked:
        peer.send(h11.Request(method=request.method, target="/", headers=[("Host", "a")]))
        peer.send(h11.EndOfMessage())
        head = peer.next_event()
        if not isinstance(head, h11.Response):
            assert head is h11.NEED_DATA, head
            return
        body = b""
        while isinstance(event := peer.next_event(), h11.Data):
            body += bytes(event.data)
        ours = any(name == b"x-fastroute-error" for name, _ in head.headers)
        if not ours:
            assert times.get(request.number), "an answer from nowhere"
            expected = b"" if request.method == "HEAD" or head.status_code in (204, 304) else answer_to(request.number)
            assert expected.startswith(body), "an answer that was meant for somebody else"
            whole = not isinstance(event, h11.EndOfMessage) or body == expected
            assert whole or request.number in until_close, "a part looks like the whole"
        if not isinstance(event, h11.EndOfMessage) or peer.their_state is not h11.DONE:
            return
        peer.start_next_cycle()
