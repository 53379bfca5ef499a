"""A Docker API on a unix socket, with containers that exist only here and faults on demand.

It answers what the controller may ask for (``_ping``, ``version``, ``info``, ``events``, ``containers/json``,
``containers/ID/json``, ``networks``) as an engine 20.10 does, and 403 to anything else.  Containers change through the
methods of :class:`FakeDocker`, which publish the events that Docker would, in its order.  Faults: ``tamper`` decides
what becomes of each event (dropped, twice, late); ``cut`` breaks all streams off; ``fail`` and ``hang`` name calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.proxy_rules import only_reads

Event = dict[str, Any]
#: moby: daemon/events/events.go, eventsLimit.
REPLAYED = 256


def rfc3339(time_ns: int) -> str:
    """Docker's way to write a time; 0: never."""
    if not time_ns:
        return "0001-01-01T00:00:00Z"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9)) + f".{time_ns % 10**9:09d}Z"


class Failure(Exception):
    """Docker's answer is an error, of ``status``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeContainer:
    """One container; ``networks`` maps a network's name to the address there (empty while it does not run);
    ``broken``: Docker can't list it, and so no list with it; ``stuck``: it is listed, and no inspect finds it."""

    def __init__(self, name: str, labels: dict[str, str], networks: list[str], **more: Any) -> None:
        self.id = hashlib.sha256(f"{name}{time.time_ns()}".encode()).hexdigest()
        self.name, self.labels = name, labels
        self.networks = dict.fromkeys(networks, "")
        self.endpoints = dict.fromkeys(networks, "")
        self.created, self.started, self.finished = time.time_ns(), 0, 0
        self.status, self.exit_code = "created", 0
        self.health: str = more.get("health", "")
        self.stop_signal: str = more.get("stop_signal", "")
        self.stop_timeout: int | None = more.get("stop_timeout")
        self.ports: list[int] = more.get("ports", [8000])
        self.network_mode: str = more.get("network_mode") or (networks[0] if networks else "none")
        self.broken = self.stuck = False

    def inspect(self) -> dict[str, Any]:
        """The answer of ``containers/ID/json``."""
        state: dict[str, Any] = {
            "Status": self.status,
            "Running": self.status in ("running", "paused"),
            "Paused": self.status == "paused",
            "ExitCode": self.exit_code,
            "StartedAt": rfc3339(self.started),
            "FinishedAt": rfc3339(self.finished),
        }
        if self.health:
            state["Health"] = {"Status": self.health}
        config: dict[str, Any] = {"Labels": self.labels, "ExposedPorts": {f"{port}/tcp": {} for port in self.ports}}
        if self.stop_signal:
            config["StopSignal"] = self.stop_signal
        if self.stop_timeout is not None:
            config["StopTimeout"] = self.stop_timeout
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": rfc3339(self.created),
            "State": state,
            "Config": config,
            "HostConfig": {"NetworkMode": self.network_mode},
            "NetworkSettings": {"Networks": self._networks()},
        }

    def row(self) -> dict[str, Any]:
        """The container's row in ``containers/json``."""
        text = {"running": "Up 3 minutes", "paused": "Up 3 minutes (Paused)"}.get(self.status, "Exited (0) a while ago")
        if self.health and self.status == "running":
            text += f" (health: {self.health})" if self.health == "starting" else f" ({self.health})"
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Labels": self.labels,
            "State": self.status,
            "Status": text,
            "NetworkSettings": {"Networks": self._networks()},
        }

    def _networks(self) -> dict[str, Any]:
        return {
            name: {"EndpointID": self.endpoints[name], "IPAddress": address, "Gateway": "", "GlobalIPv6Address": ""}
            for name, address in self.networks.items()
        }


