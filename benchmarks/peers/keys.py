"""What keys cost: memory with 10, 1,000 and 10,000 of them, and CPU while Docker tells of 100 events a second."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accounting import proportional, tree, usage
from benchmarks.peers.chains import http_workers
from benchmarks.peers.docker_subjects import WORKER_PORT, Subject, Way, ways
from benchmarks.peers.many_keys import file_ways
from benchmarks.programs import wait_until

COUNTS = (10, 1_000, 10_000)
#: Events a second, for so many seconds, with so many containers.
RATE, STORM, STORM_COUNT = 100, 10.0, 1_000
#: Seconds until all keys must be served.
READY = 90.0
#: Seconds that memory has to come to rest.
SETTLE = 20.0
#: The subjects of the deploys that differ in memory and in what they do at an event.
DOCKER = ("router", "nginx", "traefik", "easyhaproxy")


@dataclass(slots=True)
class KeysResult:
    """By subject: MB with each number of keys that it served in time, and % of a core while events come and without."""

    memory: dict[str, dict[int, float]] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    quiet: dict[str, float] = field(default_factory=dict)


def keys_head(counts: Sequence[int]) -> list[str]:
    """Of the table."""
    return ["way", *(f"PSS MB, {count:,} keys" for count in counts),
            f"CPU, {STORM_COUNT:,} containers, no events", f"CPU, {RATE} events/s"]  # fmt: skip


def keys_rows(result: KeysResult, counts: Sequence[int]) -> list[list[str]]:
    """A line a subject; empty: Docker is nothing to it.  ``-``: not served within ``READY`` seconds."""

    def cell(found: dict[str, float], name: str) -> str:
        return f"{found[name]:.1f}%" if name in found else ""

    return [
        [
            name,
            *("-" if (size := by_count.get(count)) is None else f"{size:.0f}" for count in counts),
            cell(result.quiet, name), cell(result.busy, name),
        ]
        for name, by_count in result.memory.items()
    ]  # fmt: skip


def measure_keys(programs: Path, counts: Sequence[int]) -> Iterator[KeysResult]:
    """One subject at a time, before the same worker and the same Docker API; what is known after each number."""
    result, begun = KeysResult(), time.monotonic()
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            with http_workers(folder, WORKER_PORT), _fake_docker(folder, count) as (url, storm):
                started = ways(folder, programs, url)
                chosen: dict[str, Way] = {way: started[way] for way in DOCKER}
                for way, start in {**chosen, **file_ways(folder, count)}.items():
                    stormy = storm if way in DOCKER and count == STORM_COUNT else None
                    try:
                        _measure(result, start, count, stormy)
                    except RuntimeError as error:
                        print(f"  {count:,} keys, {way}: {error}", file=sys.stderr)
                    print(f"  {time.monotonic() - begun:4.0f} s: {count:,} keys, {way}", file=sys.stderr, flush=True)
        yield result


def _measure(result: KeysResult, start: Way, count: int, storm: Callable[[], None] | None) -> None:
    """:class:`RuntimeError`: it does not serve so many."""
    with start() as subjects:
        subject = subjects[-1]
        name = subject.name.removesuffix(", HTTP workers").removesuffix(", defaults")
        _wait_served(subject, count)
        result.memory.setdefault(name, {})[count] = _settled(subject)
        if storm is not None:
            result.quiet[name] = _cpu(subject, lambda: time.sleep(STORM))
            result.busy[name] = _cpu(subject, storm)


def _pids(subject: Subject) -> list[int]:
    return [pid for root in subject.roots for pid in tree(root)]


def _settled(subject: Subject) -> float:
    """MB, pages that processes share once, when that has been the same for some seconds: a reload's old processes have
    left."""
    sizes = [sum(proportional(_pids(subject)))]
    end = time.monotonic() + SETTLE
    while time.monotonic() < end and (len(sizes) < 4 or max(sizes[-4:]) > 1.01 * min(sizes[-4:])):
        time.sleep(1)
        with contextlib.suppress(OSError):
            sizes.append(sum(proportional(_pids(subject))))
    pids = _pids(subject)
    for pid, size in zip(pids, proportional(pids), strict=True):
        print(f"    {size:7.1f} MB  {_command(pid)}", file=sys.stderr)
    return sizes[-1]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:100]


def _wait_served(subject: Subject, count: int) -> None:
    """Until the first, the middle and the last key are answered."""
    asked = {subject.host(f"c{number}") for number in (0, count // 2, count - 1)}
    wait_until(lambda: all(_answered(subject.port, host) for host in asked), f"{subject.name} serves", READY)


def _answered(port: int, host: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": host, "Connection": "close"})
        return connection.getresponse().status == 200


def _cpu(subject: Subject, during: Callable[[], None]) -> float:
    """Percent of a core, of the processes that live through it, and of no others: a reload's new ones are found."""
    before, begun = {pid: _spent(pid) for pid in _pids(subject)}, time.monotonic()
    during()
    after = {pid: _spent(pid) for pid in _pids(subject)}
    spent = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
    return 100 * spent / (time.monotonic() - begun)


def _spent(pid: int) -> float:
    try:
        used = usage([pid])
    except OSError:
        return 0.0
    return used.user + used.system


@contextlib.contextmanager
def _fake_docker(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """The fake Docker API with ``count`` containers, in a process of its own: its URL, and how events are made."""
    path = folder / "docker.sock"
    command = [sys.executable, "-m", "benchmarks.peers.fake_site", str(path), str(count)]
    environment = os.environ | {"PYTHONPATH": "tests"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as fake:  # fmt: skip
        stdin, stdout = fake.stdin, fake.stdout
        assert stdin is not None
        assert stdout is not None

        def storm() -> None:
            stdin.write(f"storm {RATE} {STORM}\n")
            stdin.flush()
            stdout.readline()

        if stdout.readline() != "ready\n":
            raise RuntimeError("the fake Docker API did not start")
        try:
            yield f"unix://{path}", storm
        finally:
            fake.kill()
