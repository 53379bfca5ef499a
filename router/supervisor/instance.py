"""One process of a worker: it starts on free ports, is announced while it accepts, withdrawn, ended.  One edge."""

from __future__ import annotations

import os
import shlex
import signal
from collections import defaultdict
from pathlib import Path

from fastroute.router.config.worker import SOCKET_OPTIONS, WorkerSettings
from fastroute.router.protocol.subscription import Entry
from fastroute.router.runtime.interfaces import interface_addresses
from fastroute.router.runtime.logs import get_logger
from fastroute.router.sidecar import command_process
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.pattern import Pattern, parse_pattern
from fastroute.router.sidecar.ports import free_port
from fastroute.router.sidecar.router_peer import own_pid_owner
from fastroute.router.sidecar.uwsgi_child import is_uwsgi
from fastroute.router.sidecar.watched_worker import WatchedWorker
from fastroute.router.supervisor.output import WorkerOutput
from fastroute.router.supervisor.process_groups import MARK

HOST = "127.0.0.1"

log = get_logger("fastroute.workers")


class WorkerInstance:
    """One process, from its start to its end."""

    def __init__(self, name: str, worker: WorkerSettings, announcer: WorkerAnnouncer) -> None:
        #: ``foo.2`` for the second process of the worker foo.
        self.name = name
        self.worker, self._announcer = worker, announcer
        #: 0: it does not run.
        self.pid = 0
        self.started = 0.0
        #: When it was told to end.
        self.signalled = float("inf")
        self.output = WorkerOutput(name)
        self._watched: list[WatchedWorker] = []
        #: The memory file with uWSGI's options.
        self._ini_fd = -1
        self._logged_ready = False
        self._stop_signal: int = signal.SIGTERM
        #: Of uWSGI's sockets, with patterns and ports 0 replaced.
        self.addresses: list[str] = []

    # Its life

    def start(self, mark: str, now: float) -> None:
        """Start the process; ``CommandError`` or ``OSError`` when that fails."""
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
        self.pid = command_process.start(command, environ, self._end_signal(command), worker.cwd, self.output.write_end)
        self.output.started()
        for watched in self._watched:
            watched.start(now)

    def step(self, now: float) -> None:
        """Check whether it accepts connections."""
        for watched in self._watched:
            watched.step(now)
        if self.ready and not self._logged_ready:
            self._logged_ready = True
            keys = ", ".join(dict.fromkeys(entry.key for watched in self._watched for entry in watched.node.entries))
            addresses = ", ".join(watched.node.address for watched in self._watched)
            log.info("%s (pid %d) serves %s at %s", self.name, self.pid, keys, addresses)

    @property
    def due(self) -> float:
        """When :meth:`step` has something to do."""
        return min((watched.due for watched in self._watched), default=float("inf"))

    @property
    def ready(self) -> bool:
        """It accepts connections, and the router has acked it."""
        return all(watched.accepts and self._announcer.settled(watched.node) for watched in self._watched)

    @property
    def waits_for(self) -> str:
        """Why it is not ready."""
        return "; ".join(watched.waits_for for watched in self._watched if watched.waits_for)

    def withdraw(self, now: float) -> None:
        """It is to get no new requests."""
        for watched in self._watched:
            watched.stop(now)

    def drained(self, now: float) -> bool:
        """It has no request in flight."""
        return all(self._announcer.drained(watched.node, now, 0.0) for watched in self._watched)

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
        if self._ini_fd >= 0:
            os.close(self._ini_fd)
            self._ini_fd = -1

    def forget(self) -> None:
        """It is withdrawn: announce nothing of it any more."""
        for watched in self._watched:
            self._announcer.forget(watched.node)

    @property
    def nodes(self) -> list[AnnouncedNode]:
        """What is announced of it."""
        return [watched.node for watched in self._watched]

    def _watch(self, entries: dict[str, list[Entry]]) -> None:
        for address, node_entries in entries.items():
            pattern = parse_pattern(address)
            node = AnnouncedNode(self.name, node_entries)
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
        addresses = [_resolve_pattern(value) for name, value in self.worker.uwsgi_options if name in SOCKET_OPTIONS]
        self._ini_fd = os.memfd_create(f"fastroute-{self.name}.ini")
        self.write_options(self.worker, addresses)
        entries: dict[str, list[Entry]] = defaultdict(list)
        for subscribed in self.worker.subscribed:
            address = subscribed.address or addresses[subscribed.socket]
            entries[f"{HOST}{address}" if address.startswith(":") else address].append(
                Entry(subscribed.key, options=subscribed.options, owner=own_pid_owner())
            )
        self._watch(entries)
        return [self.worker.command, "--ini", f"/proc/{os.getpid()}/fd/{self._ini_fd}"]

    def write_options(self, worker: WorkerSettings, addresses: list[str]) -> None:
        """Write the INI of ``worker``, its sockets at ``addresses``: free ports stay the same when uWSGI reloads."""
        next_address = iter(addresses)
        lines = ["[uwsgi]"]
        for name, value in worker.uwsgi_options:
            text = next(next_address) if name in SOCKET_OPTIONS else value
            lines.append(f"{name} = {text.replace('%', '%%')}")
        data = ("\n".join(lines) + "\n").encode()
        os.pwrite(self._ini_fd, data, 0)
        os.ftruncate(self._ini_fd, len(data))
        self.addresses = addresses


def _resolve_pattern(value: str) -> str:
    """uWSGI's ``socket``, with a pattern and a port 0 replaced by an address of this machine."""
    if ":" not in value and not value.startswith("@"):
        return str(Path(value).absolute())
    pattern: Pattern = parse_pattern(value)
    if pattern.path:
        return value
    host = pattern.host_among(interface_addresses())
    if host is None:
        raise OSError(f"socket = {value}: no interface has an address or a name like {pattern.host}")
    return pattern.address(host, pattern.port or free_port(host))
