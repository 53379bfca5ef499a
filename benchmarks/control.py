"""``python -m benchmarks.control`` (make bench-control): how soon routes follow Docker, and what watching costs.

Controller and router are real programs.  Requests go to the router, one after the other without a pause, so the times
are those of requests: from Docker's own time of an event to the first request that a new container answers, and to the
last one that was sent to a container after its stop signal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles

from benchmarks import charts, report
from benchmarks.accounting import machine, resident, tree, usage
from benchmarks.engines import Engine, fake_engine, real_engine
from benchmarks.programs import free_port, running, wait_until

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- control -->", "<!-- end of control -->"
REAL, FAKE = (10, 100), (1_000, 5_000)
#: Seconds over which CPU is counted: idle (a whole comparison is in it), and while events come.
IDLE, STORM, RATE = 32.0, 10.0, 100
#: Nanoseconds without an answer: the container gets no requests any more.
QUIET = 200_000_000
HEAD = ["containers", "start → first request p50 ms", "p99 ms", "stop signal → last request p50 ms", "p99 ms",
        "idle CPU", f"CPU at {RATE} events/s", "RSS MB", "load average"]  # fmt: skip


@dataclass(slots=True)
class Figures:
    """What was measured with so many containers; times in ms, CPU in % of a core."""

    name: str
    start: list[float] = field(default_factory=list)
    stop: list[float] = field(default_factory=list)
    idle: float = 0.0
    busy: float | None = None
    memory: float = 0.0
    load: float = 0.0

    def row(self) -> list[str]:
        """The table's line."""
        return [
            self.name,
            *(
                f"{value:.1f}"
                for times in (self.start, self.stop)
                for value in (percentile(times, 50), percentile(times, 99))
            ),
            f"{self.idle:.2f}%",
            "" if self.busy is None else f"{self.busy:.1f}%",
            f"{self.memory:.0f}",
            f"{self.load:.1f}",
        ]


def percentile(values: list[float], rank: int) -> float:
    """The ``rank``th percentile."""
    return quantiles(values, n=100, method="inclusive")[rank - 1] if len(values) > 1 else (values or [0.0])[0]


