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
            container = self.containers[name] = FakeContainer(name, labels, list(networks or ("bridge",)), **more)
            self._publish("create", container)
            return container

    def start_container(self, container: FakeContainer, address: str = "") -> None:
        """``docker start``; ``address`` where the next free one will not do."""
        with self._lock:
            for name in container.networks:
                self._join(container, name, address)
            container.status, container.started = "running", self.clock()
            container.health = "starting" if container.health else ""
            self._publish("start", container)

    def run(self, name: str, labels: dict[str, str], *networks: str, address: str = "", **more: Any) -> FakeContainer:
        """``docker run -d``."""
        container = self.create(name, labels, *networks, **more)
        self.start_container(container, address)
        return container

    def kill(self, container: FakeContainer, signal: int) -> None:
        """The signal is sent; what the process makes of it is another matter."""
        self._publish("kill", container, signal=str(signal))

    def stop_container(self, container: FakeContainer, *, deaf: bool = False) -> None:
        """``docker stop``; ``deaf``: the process does not hear the signal, and is killed when its time is over."""
        self.kill(container, signal_number(container.stop_signal or "SIGTERM"))
        if deaf:
            self.kill(container, 9)
        self.die(container, 137 if deaf else 0)
        self._publish("stop", container)

    def restart_container(self, container: FakeContainer) -> None:
        """``docker restart``."""
        self.stop_container(container)
        self.start_container(container)
        self._publish("restart", container)

    def rename(self, container: FakeContainer, name: str) -> None:
        """``docker rename``."""
        with self._lock:
            before, container.name = container.name, name
            self.containers[name] = self.containers.pop(before)
            self._publish("rename", container, oldName=f"/{before}")

    def die(self, container: FakeContainer, code: int = 0) -> None:
        """The process has ended."""
        with self._lock:
            container.status, container.exit_code, container.finished = "exited", code, self.clock()
            names = [name for name, address in container.networks.items() if address]
            for name in names:
                container.networks[name] = container.endpoints[name] = ""
            self._publish("die", container, exitCode=str(code))
            for name in names:
                self._publish_network("disconnect", container, name)

    def run_out_of_memory(self, container: FakeContainer) -> None:
        """The kernel kills some process of the container; if it is the first one, :meth:`die` follows."""
        self._publish("oom", container)

    def pause(self, container: FakeContainer) -> None:
        """``docker pause``."""
        container.status = "paused"
        self._publish("pause", container)

    def unpause(self, container: FakeContainer) -> None:
        """``docker unpause``."""
        container.status = "running"
        self._publish("unpause", container)

    def begin_health_again(self) -> None:
        """The daemon starts anew under its containers (live-restore), as Engine 25 does and later ones: no event tells
        that every HEALTHCHECK begins at ``starting``, and what happened before is forgotten."""
        with self._lock:
            self.history.clear()
            for container in self.containers.values():
                if container.health and container.status in ("running", "paused"):
                    container.health = "starting"

    def set_health(self, container: FakeContainer, health: str) -> None:
        """The HEALTHCHECK changes its mind."""
        container.health = health
        self._publish(f"health_status: {health}", container)

    def connect(self, container: FakeContainer, network: str) -> None:
        """``docker network connect``; a container that does not run joins when it starts, and no event tells."""
        with self._lock:
            if container.alive:
                self._join(container, network, "")
            else:
                container.networks[network] = container.endpoints[network] = ""

    def disconnect(self, container: FakeContainer, network: str) -> None:
        """``docker network disconnect``; of a container that runs, Docker tells it twice."""
        with self._lock:
            del container.networks[network], container.endpoints[network]
            for _ in range(2 if container.alive else 1):
                self._publish_network("disconnect", container, network)

    def run_health_checks(self, container: FakeContainer, times: int) -> None:
        """Each check is an exec with events of its own; nobody listens to them, but they fill what can be replayed."""
        for _ in range(times):
            self._publish("exec_die", container, exitCode="0")

    def remove(self, container: FakeContainer) -> None:
        """``docker rm -f``."""
        with self._lock:
            if container.alive:
                self.kill(container, 9)
                self.die(container, 137)
            del self.containers[container.name]
            self._publish("destroy", container)

    def get_stuck(self, container: FakeContainer, status: str = "removing") -> None:
        """``docker rm`` that does not end; no event tells of it."""
        container.status, container.stuck = status, True

    def find(self, ref: str) -> FakeContainer | None:
        """The container with this id or name."""
        return next(
            (container for container in list(self.containers.values()) if ref in (container.id, container.name)), None
        )

    def _join(self, container: FakeContainer, network: str, address: str) -> None:
        self._addresses += 1
        container.networks[network] = address or f"172.99.{self._addresses // 250}.{self._addresses % 250 + 2}"
        container.endpoints[network] = hashlib.sha256(f"{container.id}{self._addresses}".encode()).hexdigest()
        self._publish_network("connect", container, network)

    # Events.

    def _publish(self, action: str, container: FakeContainer, **attributes: str) -> None:
        id, names = container.id, {"image": IMAGE, "name": container.name}
        actor = {"ID": id, "Attributes": {**container.labels, **names, **attributes}}
        self._send({"Type": "container", "Action": action, "status": action, "id": id, "from": IMAGE, "Actor": actor})

    def _publish_network(self, action: str, container: FakeContainer, network: str) -> None:
        attributes = {"container": container.id, "name": network, "type": "bridge"}
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
            container = self.find(match[1])
            return container.inspect() if container and not container.stuck else None
        raise PermissionError(path)

    def _list(self, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        with self._lock:
            containers = list(self.containers.values())
        if "status" in filters:
            containers = [container for container in containers if container.status in filters["status"]]
        for name, equals, value in (label.partition("=") for label in filters.get("label", ())):
            containers = [container for container in containers if container.has_label(name, value if equals else None)]
        if broken := [container.name for container in containers if container.broken]:
            raise Failure(500, f"container {broken[0]}: layer not known")
        return [container.row() for container in containers]


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
