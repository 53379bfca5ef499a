"""Both routers, ours and uWSGI's own, with the few things that a scenario does to them.

Workers here are scripted (support.workers): what a scenario looks at is which of them got what, and in which order.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from support.programs import Router, UwsgiFastRouter, free_port, wait_for
from support.uwsgi_client import Answer, ask, read_answer, request_packet, send_datagram, subscription_packet
from support.workers import Connection, Worker, response


class Subject:
    """One of the two routers."""

    def __init__(self, name: str, port: int, stats_port: int) -> None:
        self.name, self.port, self._stats_port = name, port, stats_port
        #: The original begins with the node that joined last, and goes on with the first.
        self.begins_with_the_last = name != "ours"

    def ask(self, host: str | None, **rest: str | bytes) -> Answer:
        return ask(self.port, host, **rest)

    def connect(self, data: bytes = b"") -> socket.socket:
        """A client's connection on which ``data`` has been sent."""
        client = socket.create_connection(("127.0.0.1", self.port), 10)
        client.sendall(data)
        return client

    def pools(self) -> dict[str, list[dict[str, object]]]:
        """Nodes by key, as the stats socket tells."""
        with socket.create_connection(("127.0.0.1", self._stats_port), 10) as connection:
            data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return {pool["key"]: pool["nodes"] for pool in json.loads(data)["subscriptions"]}

    def nodes(self, key: str) -> list[str]:
        """Live nodes of a key."""
        return sorted(str(node["name"]) for node in self.pools().get(key, []) if not node["death_mark"])

    def announce(self, key: str, address: str, **fields: Any) -> None:
        """One announcement, and nobody waits for its effect."""
        send_datagram(self.port, subscription_packet(key, address, **fields))

    def subscribe(self, key: str, address: str, **fields: object) -> None:
        self.announce(key, address, **fields)
        wait_for(lambda: address in self.nodes(key), f"{self.name}: {address} serves {key}")
        self._wait_for_relays()

    def subscribe_in_turn(self, key: str, addresses: Sequence[str]) -> None:
        """So that ``addresses`` are tried in their order."""
        for address in (*addresses[1:], addresses[0]) if self.begins_with_the_last else addresses:
            self.subscribe(key, address)

    def settle(self) -> None:
        """Until what was announced before counts: the subscription socket is read in order."""
        self.subscribe("settled.example", f"127.0.0.1:{free_port()}")

    def unsubscribe(self, key: str, address: str) -> None:
        send_datagram(self.port, subscription_packet(key, address, leave=True))
        wait_for(lambda: address not in self.nodes(key), f"{self.name}: {address} no longer serves {key}")
        self._wait_for_relays()

    def _wait_for_relays(self) -> None:
        """Ours says in its stats what control knows, and acks when every relay knows it, too."""
        if self.name == "ours":
            wait_for(self._acks, "ours: an ack")

    def _acks(self) -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.settimeout(0.2)
            nothing = subscription_packet("nobody.example", "127.0.0.1:1", leave=True, ack=1)
            sender.sendto(nothing, ("127.0.0.1", self.port))
            try:
                return bool(sender.recv(4096))
            except TimeoutError:
                return False

    def spread(self, host: str, requests: int) -> Counter[str]:
        """How many of ``requests``, one after the other, each worker answered."""
        return Counter(self.ask(host).node for _ in range(requests))


class Named(Worker):
    """A worker that answers with its name; while ``held`` is set, it keeps its requests waiting."""

    def __init__(self, name: str, **where: object) -> None:
        self.name = name
        self.go = threading.Event()
        self.go.set()
        super().__init__(self._play_by_name, **where)  # type: ignore[arg-type]

    def _play_by_name(self, connection: Connection) -> None:
        connection.read_packet()
        body = connection.body()
        self.go.wait(10)
        connection.send(response(b"%s %d" % (self.name.encode(), len(body))))


class Pair(NamedTuple):
    """The two, started alike."""

    ours: Subject
    original: Subject


@contextmanager
def both(ours: Sequence[str] = (), original: Sequence[str] = ()) -> Iterator[Pair]:
    """Both routers with these options."""
    stats = free_port()
    with Router("--stats", f"127.0.0.1:{stats}", *ours) as router, UwsgiFastRouter(*original) as fast_router:
        yield Pair(
            Subject("ours", router.port, stats), Subject("the original", fast_router.port, fast_router.stats_port)
        )


class Held:
    """Requests that are being worked on, and stay so until the block ends."""

    def __init__(self, subject: Subject, workers: Sequence[Named]) -> None:
        self.subject, self.workers = subject, workers
        self.clients: list[socket.socket] = []

    def more(self, host: str, count: int) -> Counter[str]:
        """``count`` more, each once the one before has reached its worker; whom they reached."""
        before = Counter({worker.name: len(worker.requests) for worker in self.workers})
        for _ in range(count):
            total = sum(len(worker.requests) for worker in self.workers)
            self.clients.append(self.subject.connect(request_packet(host)))
            wait_for(
                lambda total=total: sum(len(worker.requests) for worker in self.workers) > total, "it reached a worker"
            )
        return Counter({worker.name: len(worker.requests) for worker in self.workers}) - before

    def settle(self) -> None:
        """Until those whose worker was let go have their answers, and the router knows."""
        for client in [client for client in self.clients if select.select([client], [], [], 0.2)[0]]:
            assert read_answer(client).status == 200
            client.close()
            self.clients.remove(client)

    def answer(self) -> Answer:
        """What the latest one gets, once its worker has been let go."""
        with self.clients.pop() as client:
            return read_answer(client)

    def __enter__(self) -> Held:
        for worker in self.workers:
            worker.go.clear()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.go.set()
        for client in self.clients:
            read_answer(client)
            client.close()


def gets_a_request(listener: socket.socket, subject: Subject, host: str) -> bool:
    """Whether one of a few requests for ``host`` reaches ``listener``."""
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(subject.connect(request_packet(host)))
            if select.select([listener], [], [], 0.05)[0]:
                return True
    return False
