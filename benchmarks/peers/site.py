"""The worker containers that all subjects stand before, on an engine of their own (``PYTHONPATH=tests``)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.private_engine import PrivateEngine

from benchmarks.peers.docker_subjects import NETWORK, WORKER_PORT, Subject, all_labels
from benchmarks.peers.strict_client import Target
from benchmarks.programs import wait_until

SUBNET = "10.213.78"
#: The key of three containers, which most accidents happen to.
THREE = "three"
NAMES = ("three-1", "three-2", "three-3")
#: The keys of the services that ``docker compose`` deploys, and how many replicas these have.
SERVICES = {"one": 1, "two": 2}
COMPOSE_PROJECT = "peers"


class Site:
    """The containers, and what can be done to them."""

    def __init__(self, engine: PrivateEngine, folder: Path) -> None:
        self.engine, self._folder = engine, folder
        self.subjects: Sequence[Subject] = ()
        self.docker = engine.docker

    # --- containers

    def run(self, name: str, key: str, *options: str, at: int | None = None, image: str = "peers-worker") -> None:
        """``docker run`` of a worker; ``at`` is the last number of its address."""
        placed = ("--ip", f"{SUBNET}.{at}") if at else ()
        labels = [word for label, value in all_labels(key).items() for word in ("--label", f"{label}={value}")]
        fixed = ("-d", "--name", name, "--hostname", name, "--network", NETWORK, "-e", f"KEY={key}")
        self.docker("run", *fixed, *placed, *labels, *options, image)

    def remove(self, *names: str) -> None:
        """``docker rm -f`` of those that are there."""
        there = set(self.docker("ps", "-a", "--format", "{{.Names}}").split())
        if found := [name for name in names if name in there]:
            self.docker("rm", "-f", *found)

    def compose(self, *argv: str) -> None:
        """``docker compose`` on this engine."""
        command = ["docker", "compose", "-p", COMPOSE_PROJECT, "-f", str(self._folder / "compose.json"), *argv]
        environment = os.environ | {"DOCKER_HOST": self.engine.url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def of_service(self, service: str) -> list[str]:
        """The names of its running containers, the oldest first."""
        marks = ("--filter", f"label=com.docker.compose.service={service}")
        return self.docker("ps", "--format", "{{.Names}}", *marks).split()[::-1]

    def address(self, name: str) -> str:
        """On the workers' network."""
        return self.docker("inspect", "-f", f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}", name)

    def host_names(self, *names: str) -> set[str]:
        """What these containers answer with."""
        return set(self.docker("inspect", "-f", "{{.Config.Hostname}}", *names).split())

    def control(self, name: str, what: str) -> None:
        """``break`` or ``mend`` a worker, past all proxies."""
        connection = http.client.HTTPConnection(self.address(name), WORKER_PORT, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", f"/control/{what}")
            connection.getresponse().read()

    # --- what subjects serve

    def taking_part(self, fixed: bool) -> list[Subject]:
        """Every subject, or those alone that watch Docker."""
        return [subject for subject in self.subjects if fixed or not subject.fixed]

    def targets(self, key: str, subjects: Sequence[Subject]) -> dict[str, Target]:
        """For the client."""
        return {subject.name: Target(subject.host(key), subject.port, key) for subject in subjects}

    def settle(self, key: str, names: set[str], subjects: Sequence[Subject], seconds: float = 60) -> None:
        """Until each of ``subjects`` sends requests of ``key`` to just the containers with these host names."""
        with ThreadPoolExecutor(len(subjects)) as pool:
            waiting = [pool.submit(self._settle, subject, key, names, seconds) for subject in subjects]
            for each in waiting:
                each.result()

    def _settle(self, subject: Subject, key: str, names: set[str], seconds: float) -> None:
        def served() -> bool:
            return {_asked(subject, key) for _ in range(4 * len(names))} == names

        wait_until(served, f"{subject.name} serves {key} by {sorted(names)}", seconds)


def _asked(subject: Subject, key: str) -> str:
    """Who answers one request; the status where it is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", subject.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": subject.host(key), "Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode()
        return text.split()[0] if answer.status == 200 else str(answer.status)


@contextlib.contextmanager
def standing_site(folder: Path) -> Iterator[Site]:
    """Three containers of one key, and a compose project with services of one and two replicas."""
    (folder / "engine").mkdir()
    with PrivateEngine(folder / "engine") as engine:
        site = Site(engine, folder)
        engine.docker("network", "create", "--subnet", f"{SUBNET}.0/24", NETWORK)
        _make_images(engine, folder)
        (folder / "compose.json").write_text(json.dumps(_compose_file()))
        for number, name in enumerate(NAMES):
            site.run(name, THREE, at=11 + number)
        site.compose("up", "-d")
        try:
            yield site
        finally:
            site.compose("down", "--timeout", "1")
            site.remove(*engine.docker("ps", "-a", "--format", "{{.Names}}").split())
            engine.docker("network", "rm", NETWORK)


def _make_images(engine: PrivateEngine, folder: Path) -> None:
    """Images with nothing but the worker, one of them with a HEALTHCHECK."""
    source = Path(__file__).with_name("deployed_worker.c")
    subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", folder / "worker", source], check=True)
    with tarfile.open(folder / "image.tar", "w") as tar:
        tar.add(folder / "worker", "worker")
    plain = [f'ENTRYPOINT ["/worker", "{WORKER_PORT}"]', f"EXPOSE {WORKER_PORT}"]
    check = f'HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD ["/worker", "--check", "{WORKER_PORT}"]'
    for name, changes in (("peers-worker", plain), ("peers-worker-checked", [*plain, check])):
        words = [word for change in changes for word in ("--change", change)]
        engine.docker("import", *words, str(folder / "image.tar"), name)


def _compose_file() -> dict[str, object]:
    services = {
        key: {
            "image": "peers-worker", "networks": [NETWORK], "environment": {"KEY": key}, "labels": all_labels(key),
            "deploy": {"replicas": replicas},
        }
        for key, replicas in SERVICES.items()
    }  # fmt: skip
    # Compose takes a dollar for a variable's; none of the labels has one.
    return {"services": services, "networks": {NETWORK: {"external": True, "name": NETWORK}}}
