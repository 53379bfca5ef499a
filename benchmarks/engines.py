"""Engines for the controller to watch: Docker with real containers, and the fake API with any number of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fake_engine import SPARE
from benchmarks.programs import free_port, running

WORKER = Path(__file__).with_name("worker.c")
LABEL = "benchmark.fastroute"
_PORT = "3031"
_AT_ONCE = 20


@dataclass(slots=True)
class Engine:
    """``count`` containers run, others live on command: ``start`` and ``kill`` (a stop signal) give the time of
    Docker's event (ns), ``end`` takes the container's life.  ``storm``: so many events a second, so long."""

    name: str
    url: str
    count: int
    key: Callable[[int], str]
    start: Callable[[int], int]
    kill: Callable[[int], int]
    end: Callable[[int], None]
    storm: Callable[[float, float], None] | None = None
    options: list[str] = field(default_factory=list)


def compiled(folder: Path) -> Path:
    """The worker, static: an image needs nothing else."""
    program = folder / "worker"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, WORKER], check=True)
    return program


@contextlib.contextmanager
def fake_engine(folder: Path, count: int) -> Iterator[Engine]:
    """The fake API with ``count`` containers, in a process of its own; one worker behind all addresses."""
    port, path = free_port(), folder / "docker.sock"
    command = [sys.executable, "-m", "benchmarks.fake_engine", str(path), str(count), str(port)]
    with (
        running([str(compiled(folder)), str(port)], folder),
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=WORKER.parents[1],
            env=os.environ | {"PYTHONPATH": "tests"},
        ) as fake,
    ):

        def ask(line: str) -> str:
            assert fake.stdin is not None
            assert fake.stdout is not None
            fake.stdin.write(f"{line}\n")
            fake.stdin.flush()
            return fake.stdout.readline().strip()

        def storm(rate: float, seconds: float) -> None:
            ask(f"storm {rate} {seconds}")

        def end(number: int) -> None:
            ask(f"die {number % SPARE}")

        assert fake.stdout is not None
        assert fake.stdout.readline() == "ready\n"
        try:
            yield Engine(
                f"{count:,} (fake API)", f"unix://{path}", count,
                key=lambda number: f"c{count + number % SPARE}.example.com",
                start=lambda number: int(ask(f"start {number % SPARE}")),
                kill=lambda number: int(ask(f"kill {number % SPARE}")),
                end=end, storm=storm,
            )  # fmt: skip
        finally:
            fake.kill()


@contextlib.contextmanager
def real_engine(folder: Path, count: int) -> Iterator[Engine]:
    """Docker with ``count`` containers of ours, and one more that lives on command; all are removed at the end."""
    mark = f"{LABEL}={os.getpid()}"
    image = _image(folder)
    one = f"fastroute-bench-{os.getpid()}"
    events = _Events(one)
    try:
        for number in range(count):
            docker("run", "-d", *_labels(mark, number), image)
        docker("create", "--name", one, *_labels(mark, count), image)

        def signal(name: str, *argv: str) -> int:
            docker(*argv, one)
            return events.time_of(name)

        def end(_: int) -> None:
            signal("die", "kill")

        yield Engine(
            f"{count} (Docker)", os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), count,
            key=lambda _: f"c{count}.example.com",
            start=lambda _: signal("start", "start"),
            kill=lambda _: signal("kill", "kill", "--signal", "TERM"),
            end=end, options=["--filter", f"label={mark}"],
        )  # fmt: skip
    finally:
        events.close()
        found = docker("ps", "-aq", "--filter", f"label={mark}").split()
        for at in range(0, len(found), _AT_ONCE):
            docker("rm", "-f", "-v", *found[at : at + _AT_ONCE])
        docker("rmi", image)


def _labels(mark: str, number: int) -> list[str]:
    return ["--label", mark, "--label", f"fastroute.key=c{number}.example.com", "--label", f"fastroute.port={_PORT}"]


def _image(folder: Path) -> str:
    """An image with nothing but the worker."""
    compiled(folder)
    with tarfile.open(folder / "image.tar", "w") as tar:
        tar.add(folder / "worker", "worker")
    name = f"fastroute-bench-worker:{os.getpid()}"
    docker("import", "--change", f'CMD ["/worker", "{_PORT}"]', str(folder / "image.tar"), name)
    return name


def docker(*argv: str) -> str:
    """What ``docker ARGV`` prints."""
    return subprocess.run(["docker", *argv], capture_output=True, text=True, check=True).stdout


class _Events:
    """Docker's own times of the events of one container."""

    def __init__(self, name: str) -> None:
        command = ["docker", "events", "--filter", f"container={name}", "--format", "{{json .}}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def time_of(self, action: str) -> int:
        """When the next event ``action`` was, in ns; those before it are passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["Action"] == action:
                return int(event["timeNano"])
        raise RuntimeError("docker events ended")

    def close(self) -> None:
        """Listen no more."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
