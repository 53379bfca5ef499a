"""A real relay process, with the test in control's and the master's place and as its client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from support.entries import node_row, pool_row
from support.uwsgi_client import Answer, read_answer, request_packet
from support.waiting import DEADLINE

from fastroute.router.runtime.inheritance import Inheritance

#: What a relay reports of a node, behind its key and address.
_NUMBERS = ("requests", "failures", "tx", "rx", "in_flight", "ejected", "timeouts", "statuses", "times", "left")


class RelayProcess:
    """``fastroute.router.relay.main`` with one front socket, and one for ``http`` where that is asked for; stands for
    control on the other end of its channel."""

    def __init__(
        self, directory: Path, unix: bool = False, descriptors: int = 0, http: bool = False, **settings: Any
    ) -> None:
        self.log_path = directory / "relay.log"
        self._limit = descriptors or sys.maxsize
        self._http_listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self._http_listener.bind(str(directory / "http.sock") if unix else ("127.0.0.1", 0))
        self._http_listener.listen(1024)
        self.http_front = self._http_listener.getsockname()
        self._listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self._listener.bind(str(directory / "front.sock") if unix else ("127.0.0.1", 0))
        self._listener.listen(1024)
        self.front = self._listener.getsockname()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(DEADLINE)
        lifeline, self._lifeline = os.pipe()
        fds = [self._listener.fileno(), theirs.fileno(), lifeline, *([self._http_listener.fileno()] if http else [])]
        values = {"log_format": "text", "log_level": "info", **settings}
        given = Inheritance(values, 0, fds[2], fds[1], [fds[0]], fds[3:])
        memory = os.memfd_create("settings")
        os.write(memory, given.to_bytes())
        limit = ["prlimit", f"--nofile={descriptors}"] if descriptors else []
        command = [*limit, sys.executable, "-m", "fastroute.router.relay.main", "--settings-fd", str(memory)]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(command, pass_fds=[*fds, memory], stderr=log)
        for fd in (lifeline, memory):
            os.close(fd)
        theirs.close()
        self._version = 0
        self.epoch = "e1"
        self.said: list[list[Any]] = []
        self.nodes: dict[tuple[str, str], dict[str, Any]] = {}
        #: By key, its own answers by class.
        self.own_answers: dict[str, list[int]] = {}
        self.hits: dict[str, int] = {}
        self.totals: dict[str, Any] = {}
        assert self._next() == ["hello", self.process.pid]

    def __enter__(self) -> RelayProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.close(self._lifeline)
            self._lifeline = -1
            self.process.wait(DEADLINE)
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._control.close()
        self._listener.close()
        self._http_listener.close()

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return self.log_path.read_text()

    def tell(self, *ops: list[Any], wait: bool = True) -> None:
        """Send ops as control does, and wait for the ack."""
        self._version += 1
        version = self._version
        self._control.send(json.dumps({"v": version, "epoch": self.epoch, "ops": ops}).encode())
        while wait and self._next() != ["ack", self.epoch, version]:
            pass

    def serve(self, nodes: Iterable[tuple[Any, ...]] = (), algorithm: str = "wrr", keys: Iterable[str] = ()) -> None:
        """A whole snapshot.  A node: key, address[, weight, backup, draining, modifier1, modifier2, protocol]."""
        rows = [(*node, *(1, 0, 0, 0, 0, "uwsgi")[len(node) - 2 :]) for node in nodes]
        known = dict.fromkeys([*keys, *(row[0] for row in rows)])
        self.tell(["reset"], *(pool_row(key, algorithm) for key in known), *(node_row(*row) for row in rows), ["done"])

    def _next(self, seconds: float = DEADLINE) -> list[Any]:
        self._control.settimeout(seconds)
        raw = self._control.recv(1 << 17)
        assert len(raw) <= 60_000
        message: list[Any] = json.loads(raw)
        self.said.append(message)
        if message[0] == "counters":
            report = message[1]
            for key, address, *numbers in report["nodes"]:
                self.nodes[key, address] = dict(zip(_NUMBERS, numbers, strict=True))
            for key, hits, statuses in report["keys"]:
                self.hits[key], self.own_answers[key] = hits, statuses
            self.totals.update({name: report[name] for name in ("requests", "in_flight", "errors") if name in report})
        return message

    def hears(self, condition: Callable[[], Any], seconds: float = DEADLINE) -> Any:
        """Take in what the relay says until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not (result := condition()):
            try:
                self._next(max(0.001, end - time.monotonic()))
            except TimeoutError:
                raise AssertionError(f"not within {seconds} s; nodes {self.nodes}, {self.totals}") from None
        return result

    def connect(self) -> socket.socket:
        """A client's connection."""
        client = socket.socket(self._listener.family)
        client.settimeout(DEADLINE)
        client.connect(self.front)
        return client

    def connect_http(self) -> socket.socket:
        """The connection of a client that speaks HTTP."""
        client = socket.socket(self._http_listener.family)
        client.settimeout(DEADLINE)
        client.connect(self.http_front)
        return client

    def ask(self, data: bytes | None = None) -> Answer:
        """Send one packet, read to the end."""
        with self.connect() as client:
            client.sendall(request_packet("foo.com") if data is None else data)
            return read_answer(client)

    def descriptors(self) -> int:
        """How many it has open, of those that it can open itself: what the test passed on may be above the limit."""
        return sum(int(fd) < self._limit for fd in os.listdir(f"/proc/{self.process.pid}/fd"))

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)


def read_all(client: socket.socket) -> bytes:
    """Everything until end of file."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data
