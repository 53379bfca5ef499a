"""The clients of a soak: good ones, whose every request counts, and rude ones, who are only in the way."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

from soak.record import Loss, Record
from support.programs import Nginx, Router
from support.uwsgi_client import request_packet, send_datagram, subscription_packet
from support.workers import Connection, Worker, answers, closes_early, never_answers, resets

KEYS = ("foo.com", "bar.com")
#: Four nodes, of which one serves.
FEW = "few.com"
GOOD_CLIENTS = 6
RUDE_CLIENTS = 3
#: Of good clients: method, bytes wanted, bytes sent.
REQUESTS = [("GET", 0, 0), ("GET", 0, 0), ("GET", 100, 0), ("GET", 300_000, 0), ("POST", 0, 500), ("POST", 0, 90_000)]


class Clients:
    """All clients, on threads of their own, while there is load."""

    def __init__(self, router: Router, nginx: Nginx, record: Record, seed: int) -> None:
        self.router, self.nginx, self.record, self.seed = router, nginx, record, seed
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, rude: Worker, rude_http: Worker) -> None:
        """Load from now on.  The workers play bad parts."""
        self.over.clear()
        for number in range(GOOD_CLIENTS):
            self._thread(lambda number=number: self.good(number))  # type: ignore[misc]
        for number in range(RUDE_CLIENTS):
            self._thread(lambda number=number: self.rude(number))  # type: ignore[misc]
        self._thread(lambda: self._announce(rude, rude_http))

    def _thread(self, what: Callable[[], None]) -> None:
        def run() -> None:
            try:
                what()
            except BaseException as error:
                self.record.broken.append(repr(error))

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def _announce(self, rude: Worker, rude_http: Worker) -> None:
        while not self.over.is_set():
            send_datagram(self.router.port, subscription_packet("rude.com", rude.address))
            send_datagram(self.router.port, subscription_packet("rude-http.com", rude_http.address, proto="http"))
            self.over.wait(2)

    def stop(self) -> None:
        """No load any more; returns when all are done."""
        self.over.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    # Good clients.

    def good(self, number: int) -> None:
        """Requests one after the other, each checked to the last byte."""
        chance = random.Random(f"{self.seed} good {number}")
        while not self.over.is_set():
            key = chance.choice((*KEYS, FEW))
            method, size, body = chance.choice(REQUESTS)
            self._one(key, method, size, b"b" * body)
            self.over.wait(chance.random() * 0.03)

    def _one(self, key: str, method: str, size: int, body: bytes) -> None:
        began, answered, what = time.monotonic(), False, ""
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=30)
        try:
            connection.request(method, f"/?size={size}" if size else "/", body or None, {"Host": key})
            answer = connection.getresponse()
            answered = answer.status == 200
            text = answer.read()
            if not answered:
                what = f"{answer.status} {answer.getheader('X-Fastroute-Error')} {text[:80]!r}"
            elif not text.endswith(b"x" * size) or b" %b %d\n" % (key.encode(), len(body)) not in text[:100]:
                what = f"wrong answer of {len(text)} bytes {text[:60]!r}"
        except (OSError, http.client.HTTPException) as error:
            what = f"{type(error).__name__} {error}"
        finally:
            connection.close()
        ended = time.monotonic()
        self.record.kinds[method] += 1
        self.record.seconds.append(ended - began)
        if what:
            self.record.losses.append(Loss(began, ended, method, answered, f"{key} {what}", key != FEW))

    # Rude ones.

    def rude(self, number: int) -> None:
        """One misdeed after the other, at nginx and at the router."""
        chance = random.Random(f"{self.seed} rude {number}")
        deeds = (
            self._leave, self._stall, self._noise, self._half, self._reset, self._ask_rude_worker, self._datagram,
            self._long_host, self._idle_admin,
        )  # fmt: skip
        while not self.over.is_set():
            deed = chance.choice(deeds)
            try:
                deed(chance)
            except OSError:
                pass
            self.record.deeds["clients: " + deed.__name__.strip("_")] += 1
            self.over.wait(chance.random() * 0.05)

    def _leave(self, chance: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.nginx.port), 5) as browser:
            browser.sendall(b"GET /?size=3000000 HTTP/1.1\r\nHost: foo.com\r\n\r\n")
            browser.settimeout(chance.random() / 10)
            browser.recv(1000)

    def _stall(self, chance: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.nginx.port), 5) as browser:
            browser.sendall(b"POST / HTTP/1.1\r\nHost: bar.com\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
            self.over.wait(chance.random() / 2)

    def _noise(self, chance: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.router.port), 5) as client:
            client.sendall(chance.randbytes(chance.choice([0, 1, 3, 4, 100, 70_000])))
            client.settimeout(0.1)
            client.recv(1000)

    def _half(self, chance: random.Random) -> None:
        packet = request_packet("foo.com", "POST", body=b"x" * 2000)
        with socket.create_connection(("127.0.0.1", self.router.port), 5) as client:
            client.sendall(packet[: chance.randrange(len(packet))])
            client.shutdown(socket.SHUT_WR)
            client.settimeout(0.2)
            client.recv(1000)

    def _reset(self, chance: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.router.port), 5) as client:
            client.sendall(request_packet("bar.com", path="/?size=1000000"))
            self.over.wait(chance.random() / 50)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _ask_rude_worker(self, chance: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self.nginx.port), 5) as browser:
            size = chance.choice([0, 1000, 200_000])
            host = chance.choice([b"rude.com", b"rude-http.com"])
            browser.sendall(b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n" % (host, size) + bytes(size))
            browser.settimeout(chance.random())
            browser.recv(1000)

    def _long_host(self, chance: random.Random) -> None:
        """A look-up must cost no more than what can match."""
        host = ".".join("a" * chance.choice([1, 1000]) for _ in range(chance.choice([20, 30_000]) // 2))[:60_000]
        with socket.create_connection(("127.0.0.1", self.router.port), 5) as client:
            client.sendall(request_packet(host, path="/b" * chance.choice([1, 1000])))
            client.settimeout(2)
            client.recv(1000)

    def _idle_admin(self, chance: random.Random) -> None:
        """Half a request to the admin socket, or none."""
        with socket.create_connection(("127.0.0.1", self.router.admin_port), 5) as client:
            client.sendall(b"GET /v1/status HTTP/1.1\r\nHo"[: chance.choice([0, 27])])
            self.over.wait(chance.random() * 3)

    def _datagram(self, chance: random.Random) -> None:
        """Noise, and nodes that do not exist: one for each good key."""
        key, dead = chance.choice([(KEYS[0], "127.0.9.1:1"), (KEYS[1], "/nowhere")])
        send_datagram(self.router.port, chance.choice([
            chance.randbytes(chance.randrange(300)), subscription_packet(key, dead),
            subscription_packet("k" * chance.randrange(400), dead),
            subscription_packet(f"{chance.randrange(50)}.com", dead, leave=chance.random() < 0.5),
        ]))  # fmt: skip


#: Heads that were costly to read once, of 60 KiB: many lines about the connection, and blanks in a value.
COSTLY_HEADS = (
    b"HTTP/1.1 200 OK\r\n" + b"Connection: x\r\n" * 4000 + b"Content-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: " + b" " * 60_000 + b"x\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
)


def rude_worker() -> Worker:
    """Plays another bad part each time."""
    chance = random.Random(5)

    def costly_head(connection: Connection) -> None:
        connection.read_packet()
        connection.send(chance.choice(COSTLY_HEADS))

    parts = [closes_early, resets, never_answers, answers(b"x" * 500_000), costly_head]

    def any_part(connection: Connection) -> None:
        chance.choice(parts)(connection)

    return Worker(any_part)


def rude_http_worker() -> Worker:
    """Speaks HTTP/1.1, and answers with a head that is costly to read, whatever it is asked."""
    chance = random.Random(6)

    def costly_head(connection: Connection) -> None:
        connection.exactly(1)
        connection.send(chance.choice(COSTLY_HEADS))

    return Worker(costly_head)
