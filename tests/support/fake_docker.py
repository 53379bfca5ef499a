"""A Docker API on a unix socket, with containers that exist only here and faults on demand.

It answers what the controller may ask for (``_ping``, ``version``, ``info``, ``events``, ``containers/json``,
``containers/ID/json``, ``networks``) as an engine 20.10 does, and 403 to anything else.  Containers change through the
methods of :class:`FakeDocker`, which publish the events that Docker would, in its order; test_engine_conformance.py
holds it to what a real engine does.  Faults: ``tamper`` decides what becomes of each event (dropped, twice, late);
``cut`` breaks all streams off; ``fail`` and ``hang`` name calls.
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.fake_container import FakeContainer, rfc3339
from support.fake_docker_server import Failure, Handler, Server
from support.proxy_rules import only_reads

from fastroute.controller.decide.container import signal_number

Event = dict[str, Any]
#: moby: daemon/events/events.go, eventsLimit.
REPLAYED = 256
IMAGE = "fake:latest"


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
        #: Its part in a swarm, as in ``info``, and what its managers answer; change by :meth:`change_swarm`.
        self.swarm: dict[str, Any] = {"LocalNodeState": "inactive"}
        self.services: list[dict[str, Any]] = []
        self.nodes: list[dict[str, Any]] = []
        self._failing: dict[str, int] = {}
        self._hanging: dict[str, threading.Event] = {}
        self._streams: set[queue.SimpleQueue[Event | None]] = set()
        self._lock = threading.RLock()
        self._addresses = 1
        self._server: Server | None = None
        self.network("bridge")

    # The daemon.

    def start(self) -> None:
        """Listen, on a socket file that is new."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self._server = Server(str(self.path), Handler)
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
            more = {"created": self.clock(), **more}
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

    def stop_container(self, one: FakeContainer, *, deaf: bool = False) -> None:
        """``docker stop``; ``deaf``: the process does not hear the signal, and is killed when its time is over."""
        self.kill(one, signal_number(one.stop_signal or "SIGTERM"))
        if deaf:
            self.kill(one, 9)
        self.die(one, 137 if deaf else 0)
        self._publish("stop", one)

    def restart_container(self, one: FakeContainer) -> None:
        """``docker restart``."""
        self.stop_container(one)
        self.start_container(one)
        self._publish("restart", one)

    def rename(self, one: FakeContainer, name: str) -> None:
        """``docker rename``."""
        with self._lock:
            before, one.name = one.name, name
            self.containers[name] = self.containers.pop(before)
            self._publish("rename", one, oldName=f"/{before}")

    def die(self, one: FakeContainer, code: int = 0) -> None:
        """The process has ended."""
        with self._lock:
            one.status, one.exit_code, one.finished = "exited", code, self.clock()
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
        """``docker network connect``; a container that does not run joins when it starts, and no event tells."""
        with self._lock:
            if one.alive:
                self._join(one, network, "")
            else:
                one.networks[network] = one.endpoints[network] = ""

    def disconnect(self, one: FakeContainer, network: str) -> None:
        """``docker network disconnect``; of a container that runs, Docker tells it twice."""
        with self._lock:
            del one.networks[network], one.endpoints[network]
            for _ in range(2 if one.alive else 1):
                self._publish_network("disconnect", one, network)

    def run_health_checks(self, one: FakeContainer, times: int) -> None:
        """Each check is an exec with events of its own; nobody listens to them, but they fill what can be replayed."""
        for _ in range(times):
            self._publish("exec_die", one, exitCode="0")

    def remove(self, one: FakeContainer) -> None:
        """``docker rm -f``."""
        with self._lock:
            if one.alive:
                self.kill(one, 9)
                self.die(one, 137)
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
        actor = {"ID": one.id, "Attributes": {**one.labels, "image": IMAGE, "name": one.name, **attributes}}
        event = {"Type": "container", "Action": action, "status": action, "id": one.id, "from": IMAGE, "Actor": actor}
        self._send(event)

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

    def change_swarm(self, services: Mapping[str, dict[str, str]] | None = None, down: Iterable[str] = ()) -> None:
        """Labels of services by id, and nodes that are down; managers hear of it."""
        if services is not None:
            self.services = [{"ID": id, "Spec": {"Name": id, "Labels": labels}} for id, labels in services.items()]
        self.nodes = [{"ID": id, "Description": {"Hostname": id}, "Status": {"State": "down"}} for id in down]
        if self.swarm.get("ControlAvailable"):
            self._send({"Type": "service", "Action": "update", "Actor": {"ID": "s", "Attributes": {"name": "s"}}})

    def answer(self, path: str, filters: dict[str, list[str]] | None = None) -> Any:
        """The JSON of a call other than events; ``None``: 404; raises ``PermissionError`` for what nobody may ask."""
        for pattern, hanging in list(self._hanging.items()):
            if re.search(pattern, path):
                hanging.wait(60)
        for pattern, status in list(self._failing.items()):
            if re.search(pattern, path):
                raise Failure(status, "failing as told")
        if path in ("/version", "/info", "/networks"):
            system: dict[str, Any] = {"ID": self.id, "ServerVersion": "20.10.24", "SystemTime": rfc3339(self.clock())}
            system |= {"Name": f"host-{self.id}", "Swarm": self.swarm}
            return {"/version": {"ApiVersion": "1.41"}, "/info": system}.get(path, list(self.networks.values()))
        if path in ("/services", "/nodes"):
            if not self.swarm.get("ControlAvailable"):
                raise Failure(503, "This node is not a swarm manager.")
            return self.services if path == "/services" else self.nodes
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
