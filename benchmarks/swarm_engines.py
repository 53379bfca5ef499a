"""``python -m benchmarks.swarm_engines ENGINES CONTAINERS SECRET ROUTER...``: the announcers of many controllers.

Each engine is a source of its own to each router.  Ten containers serve a key, on ten engines.  Commands come as lines,
and each is answered by one: ``start``, ``roll PERCENT`` and ``die N`` with seconds until the last ack and packets,
``one KEY`` with the time at which it began (ns).  The worker behind the containers of ``one`` answers 200 to anybody.
"""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from fastroute.controller.desired import Desired, Route, RouteDiff
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Entry

CONTAINERS_OF_A_KEY = 10
HEARTBEAT = 5.0
#: Seconds for all routers to ack.
DEADLINE = 300.0


class Engines:
    """The other end: gives commands to the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answer()

    def do(self, command: str) -> tuple[float, int]:
        """Seconds and packets that it took."""
        seconds, packets = self._ask(command)
        return float(seconds), int(packets)

    def begin(self, command: str) -> int:
        """When it began."""
        return int(self._ask(command)[0])

    def _ask(self, command: str) -> list[str]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if not words:
            raise RuntimeError("the announcers have ended")
        return words


class Engine:
    """One engine's controller, as far as routers see it."""

    def __init__(self, number: int, containers: int, routers: list[str], secret: bytes, keys: int) -> None:
        self._number, self._keys = number, keys
        addresses = [parse_address(router) for router in routers]
        self.announcer = SourceAnnouncer(addresses, lambda: f"engine-{number}", HEARTBEAT, secret)
        self.routes: Desired = {}
        self._made = 0
        self.containers = containers

    def container(self) -> Route:
        """A new container: the next of its kind, with an address and an id of its own."""
        number, self._made = self._made, self._made + 1
        slot = number % self.containers
        key = (self._number * self.containers + slot) % self._keys
        address = f"10.{self._number}.{number // 250}.{number % 250 + 1}:8000"
        owner = f"{self._number:032x}{number:032x}@1"
        return Route(Entry(f"service-{key}.example.com", address, owner=owner), f"service-{key}")

    def change(self, gone: int, come: int, more: tuple[Route, ...] = ()) -> None:
        """The oldest ``gone`` containers end, and ``come`` others begin."""
        before = dict(self.routes)
        after = dict(list(before.items())[gone:])
        new = [self.container() for _ in range(come)]
        after |= {route.id: route for route in (*new, *more)}
        self.routes = after
        self.announcer.apply(after, RouteDiff.between(before, after))

    @property
    def acked(self) -> bool:
        """Every router has acked all of it."""
        routers = self.announcer.status()["routers"]
        assert isinstance(routers, list)
        wanted = len(self.routes)
        return bool(routers) and all(
            row["state"] == "acked" and row["entries"] == wanted and not row["pending"] for row in routers
        )


def serve_worker() -> int:
    """A worker on loopback that answers every connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def packets_of(engines: list[Engine]) -> int:
    """Packets to all routers so far, those that were sent again included."""
    counts = [(result, n) for engine in engines for (_, result), n in engine.announcer.packets().items()]
    return sum(n for result, n in counts if result in ("sent", "again"))


def wait_acked(engines: list[Engine], began: float) -> None:
    """Until all routers have acked all."""
    left = list(engines)
    while left := [engine for engine in left if not engine.acked]:
        if time.monotonic() - began > DEADLINE:
            raise RuntimeError(f"{len(left)} engines are not acked within {DEADLINE:g} s")
        time.sleep(0.05)


def main() -> None:
    """Obey until standard input ends."""
    count, containers, secret, *routers = sys.argv[1:]
    number, size = int(count), int(containers)
    keys = max(1, number * size // CONTAINERS_OF_A_KEY)
    engines = [Engine(n, size, routers, Path(secret).read_bytes(), keys) for n in range(number)]
    port = serve_worker()
    # A hundred controllers are on as many machines: none of them waits for a collection of all their objects.
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *words = line.split()
        began, packets = time.monotonic(), packets_of(engines)
        if verb == "one":
            entry = Entry(words[0], f"127.0.0.1:{port}", owner="probe@1")
            print(time.monotonic_ns(), flush=True)
            engines[0].change(0, 0, (Route(entry, "probe"),))
            continue
        touched = engines
        if verb == "start":
            for engine in engines:
                engine.change(0, size)
        elif verb == "roll":
            part = size * int(words[0]) // 100
            for engine in engines:
                engine.change(part, part)
        elif verb == "die":
            touched = engines[-int(words[0]) :]
            for engine in touched:
                engine.change(len(engine.routes), 0)
        wait_acked(touched, began)
        print(f"{time.monotonic() - began:.3f} {packets_of(engines) - packets}", flush=True)
    for engine in engines:
        engine.announcer.close()


if __name__ == "__main__":
    main()
