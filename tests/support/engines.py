"""One face for engines that tests drive: a real one, the fake one by its socket, and the fake one without a socket.

What test_engine_conformance.py asks of one it asks of all.  An engine makes containers on two networks of the test's
own, ``one`` and ``two``; they are named by their id, and are gone with the block.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests
from support.fake_docker import FakeDocker, fake_engine
from support.simulated_engine import Simulation

LABELS = {"test.fastroute.engine": "conformance"}
#: A process that ends by SIGTERM and SIGQUIT with 0, by SIGINT with 3; it stays deaf to them where ``deaf`` is there.
_SCRIPT = """
end() { [ -e /deaf ] || exit $1; }
trap 'end 0' TERM QUIT; trap 'end 3' INT; trap : HUP
while :; do sleep 0.02; done
"""
_IMAGE = "debian:trixie-slim"
_API = "v1.41"


class _ByHttp:
    """Calls and events of an engine that has a socket."""

    def __init__(self, url: str) -> None:
        self.api = docker.APIClient(base_url=url, version=_API.removeprefix("v"))
        self.api.trust_env = False

    def get(self, path: str, **query: Any) -> tuple[int, Any]:
        params = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
        answer = self.api.get(f"{self.api.base_url}/{_API}{path}", params=params, timeout=10)
        text = answer.text.strip()
        return answer.status_code, json.loads(text) if text[:1] in "[{" else text

    def past(self, since: str, until: str) -> list[dict[str, Any]]:
        """The events of a closed range, as the engine replays them."""
        query = {"since": since, "until": until}
        answer = self.api.get(f"{self.api.base_url}/{_API}/events", params=query, timeout=10)
        return [json.loads(line) for line in answer.text.splitlines()]

    @contextmanager
    def listen(self, since: str = "") -> Iterator[_Stream]:
        with _Stream(self.api, since) as stream:
            yield stream


class _Stream:
    """Reads the stream of events on a thread."""

    def __init__(self, api: docker.APIClient, since: str) -> None:
        self.seen: list[dict[str, Any]] = []
        params = {"since": since} if since else {}
        self._answer = api.get(f"{api.base_url}/{_API}/events", params=params, stream=True, timeout=(10, 60))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.raw.shutdown()
        self._thread.join(10)
        self._answer.close()

    def _read(self) -> None:
        with contextlib.suppress(requests.RequestException, OSError, AttributeError):
            for line in self._answer.iter_lines(chunk_size=1):
                self.seen.append(json.loads(line))


class RealEngine(_ByHttp):
    """The machine's engine; the base image is there, as ``make test`` sees to it."""

    def __init__(self, url: str = "unix:///var/run/docker.sock") -> None:
        super().__init__(url)
        self._run = f"fastroute-test-{secrets.token_hex(4)}"
        self._ids: list[str] = []

    def __enter__(self) -> RealEngine:
        for network in ("one", "two"):
            self.api.create_network(self._name(network), labels=LABELS)
        return self

    def __exit__(self, *_: object) -> None:
        for id in self._ids:
            with contextlib.suppress(docker.errors.APIError):
                self.api.remove_container(id, force=True)
        for network in ("one", "two"):
            self.api.remove_network(self._name(network))
        self.api.close()

    def _name(self, name: str) -> str:
        return f"{self._run}-{name}"

    def known(self, name: str) -> str:
        """The test's name of a container or network of this run."""
        return name.removeprefix(f"{self._run}-")

    def create(self, name: str, health: bool = False, stop_signal: str = "SIGTERM") -> str:
        """A container on network ``one`` that does not run yet; its id."""
        # In its start period a check that fails says nothing, so that the state stays until the test changes it.
        check = {"test": ["CMD", "test", "-e", "/healthy"], "interval": 10**8, "retries": 1, "start_period": 10**11}
        created = self.api.create_container(
            _IMAGE, ["sh", "-c", _SCRIPT], name=self._name(name), labels=LABELS, ports=[8000], stop_signal=stop_signal,
            healthcheck=check if health else None,
            host_config=self.api.create_host_config(network_mode=self._name("one")),
        )  # fmt: skip
        self._ids.append(created["Id"])
        return str(created["Id"])

    def start(self, id: str) -> None:
        self.api.start(id)

    def stop(self, id: str, deaf: bool = False) -> None:
        """``docker stop``; ``deaf``: it ignores the signal."""
        if deaf:
            self._do(id, "touch /deaf")
        self.api.stop(id, timeout=1 if deaf else 10)

    def restart(self, id: str) -> None:
        self.api.restart(id)

    def kill(self, id: str, signal: int) -> None:
        """``docker kill``; with 9, or a signal that it survives."""
        self.api.kill(id, signal)

    def end(self, id: str, code: int) -> None:
        """Its process ends by itself."""
        assert code == 3
        self._do(id, "kill -INT 1")

    def pause(self, id: str) -> None:
        self.api.pause(id)

    def unpause(self, id: str) -> None:
        self.api.unpause(id)

    def be(self, id: str, health: str) -> None:
        """Its HEALTHCHECK comes to this result; back when the engine says so."""
        self._do(id, "touch /healthy" if health == "healthy" else "rm -f /healthy")
        deadline = time.monotonic() + 20
        while self.api.inspect_container(id)["State"]["Health"]["Status"] != health:
            assert time.monotonic() < deadline, f"not {health} within 20 s"
            time.sleep(0.05)

    def connect(self, id: str, network: str) -> None:
        self.api.connect_container_to_network(id, self._name(network))

    def disconnect(self, id: str, network: str) -> None:
        self.api.disconnect_container_from_network(id, self._name(network))

    def rename(self, id: str, name: str) -> None:
        self.api.rename(id, self._name(name))

    def remove(self, id: str) -> None:
        self.api.remove_container(id, force=True)

    def _do(self, id: str, command: str) -> None:
        self.api.exec_start(self.api.exec_create(id, ["sh", "-c", command])["Id"])


