"""The controller beside a real engine asks only for the reads that the socket proxy passes, whatever containers do."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Controller, Router, wait_for
from support.proxy_rules import only_reads
from support.stack import Stack

_LINE = re.compile(rb"(?m)^([A-Z]+) (/\S*) HTTP/1\.1\r$")


class Listener:
    """Between a client and Docker's socket: passes everything, and remembers the request lines."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            docker = socket.socket(socket.AF_UNIX)
            docker.connect("/var/run/docker.sock")
            for one, other, listened in ((client, docker, True), (docker, client, False)):
                threading.Thread(target=self._pass_on, args=(one, other, listened), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, listened: bool) -> None:
        try:
            while data := one.recv(65_536):
                if listened:
                    self.asked += [(verb.decode(), path.decode()) for verb, path in _LINE.findall(data)]
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    one = Listener(tmp_path / "docker.sock")
    yield one
    one.close()


def test_only_reads_are_asked_for(stack: Stack, listener: Listener, tmp_path: Path) -> None:
    with Router() as router, Controller(f"unix://{tmp_path}/docker.sock", router) as controller:
        controller.wait_for(lambda: ("GET", "/version") in {(verb, path) for verb, path in listener.asked}, "a call")
        labels = ("-l", "fastroute.key=asked.com", "-l", "fastroute.probe=none", "-l", "fastroute.network=bridge")
        with stack.container(*labels, "--no-healthcheck", stack.image("foo"), network="bridge") as name:
            controller.wait_line(f"{name}")
            stack.docker("network", "connect", stack.network, name)
            stack.docker("pause", name)
            stack.docker("unpause", name)
            stack.docker("stop", name)
            stack.docker("start", name)
        wait_for(lambda: any("/containers/" in path for _, path in listener.asked), "an inspect")
    only_reads(listener.asked)
    assert {"GET"} == {verb for verb, _ in listener.asked}