class Requests(threading.Thread):
    """Requests for one key, one after the other: when each was sent (ns), and whether a worker answered."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__(daemon=True)
        self.answered: list[tuple[int, int]] = []
        self.refused = 0
        self._port, self._packet, self._ending = port, _packet(key), threading.Event()

    def run(self) -> None:
        """Ask until :meth:`end`."""
        while not self._ending.is_set():
            sent = time.time_ns()
            if self._ask():
                self.answered.append((sent, time.time_ns()))
            else:
                self.refused += 1
                time.sleep(0.0005)

    def end(self) -> None:
        """Ask no more."""
        self._ending.set()
        self.join()

    def _ask(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as link:
            link.sendall(self._packet)
            return b" 200 " in link.recv(4096)[:20]


def _packet(key: str) -> bytes:
    pairs = {"HTTP_HOST": key, "REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_PROTOCOL": "HTTP/1.1"}
    block = b"".join(struct.pack("<H", len(text)) + text for pair in pairs.items() for text in map(str.encode, pair))
    return struct.pack("<BHB", 0, len(block), 0) + block


@contextlib.contextmanager
def programs(folder: Path, engine: Engine) -> Iterator[tuple[int, int]]:
    """A router and a controller that watches ``engine``: the router's port, the controller's pid."""
    port, admin, own = free_port(), free_port(), free_port()
    here = Path(sys.executable).parent
    router = [str(here / "fastroute-router"), "--listen", f"127.0.0.1:{port}", "--subscription-server",
              f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]  # fmt: skip
    controller = [str(here / "fastroute-controller"), "--docker-host", engine.url, "--router", f"127.0.0.1:{port}",
                  "--admin", f"127.0.0.1:{own}", "--log-level", "warning", *engine.options]  # fmt: skip
    with running(router, folder), running(controller, folder) as watching:
        wait_until(lambda: _ready(admin) == engine.count, f"{engine.count} containers routed", 120)
        yield port, watching.pid


def _ready(admin: int) -> int:
    asked = subprocess.run(
        [str(Path(sys.executable).parent / "fastroute-ctl"), "status", "-o", "json",
         "--router-url", f"http://127.0.0.1:{admin}", "--timeout", "20"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return sum(key["ready"] for key in json.loads(asked.stdout)["keys"]) if asked.returncode == 0 else 0


def measure(folder: Path, engine: Engine, samples: int, idle: float) -> Figures:
    """All figures with the containers of ``engine``."""
    figures = Figures(engine.name)
    with programs(folder, engine) as (port, pid):
        time.sleep(3)
        figures.idle = _cpu(pid, lambda: time.sleep(idle))
        for number in range(samples):
            _life(figures, engine, port, number)
        if engine.storm is not None:
            figures.busy = _cpu(pid, lambda: engine.storm and engine.storm(RATE, STORM))
        figures.memory = sum(resident(tree(pid)))
        figures.load = os.getloadavg()[1]
    return figures


def _life(figures: Figures, engine: Engine, port: int, number: int) -> None:
    """One container starts, serves, gets its stop signal, and ends."""
    requests = Requests(port, engine.key(number))
    requests.start()
    started = engine.start(number)
    wait_until(lambda: requests.answered, "a first answer", 20)
    figures.start.append((requests.answered[0][1] - started) / 1e6)
    killed = engine.kill(number)
    wait_until(lambda: time.time_ns() - requests.answered[-1][1] > QUIET, "no more answers", 20)
    requests.end()
    figures.stop.append(max(0.0, (max(sent for sent, _ in requests.answered) - killed) / 1e6))
    engine.end(number)


def _cpu(pid: int, during: Callable[[], object]) -> float:
    """Percent of a core."""
    pids, begun = tree(pid), time.monotonic()
    before = usage(pids)
    during()
    spent = usage(pids) - before
    return 100 * (spent.user + spent.system) / (time.monotonic() - begun)


def goals(found: list[Figures]) -> list[report.Goal]:
    """What the design asks for."""
    wanted = []
    for one in found:
        wanted += [
            report.Goal(f"start → first request, p99 ms, {one.name}", percentile(one.start, 99), 100),
            report.Goal(f"stop signal → last request, p99 ms, {one.name}", percentile(one.stop, 99), 20),
        ]
        if one.name.startswith("1,000"):
            wanted.append(report.Goal(f"controller's idle CPU in % of a core, {one.name}", one.idle, 0.5))
    return wanted


def goal_rows(found: list[Figures]) -> list[list[str]]:
    """The goals as lines."""
    return [
        [goal.what, f"{goal.value:.2f}", f"<= {goal.limit:g}", "yes" if goal.met else "no"] for goal in goals(found)
    ]


def _publish(found: list[Figures], samples: int) -> None:
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    about = f"{machine()}. {samples} containers' lives each; the load average is that of the five minutes before."
    tables = [report.markdown(HEAD, [one.row() for one in found]), report.markdown(report.GOAL_HEAD, goal_rows(found))]
    page.write_text(f"{before}{BEGIN}\n{about}\n\n" + "\n\n".join(tables) + f"\n{END}{after}")
    for name, title, times in (("start", "Container's start to first request", lambda one: one.start),
                               ("stop", "Stop signal to last request", lambda one: one.stop)):  # fmt: skip
        rows = [charts.Row("", one.name, _split(times(one))) for one in found]
        (DOCS / "benchmarks" / f"{name}.svg").write_text(charts.bars(title, "ms", ("p50", "p99"), rows, 1))


def _split(times: list[float]) -> tuple[float, float]:
    half = percentile(times, 50)
    return half, percentile(times, 99) - half


def main() -> None:
    """Measure, print, publish."""
    parser = argparse.ArgumentParser(prog="make bench-control ARGS=...", description=__doc__)
    parser.add_argument("--samples", type=int, default=100, help="containers' lives each (default: 100)")
    parser.add_argument("--real", type=int, nargs="*", default=REAL, help="numbers of real containers")
    parser.add_argument("--fake", type=int, nargs="*", default=FAKE, help="numbers of containers of the fake API")
    parser.add_argument("--idle", type=float, default=IDLE, help="seconds over which idle CPU is counted")
    parser.add_argument("--publish", action="store_true", help="figures and charts into docs/")
    parser.add_argument("--json", metavar="FILE", help="every sample; a run adds to what is there")
    arguments = parser.parse_args()
    kept = Path(arguments.json) if arguments.json else None
    found = [Figures(**one) for one in json.loads(kept.read_text())] if kept and kept.exists() else []
    engines = [lambda folder, n=n: fake_engine(folder, n) for n in arguments.fake]
    engines += [lambda folder, n=n: real_engine(folder, n) for n in arguments.real]
    for make in engines:
        with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name, make(Path(name)) as engine:
            measured = measure(Path(name), engine, arguments.samples, arguments.idle)
        found = [one for one in found if one.name != measured.name] + [measured]
        print(report.aligned(HEAD, [found[-1].row()]), flush=True)
        if kept:
            kept.write_text(json.dumps([asdict(one) for one in found]) + "\n")
    found.sort(key=lambda one: int(one.name.split()[0].replace(",", "")))
    print("\n" + report.aligned(HEAD, [one.row() for one in found]))
    print("\n" + report.aligned(report.GOAL_HEAD, goal_rows(found)))
    if arguments.publish:
        _publish(found, arguments.samples)


if __name__ == "__main__":
    main()
