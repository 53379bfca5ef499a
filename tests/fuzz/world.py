"""A real relay loop in this very thread, on real sockets and a clock of its own: the ground of the relay's fuzzer.

The relay's epoll is wrapped: whenever nothing is ready, it asks a script for the next thing to happen (a client sends,
a worker closes, time passes) instead of sleeping.  So a script and its outcome are deterministic, and hours take
milliseconds.  A script is a generator: ``yield 0`` lets the relay do all it can, ``yield 1.5`` lets time pass as well.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import struct
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from fuzz.tries import watched_tries
from support.workers import BlackHole

import fastroute.router.relay.loop as loop
from fastroute.router.protocol.wire import decode_vars, encode_packet, encode_vars

Script = Generator[float, None, None]

#: Wake-ups without anything new from outside: more mean that the relay spins.
MAX_WAKEUPS = 3000
SETTINGS = {"connect_timeout": 5.0, "timeout": 40.0, "client_timeout": 35.0, "idle_timeout": 90.0, "max_retries": 2,
            "fallback": ["fallback.example:1"]}  # fmt: skip
#: Longer than every time-out of SETTINGS.
LONG = 100.0
#: Bytes of kernel memory a socket asks for (it gets about twice that).
BUFFER = 16_384
#: What a worker may say before its answer, and how a tunnel begins.
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
TUNNEL = b"HTTP/1.1 101"
_RESET = struct.pack("ii", 1, 0)


def reset(sock: socket.socket) -> None:
    """Close with a reset, where the socket has one."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def small_buffers(sock: socket.socket) -> None:
    """So that a peer that does not read is felt soon; a listening socket hands its sizes on."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def pattern(seed: int, size: int) -> bytes:
    """``size`` bytes that no other seed has."""
    unit = b"<%d>" % seed + bytes((seed * 31 + step * 7) % 251 for step in range(50))
    return (unit * (size // len(unit) + 1))[:size]


class Client:
    """One client's connection and the request it means to send; ``clean`` while all it did was what a good one does."""

    def __init__(self, number: int, request: bytes, whole: bool) -> None:
        self.number, self.request, self.whole = number, request, whole
        self.clean = True
        self.sent = 0
        self.got = b""
        self.shut = self.ended = False
        self.sock: socket.socket | None = None

    def send(self, size: int) -> int:
        """Up to ``size`` more bytes of the request, as many as the socket takes."""
        if self.sock is None or self.shut:
            return 0
        try:
            done = self.sock.send(self.request[self.sent : self.sent + size])
        except BlockingIOError:
            return 0
        except OSError:
            self.shut = True
            return 0
        self.sent += done
        return done

    def read(self, size: int = 1 << 20) -> int:
        """Up to ``size`` bytes of the answer."""
        if self.sock is None or self.ended:
            return 0
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return 0
        except OSError:
            self.ended, self.clean = True, False
            return 0
        self.ended = not data
        self.got += data
        return len(data)


