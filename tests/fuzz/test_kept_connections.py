"""What depends on which of two events the relay sees first, so that only the world of the fuzzer can arrange it."""

from __future__ import annotations

from fuzz.kept_script import Server, accept, answer_to
from fuzz.world import Client, Script, World
from support.entries import node_row
from support.uwsgi_client import request_packet


def test_what_a_worker_says_in_the_turn_in_which_a_request_comes_is_not_its_answer() -> None:
    """The relay learns of the request first, so only a look at the connection tells."""
    world = World()
    servers: list[Server] = []

    def clients() -> Script:
        world.tell(["reset"], node_row("foo.com", world.addresses[0], 1, 0, 0, 0, 0, "http"), ["done"])
        yield 0
        for number in range(2):
            world.connect(Client(number, request_packet("foo.com", HTTP_X_ID=str(number)), True), 0)
            world.clients[-1].send(1 << 20)
            if number:
                servers[0].say_unasked(1 << 20)
            yield 0
            accept(world, servers)
            servers[-1].read()
            servers[-1].begin(0)
            servers[-1].say(1 << 20)
            yield 0
            world.clients[-1].read()

    try:
        world.run(clients())
        assert [client.got.partition(b"\r\n\r\n")[2] for client in world.clients] == [answer_to(0), answer_to(1)]
        assert len(servers) == 2
    finally:
        for server in servers:
            if server.sock is not None:
                server.sock.close()
        world.close()
