"""One process of a worker: started on ports of its own, announced while it accepts, withdrawn, ended.  One edge."""

from __future__ import annotations

import os
import shlex
import signal
from collections import defaultdict
from pathlib import Path

from fastroute.router.config.worker import SOCKET_OPTIONS, WorkerSettings
from fastroute.router.runtime.interfaces import interface_addresses
from fastroute.router.runtime.logs import get_logger
from fastroute.router.sidecar import command_process
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.pattern import Pattern, parse_pattern
from fastroute.router.sidecar.ports import free_port
from fastroute.router.sidecar.router_peer import own_pid_owner
from fastroute.router.sidecar.uwsgi_child import is_uwsgi
from fastroute.router.sidecar.watched_worker import WatchedWorker
from fastroute.router.subscription import Entry
from fastroute.router.supervisor.output import WorkerOutput
from fastroute.router.supervisor.process_groups import MARK

HOST = "127.0.0.1"

log = get_logger("fastroute.workers")


class WorkerInstance:
    """``name`` is ``foo.2`` for the second process of the worker foo."""

    def __init__(self, name: str, worker: WorkerSettings, announcer: WorkerAnnouncer) -> None:
        self.name, self.worker, self._announcer = name, worker, announcer
        self.pid = 0
        self.started = 0.0
        self.signalled = float("inf")
        self.output = WorkerOutput(name)
        self._watched: list[WatchedWorker] = []
        self._ini = -1
        self._said = False
        self._stop_signal: int = signal.SIGTERM
        self.addresses: list[str] = []
        """Of uWSGI's sockets, as they were found."""

    # Its life

    def start(self, mark: str, now: float) -> None:
        """Start the process; ``command_process.CommandError`` or ``OSError`` when that can't be."""
        worker, self.started = self.worker, now
        environ = {**os.environ, **dict(worker.environment), MARK: mark}
        if worker.uwsgi_options:
            command = self._uwsgi()
        else:
            port = free_port(HOST)
            command = command_process.fill_in(shlex.split(worker.command), port)
            environ["FASTROUTE_PORT"] = str(port)
            self._watch({f"{HOST}:{port}": [
                Entry(key, options=worker.options, owner=own_pid_owner()) for key in worker.key
            ]})  # fmt: skip
        self.pid = command_process.start(command, environ, self._end_signal(command), worker.cwd, self.output.theirs)
        self.output.started()
        for watched in self._watched:
            watched.start(now)

    def step(self, now: float) -> None:
        """Look whether it accepts."""
        for watched in self._watched:
            watched.step(now)
        if self.ready and not self._said:
            self._said = True
            keys = ", ".join(dict.fromkeys(entry.key for one in self._watched for entry in one.node.entries))
            addresses = ", ".join(one.node.address for one in self._watched)
            log.info("%s (pid %d) serves %s at %s", self.name, self.pid, keys, addresses)

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do."""
        return min((watched.due for watched in self._watched), default=float("inf"))

    @property
    def ready(self) -> bool:
        """It accepts connections, and the router knows."""
        return all(one.accepts and self._announcer.settled(one.node) for one in self._watched)

    @property
    def waits_for(self) -> str:
        """Why it is not ready."""
        return "; ".join(one.waits_for for one in self._watched if one.waits_for)

    def withdraw(self, now: float) -> None:
        """No new requests."""
        for watched in self._watched:
            watched.stop(now)

    def drained(self, now: float) -> bool:
        """No request is in flight there."""
        return all(self._announcer.drained(one.node, now, 0.0) for one in self._watched)

    def end(self, now: float) -> None:
        """Tell it to end."""
        if self.signalled == float("inf"):
            self.signalled = now
            self.signal(self._stop_signal)

    def signal(self, number: int) -> None:
        """Signal the process itself."""
        if self.pid:
            os.kill(self.pid, number)

    def gone(self, now: float) -> None:
        """The process has ended."""
        self.withdraw(now)
        self.pid = 0
        self.output.close()
        if self._ini >= 0:
            os.close(self._ini)
            self._ini = -1

    def forget(self) -> None:
        """It is withdrawn; nothing more is said of it."""
        for watched in self._watched:
            self._announcer.forget(watched.node)

    @property
    def withdrawn(self) -> list[AnnouncedNode]:
        """Its nodes."""
        return [watched.node for watched in self._watched]

    def _watch(self, entries: dict[str, list[Entry]]) -> None:
        for address, those in entries.items():
            pattern = parse_pattern(address)
            node = AnnouncedNode(self.name, those)
            watched = WatchedWorker(
                self._announcer, node, pattern, pattern.port, self.worker.probe, self.worker.options.protocol
            )
            self._watched.append(watched)

    def _end_signal(self, command: list[str]) -> int:
        # Whatever its version and options, uWSGI ends at SIGINT; SIGTERM may be a reload to it.
        self._stop_signal = signal.SIGINT if is_uwsgi(command) else signal.SIGTERM
        return self._stop_signal

    # uWSGI from an INI

    def _uwsgi(self) -> list[str]:
        """uWSGI's command; its options are in a memory file that it can read again at a reload."""
        addresses = [_found(value) for name, value in self.worker.uwsgi_options if name in SOCKET_OPTIONS]
        self._ini = os.memfd_create(f"fastroute-{self.name}.ini")
        self.write_options(self.worker, addresses)
        entries: dict[str, list[Entry]] = defaultdict(list)
        for one in self.worker.subscribed:
            address = one.address or addresses[one.socket]
            entries[f"{HOST}{address}" if address.startswith(":") else address].append(
                Entry(one.key, options=one.options, owner=own_pid_owner())
            )
        self._watch(entries)
        return [self.worker.command, "--ini", f"/proc/{os.getpid()}/fd/{self._ini}"]

    def write_options(self, worker: WorkerSettings, addresses: list[str]) -> None:
        """The INI of ``worker``, its sockets at ``addresses``: a port that was found stays through uWSGI's reloads."""
        left = iter(addresses)
        lines = ["[uwsgi]"]
        for name, value in worker.uwsgi_options:
            text = next(left) if name in SOCKET_OPTIONS else value
            lines.append(f"{name} = {text.replace('%', '%%')}")
        data = ("\n".join(lines) + "\n").encode()
        os.pwrite(self._ini, data, 0)
        os.ftruncate(self._ini, len(data))
        self.addresses = addresses


def _found(value: str) -> str:
    """uWSGI's ``socket``, with its pattern and its port 0 replaced by what they are here and now."""
    if ":" not in value and not value.startswith("@"):
        return str(Path(value).absolute())
    pattern: Pattern = parse_pattern(value)
    if pattern.path:
        return value
    host = pattern.host_among(interface_addresses())
    if host is None:
        raise OSError(f"socket = {value}: no interface has an address or a name like {pattern.host}")
    return pattern.address(host, pattern.port or free_port(host))
