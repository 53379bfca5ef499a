"""Whether an overlay network carries packets between the containers of two machines: Docker's share of a delay."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import threading
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from support.swarm_nodes import SwarmNode

_CLONE_NEWNET = 0x4000_0000
#: Seconds: a connection between machines beside each other that is there at all is there by then, on a busy one too.
_CONNECT_TIMEOUT = 0.5
_CONNECT_EVERY, _LIST_EVERY = 0.1, 0.5
#: Nobody listens there: being refused is an answer.
_PORT = 9


class OverlayWatch(AbstractContextManager["OverlayWatch"]):
    """Connects from the network of a container on ``node``, its ``service``'s, to every container that ``other`` has on
    the overlay ``network``, again and again while its block runs."""

    def __init__(self, node: SwarmNode, service: str, other: SwarmNode, network: str) -> None:
        pid = node.docker("inspect", "-f", "{{.State.Pid}}", node.container_of(service))
        self._namespace, self._other, self._network = Path(f"/proc/{pid}/ns/net"), other, network
        self._addresses: list[str] = []
        self._stop = threading.Event()
        #: When a connection that was given up last began, in seconds since the epoch, by address.
        self._failed: dict[str, float] = {}
        #: The same of those that were reached after that: others may only have ended.
        self._reached: dict[str, float] = {}
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._connect, self._list)]

    def __enter__(self) -> OverlayWatch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def last_failure(self) -> float:
        """When one was last not reached that could be reached later, since the epoch; 0: none."""
        return max(self._reached.values(), default=0.0)

    def _list(self) -> None:
        while not self._stop.wait(_LIST_EVERY):
            text = self._other.docker("network", "inspect", self._network, check=False)
            with suppress(ValueError):
                containers = [row for network in json.loads(text) for row in (network["Containers"] or {}).values()]
                # A network's own end point is no container.
                self._addresses = [
                    row["IPv4Address"].partition("/")[0] for row in containers if not row["Name"].endswith("-endpoint")
                ]

    def _connect(self) -> None:
        # A network namespace is a thread's own.
        with self._namespace.open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        while not self._stop.wait(_CONNECT_EVERY):
            for address in self._addresses:
                began = time.time()
                if not _answers(address):
                    self._failed[address] = began
                elif address in self._failed:
                    self._reached[address] = self._failed.pop(address)


def _answers(address: str) -> bool:
    with socket.socket() as sock:
        sock.settimeout(_CONNECT_TIMEOUT)
        try:
            return sock.connect_ex((address, _PORT)) in (0, errno.ECONNREFUSED)
        except OSError:
            return False