class Served:
    """The worker's end of one connection, and the answer it means to give."""

    def __init__(self, sock: socket.socket, number: int, kind: int, address: str) -> None:
        self.sock: socket.socket | None = sock
        self.address = address
        self.number, self.clean = number, True
        start = (
            b"HTTP/1.1 200 OK\r\n\r\n",
            TUNNEL + b" Switching Protocols\r\n\r\n",
            b"Status: 200 OK\r\n\r\n",
            b"",
        )
        interim = INTERIM if kind // 16 % 4 == 3 else b""
        self.answer = interim + start[kind % 4] + pattern(number, (5, 500, 70_000, 400_000)[kind // 4 % 4])
        self.sent = 0
        self.got = b""
        self.shut = self.ended = False
        self.client: Client | None = None

    def send(self, size: int) -> int:
        """Up to ``size`` more bytes of the answer."""
        if self.sock is None or self.shut:
            return 0
        try:
            done = self.sock.send(self.answer[self.sent : self.sent + size])
        except BlockingIOError:
            return 0
        except OSError:
            self.shut, self.clean = True, False
            return 0
        self.sent += done
        return done

    def read(self, size: int = 1 << 20) -> int:
        """Up to ``size`` bytes of the request."""
        if self.sock is None or self.ended:
            return 0
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return 0
        except OSError:
            self.ended, self.clean = True, False
            return 0
        self.ended = not data
        self.got += data
        return len(data)

    def told(self) -> bytes:
        """What of the bytes sent so far the client gets: those of the final answer, once it shows that it is one."""
        said = self.answer[: self.sent].removeprefix(INTERIM)
        return b"" if any(begin.startswith(said) for begin in (INTERIM, TUNNEL[:-1])) else said

    @property
    def tunnel(self) -> bool:
        """Whether the connection is a tunnel by now."""
        return self.told().startswith(TUNNEL)

    def packet(self) -> tuple[bytes, dict[bytes, bytes]] | None:
        """Header and vars, once they are here whole."""
        if len(self.got) < 4 or len(self.got) < 4 + (size := self.got[1] | self.got[2] << 8):
            return None
        return self.got[:4], dict(decode_vars(self.got[4 : 4 + size]))


class _Epoll:
    def __init__(self, world: World, real: select.epoll) -> None:
        self._world, self._real = world, real
        self.register, self.modify, self.unregister = real.register, real.modify, real.unregister

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        self._world.sleeps = timeout
        if events := self._real.poll(0, most):
            self._world.wakeups += 1
            assert self._world.wakeups < MAX_WAKEUPS, "the relay spins"
            return events
        if timeout == 0:
            # It has more to do, and only looks whether there is anything else.
            self._world.wakeups += 1
            assert self._world.wakeups < MAX_WAKEUPS, "the relay spins"
            return []
        return self._world.when_idle()


class World:
    """One relay, four front sockets, three workers that listen (or not), a black hole, all that was ever connected.

    ``wakeups`` counts how often the relay had something to do since the script's last step; ``sleeps`` is for how long
    it means to sleep now, -1: until something happens.  ``reports`` are the counters that it has sent.
    """

    def __init__(self, **settings: Any) -> None:
        self._log = logging.getLogger("fastroute")
        self._level = self._log.level
        self._log.setLevel(logging.CRITICAL + 1)
        self.now = 1000.0
        self.clients: list[Client] = []
        self.served: list[Served] = []
        self._directory = tempfile.TemporaryDirectory(prefix="fastroute-fuzz-")
        self.directory = Path(self._directory.name)
        families = (socket.AF_INET, socket.AF_UNIX)
        #: Two where clients speak uwsgi, and two where they speak HTTP.
        self._fronts = [self._front(family, name) for name in ("front", "http") for family in families]
        self.fronts = [front.getsockname() for front in self._fronts]
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)
        self._lifeline = os.pipe()
        self._wakeup = os.pipe2(os.O_NONBLOCK)
        self._real_time, loop.time = loop.time, SimpleNamespace(monotonic=lambda: self.now)  # type: ignore[assignment, attr-defined]
        listeners = [os.dup(front.fileno()) for front in self._fronts]
        self.relay = loop.Relay(
            SETTINGS | settings, listeners[:2], theirs.detach(), self._lifeline[0], 4096, http_listeners=listeners[2:]
        )
        context = self.relay.context
        self._epoll, context.epoll = context.epoll, _Epoll(self, context.epoll)  # type: ignore[assignment]
        self.listeners: dict[str, socket.socket | None] = {}
        self.addresses = [self._worker(socket.AF_INET), self._worker(socket.AF_UNIX), self._worker(socket.AF_INET)]
        self.hole = BlackHole()
        self.wakeups = 0
        self.sleeps = 0.0
        self.reports: list[dict[str, Any]] = []
        self._version = 0
        self._script: Script

    def run(self, script: Script) -> None:
        """Until the script is over and the relay has drained."""
        self._script = script
        self.relay.context.fault = _fault  # type: ignore[assignment, method-assign]
        with watched_tries():
            self.relay.run(self._wakeup[0])

    def when_idle(self) -> list[tuple[int, int]]:
        """The relay sleeps: the next step of the script, and what it makes happen."""
        while True:
            try:
                pause = next(self._script)
            except StopIteration:
                self.relay.drain()
                pause = 1.0
            self.wakeups = 0
            self.now += pause
            if pause:
                return []
            if events := self._epoll.poll(0, 128):
                return events

    # What scripts do.

    def tell(self, *ops: list[Any]) -> None:
        """Ops, as control sends them."""
        self.listen()
        self._version += 1
        self.control.send(json.dumps({"v": self._version, "epoch": "e", "ops": ops}).encode())

    def listen(self) -> None:
        """Read what the relay says to control."""
        while True:
            try:
                message = json.loads(self.control.recv(1 << 17))
            except BlockingIOError:
                break
            if message[0] == "counters":
                self.reports.append(message[1])

    def connect(self, client: Client, front: int) -> None:
        """The client's connection."""
        client.sock = socket.socket(self._fronts[front].family)
        client.sock.setblocking(False)
        small_buffers(client.sock)
        try:
            client.sock.connect(self.fronts[front])
        except BlockingIOError:
            pass
        self.clients.append(client)

    def accept(self, kind: int) -> None:
        """Every connection that waits for a worker gets one."""
        for address, listener in self.listeners.items():
            while listener is not None:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    break
                sock.setblocking(False)
                self.served.append(Served(sock, len(self.served), kind, address))

    def deaf(self, address: str) -> None:
        """Nobody listens at ``address`` any more; who waited there is reset."""
        listener = self.listeners[address]
        if listener is not None:
            listener.close()
            self.listeners[address] = None

    def hear(self, address: str) -> None:
        """Somebody listens at ``address`` again, unless its port is somebody else's by now."""
        if self.listeners[address] is not None:
            return
        if ":" not in address:
            os.unlink(address)
        host, _, port = address.partition(":")
        try:
            where = (host, int(port)) if port else address
            self.listeners[address] = _listening(socket.AF_INET if port else socket.AF_UNIX, where)
        except OSError:
            pass

    def close_all(self) -> None:
        """Every connection of clients and workers, those that nobody accepted too."""
        self.accept(0)
        peer: Client | Served
        for peer in [*self.clients, *self.served]:  # type: ignore[assignment]
            if peer.sock is not None:
                peer.sock.close()
                peer.sock = None

    def close(self) -> None:
        """Everything the world opened."""
        self._log.setLevel(self._level)
        self.close_all()
        loop.time = self._real_time  # type: ignore[attr-defined]
        relay = self.relay
        for fd in relay.context.closing:
            os.close(fd)
        for opened in [*self._fronts, *self.listeners.values(), self.control, relay._channel._socket]:
            if opened is not None:
                opened.close()
        for listener in relay._front.listeners.values():
            listener.close()
        self._epoll.close()
        self.hole.__exit__()
        for fd in [*self._lifeline, *self._wakeup]:
            os.close(fd)
        self._directory.cleanup()

    def _front(self, family: int, name: str) -> socket.socket:
        return _listening(family, ("127.0.0.1", 0) if family == socket.AF_INET else str(self.directory / name))

    def _worker(self, family: int) -> str:
        path = str(self.directory / f"worker{len(self.listeners)}")
        listener = _listening(family, ("127.0.0.1", 0) if family == socket.AF_INET else path)
        address = path if family == socket.AF_UNIX else f"127.0.0.1:{listener.getsockname()[1]}"
        self.listeners[address] = listener
        return address


def _fault(fault: Exception) -> NoReturn:
    """A fault of the relay ends the script, not only the request that met it."""
    raise fault


def _listening(family: int, address: Any) -> socket.socket:
    listener = socket.socket(family)
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    small_buffers(listener)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.listen(64)
    return listener


def request(number: int, kind: int) -> tuple[bytes, bool]:
    """The ``kind``-th kind of request, marked with ``number``; False when it is none that a worker should ever see."""
    body = pattern(number + 1000, (0, 0, 10, 600_000)[kind % 4])
    method = "GET" if kind % 4 == 0 else "POST"
    host = ("foo.com", "foo.com", "bar.com", "FOO.com:80", "hole.com", "bar.com", "dead.com", "")[kind // 4 % 8]
    values = {"REQUEST_METHOD": method, "CONTENT_LENGTH": str(len(body)) if body else "", "ID": str(number)}
    if host:
        values["HTTP_HOST"] = host
    if kind // 32 == 3:
        values["HTTP_COOKIE"] = "c" * 30_000
    if kind // 32 == 7:
        return (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x00\x05\x00\x00abcde", b"\x00\x00\x00\x00")[
            kind % 4
        ], False
    block = encode_vars((name.encode(), value.encode()) for name, value in values.items())
    return encode_packet(0, 0, block) + body, True