class FakeDocker:
    """The engine called ``id``.  ``asked`` lists (method, path without version) of every call; ``clock``: its time in
    ns."""

    def __init__(self, path: Path, id: str = "FAKE:ENGINE") -> None:
        self.path, self.id = path, id
        self.url = f"unix://{path}"
        self.containers: dict[str, FakeContainer] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.tamper: Callable[[Event], list[tuple[float, Event]]] = lambda event: [(0.0, event)]
        self.history: list[Event] = []
        self.clock: Callable[[], int] = time.time_ns
        self._failing: dict[str, int] = {}
        self._hanging: dict[str, threading.Event] = {}
        self._streams: set[queue.SimpleQueue[Event | None]] = set()
        self._lock = threading.RLock()
        self._addresses = 1
        self._server: _Server | None = None
        self.network("bridge")

    # The daemon.

    def start(self) -> None:
        """Listen, on a socket file that is new."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self._server = _Server(str(self.path), _Handler)
        self._server.docker = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: the socket file stays, nobody answers."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        for hanging in self._hanging.values():
            hanging.set()
        self.cut()

    def cut(self) -> None:
        """Break off every stream of events."""
        with self._lock:
            for stream in self._streams:
                stream.put(None)
            self._streams.clear()

    @contextmanager
    def fail(self, path: str, status: int = 500) -> Iterator[None]:
        """Calls whose path matches ``path`` are answered with ``status``."""
        self._failing[path] = status
        yield
        del self._failing[path]

    @contextmanager
    def hang(self, path: str) -> Iterator[None]:
        """Calls whose path matches ``path`` get no answer until the block ends."""
        self._hanging[path] = threading.Event()
        yield
        self._hanging.pop(path).set()

    # Containers and networks.

    def network(self, name: str, driver: str = "bridge") -> None:
        """A new network."""
        self.networks[name] = {
            "Name": name,
            "Id": hashlib.sha256(name.encode()).hexdigest(),
            "Driver": driver,
            "Scope": "local",
            "IPAM": {"Config": [{"Gateway": f"172.99.{len(self.networks)}.1"}]},
        }

    def create(self, name: str, labels: dict[str, str], *networks: str, **more: Any) -> FakeContainer:
        """``docker create``; without ``networks`` on the default bridge."""
        with self._lock:
            one = self.containers[name] = FakeContainer(name, labels, list(networks or ("bridge",)), **more)
            self._publish("create", one)
            return one

    def start_container(self, one: FakeContainer, address: str = "") -> None:
        """``docker start``; ``address`` where the next free one will not do."""
        with self._lock:
            for name in one.networks:
                self._join(one, name, address)
            one.status, one.started = "running", self.clock()
            one.health = "starting" if one.health else ""
            self._publish("start", one)

    def run(self, name: str, labels: dict[str, str], *networks: str, address: str = "", **more: Any) -> FakeContainer:
        """``docker run -d``."""
        one = self.create(name, labels, *networks, **more)
        self.start_container(one, address)
        return one

    def kill(self, one: FakeContainer, signal: int) -> None:
        """The signal is sent; what the process makes of it is another matter."""
        self._publish("kill", one, signal=str(signal))

    def die(self, one: FakeContainer, code: int = 0) -> None:
        """The process has ended."""
        with self._lock:
            one.status, one.exit_code, one.finished = "exited", code, time.time_ns()
            names = [name for name, address in one.networks.items() if address]
            for name in names:
                one.networks[name] = one.endpoints[name] = ""
            self._publish("die", one, exitCode=str(code))
            for name in names:
                self._publish_network("disconnect", one, name)

    def run_out_of_memory(self, one: FakeContainer) -> None:
        """The kernel kills some process of the container; if it is the first one, :meth:`die` follows."""
        self._publish("oom", one)

    def pause(self, one: FakeContainer) -> None:
        """``docker pause``."""
        one.status = "paused"
        self._publish("pause", one)

    def unpause(self, one: FakeContainer) -> None:
        """``docker unpause``."""
        one.status = "running"
        self._publish("unpause", one)

    def begin_health_again(self) -> None:
        """The daemon starts anew under its containers (live-restore), as Engine 25 does and later ones: no event tells
        that every HEALTHCHECK begins at ``starting``, and what happened before is forgotten."""
        with self._lock:
            self.history.clear()
            for one in self.containers.values():
                if one.health and one.status in ("running", "paused"):
                    one.health = "starting"

    def set_health(self, one: FakeContainer, health: str) -> None:
        """The HEALTHCHECK changes its mind."""
        one.health = health
        self._publish(f"health_status: {health}", one)

    def connect(self, one: FakeContainer, network: str) -> None:
        """``docker network connect``."""
        with self._lock:
            self._join(one, network, "")

    def disconnect(self, one: FakeContainer, network: str) -> None:
        """``docker network disconnect``."""
        with self._lock:
            del one.networks[network], one.endpoints[network]
            self._publish_network("disconnect", one, network)

    def run_health_checks(self, one: FakeContainer, times: int) -> None:
        """Each check is an exec with events of its own; nobody listens to them, but they fill what can be replayed."""
        for _ in range(times):
            self._publish("exec_die", one, exitCode="0")

    def remove(self, one: FakeContainer) -> None:
        """``docker rm``."""
        with self._lock:
            del self.containers[one.name]
            self._publish("destroy", one)

    def get_stuck(self, one: FakeContainer, status: str = "removing") -> None:
        """``docker rm`` that does not end; no event tells of it."""
        one.status, one.stuck = status, True

    def find(self, ref: str) -> FakeContainer | None:
        """The container with this id or name."""
        return next((one for one in list(self.containers.values()) if ref in (one.id, one.name)), None)

    def _join(self, one: FakeContainer, network: str, address: str) -> None:
        self._addresses += 1
        one.networks[network] = address or f"172.99.{self._addresses // 250}.{self._addresses % 250 + 2}"
        one.endpoints[network] = hashlib.sha256(f"{one.id}{self._addresses}".encode()).hexdigest()
        self._publish_network("connect", one, network)

    # Events.

    def _publish(self, action: str, one: FakeContainer, **attributes: str) -> None:
        actor = {"ID": one.id, "Attributes": {**one.labels, "name": one.name, **attributes}}
        self._send({"Type": "container", "Action": action, "status": action, "id": one.id, "Actor": actor})

    def _publish_network(self, action: str, one: FakeContainer, network: str) -> None:
        attributes = {"container": one.id, "name": network, "type": "bridge"}
        actor = {"ID": self.networks[network]["Id"], "Attributes": attributes}
        self._send({"Type": "network", "Action": action, "Actor": actor})

    def _send(self, event: Event) -> None:
        with self._lock:
            time_ns = self.clock()
            event |= {"scope": "local", "time": time_ns // 10**9, "timeNano": time_ns}
            self.history = [*self.history, event][-REPLAYED:]
            for delay, tampered in self.tamper(event):
                if delay:
                    threading.Timer(delay, self._deliver, (tampered,)).start()
                else:
                    self._deliver(tampered)

    def _deliver(self, event: Event) -> None:
        with self._lock:
            for stream in self._streams:
                stream.put(event)

    def subscribe(self, since_ns: int) -> tuple[list[Event], queue.SimpleQueue[Event | None]]:
        """What happened since, and what will."""
        with self._lock:
            stream: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
            self._streams.add(stream)
            return [event for event in self.history if event["timeNano"] >= since_ns], stream

    def answer(self, path: str, filters: dict[str, list[str]] | None = None) -> Any:
        """The JSON of a call other than events; ``None``: 404; raises ``PermissionError`` for what nobody may ask."""
        for pattern, hanging in list(self._hanging.items()):
            if re.search(pattern, path):
                hanging.wait(60)
        for pattern, status in list(self._failing.items()):
            if re.search(pattern, path):
                raise Failure(status, "failing as told")
        if path in ("/version", "/info", "/networks"):
            system = {"ID": self.id, "ServerVersion": "20.10.24", "SystemTime": rfc3339(self.clock())}
            return {"/version": {"ApiVersion": "1.41"}, "/info": system}.get(path, list(self.networks.values()))
        if path == "/_ping":
            return "OK"
        if path == "/containers/json":
            return self._list(filters or {})
        if match := re.fullmatch(r"/containers/([^/]+)/json", path):
            one = self.find(match[1])
            return one.inspect() if one and not one.stuck else None
        raise PermissionError(path)

    def _list(self, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        with self._lock:
            found = [one for one in self.containers.values() if one.status in filters.get("status", [one.status])]
        for name, equals, value in (label.partition("=") for label in filters.get("label", ())):
            found = [one for one in found if name in one.labels and (not equals or one.labels[name] == value)]
        if broken := [one.name for one in found if one.broken]:
            raise Failure(500, f"container {broken[0]}: layer not known")
        return [one.row() for one in found]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    docker: FakeDocker


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Connections end when and how they like."""
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = re.sub(r"^/v\d+\.\d+", "", url.path)
        self.server.docker.asked.append(("GET", path))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if path == "/events":
            self._events(query)
        else:
            self._call(path, json.loads(query.get("filters", "{}")))

    def do_POST(self) -> None:
        self.server.docker.asked.append(("POST", self.path))
        self._reply(403, b"{}")

    def _call(self, path: str, filters: dict[str, list[str]]) -> None:
        try:
            answer = self.server.docker.answer(path, filters)
        except Failure as error:
            self._reply(error.status, json.dumps({"message": str(error)}).encode())
        except PermissionError:
            self._reply(403, b"{}")
        else:
            body = {"message": "no such thing"} if answer is None else answer
            self._reply(404 if answer is None else 200, json.dumps(body).encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _events(self, query: dict[str, str]) -> None:
        filters = json.loads(query.get("filters", "{}"))
        since, until = (int(Decimal(query[name]) * 10**9) if name in query else None for name in ("since", "until"))
        past, stream = self.server.docker.subscribe(since or time.time_ns())
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in past:
            if until is None or event["timeNano"] <= until:
                self._event(event, filters)
        while until is None and (live := stream.get()) is not None:
            self._event(live, filters)
        if until is not None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _event(self, event: Event, filters: dict[str, list[str]]) -> None:
        action = event["Action"].partition(":")[0]
        if event["Type"] in filters.get("type", [event["Type"]]) and action in filters.get("event", [action]):
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")


@contextmanager
def fake_engine(folder: Path, id: str = "FAKE:ENGINE") -> Iterator[FakeDocker]:
    """An engine that answers in ``folder`` while the block runs; afterwards, that it was asked for reads only."""
    engine = FakeDocker(socket_path(folder), id)
    engine.start()
    yield engine
    engine.stop()
    engine.path.unlink()
    only_reads(engine.asked)


def socket_path(folder: Path) -> Path:
    """A path short enough for a unix socket, in ``folder`` or near it."""
    path = folder / "docker.sock"
    return path if len(os.fsencode(path)) < 100 else Path(f"/tmp/fake-docker-{os.getpid()}-{time.time_ns()}.sock")