class _Fake:
    """The fake engine, driven."""

    def __init__(self, engine: FakeDocker) -> None:
        self.engine = engine
        for network in ("one", "two"):
            engine.network(network)

    def known(self, name: str) -> str:
        """As :meth:`RealEngine.known`."""
        return name

    def _find(self, id: str) -> Any:
        container = self.engine.find(id)
        assert container is not None
        return container

    def create(self, name: str, health: bool = False, stop_signal: str = "SIGTERM") -> str:
        more = {"health": "starting" if health else "", "stop_signal": stop_signal}
        return self.engine.create(name, LABELS, "one", **more).id

    def start(self, id: str) -> None:
        self.engine.start_container(self._find(id))

    def stop(self, id: str, deaf: bool = False) -> None:
        self.engine.stop_container(self._find(id), deaf=deaf)

    def restart(self, id: str) -> None:
        self.engine.restart_container(self._find(id))

    def kill(self, id: str, signal: int) -> None:
        self.engine.kill(self._find(id), signal)
        if signal == 9:
            self.engine.die(self._find(id), 137)

    def end(self, id: str, code: int) -> None:
        self.engine.die(self._find(id), code)

    def pause(self, id: str) -> None:
        self.engine.pause(self._find(id))

    def unpause(self, id: str) -> None:
        self.engine.unpause(self._find(id))

    def be(self, id: str, health: str) -> None:
        self.engine.set_health(self._find(id), health)

    def connect(self, id: str, network: str) -> None:
        self.engine.connect(self._find(id), network)

    def disconnect(self, id: str, network: str) -> None:
        self.engine.disconnect(self._find(id), network)

    def rename(self, id: str, name: str) -> None:
        self.engine.rename(self._find(id), name)

    def remove(self, id: str) -> None:
        self.engine.remove(self._find(id))


class FakeEngine(_Fake, _ByHttp):
    """The fake engine by its socket."""

    def __init__(self, engine: FakeDocker) -> None:
        _Fake.__init__(self, engine)
        _ByHttp.__init__(self, engine.url)


class SimulatedEngine(_Fake):
    """The fake engine as the simulation has it: no socket, and events in a queue of its own."""

    def __init__(self) -> None:
        self._simulation = Simulation()
        super().__init__(self._simulation.docker)

    def get(self, path: str, **query: Any) -> tuple[int, Any]:
        answer = self.engine.answer(path, query.get("filters"))
        return (404, {}) if answer is None else (200, answer)

    @contextmanager
    def listen(self) -> Iterator[_Queue]:
        yield _Queue(self._simulation)


class _Queue:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    @property
    def seen(self) -> list[dict[str, Any]]:
        return list(self._simulation.events)


Engine = RealEngine | FakeEngine | SimulatedEngine


@contextmanager
def engine_of(kind: str, folder: Path) -> Iterator[Engine]:
    """The engine called ``kind``: real, fake or simulated."""
    if kind == "real":
        with RealEngine() as real:
            yield real
    elif kind == "fake":
        with fake_engine(folder) as fake:
            engine = FakeEngine(fake)
            yield engine
            engine.api.close()
    else:
        yield SimulatedEngine()
