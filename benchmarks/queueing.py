"""``python -m benchmarks.queueing``: how long quick requests wait beside slow ones, with and without ``max``.

Behind each way stand two gunicorns of its own with two threads each.  One request in ten takes 500 ms, the others 10:
four threads can do some 67 a second.  Requests come when they come (Poisson, a fixed seed), whether earlier ones were
answered or not, and all ways get the same ones at the same moments, so that what disturbs one disturbs all.  Time
counts from the moment at which a request was due to the end of its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.accounting import machine
from benchmarks.charts import Row, bars
from benchmarks.programs import KEY, accepts, free_port, our_program, running, wait_until
from benchmarks.report import aligned, markdown
from benchmarks.workers import nginx

QUICK, SLOW, SLOW_SHARE = 0.010, 0.500, 0.1
WORKERS, THREADS = 2, 2
#: Requests a second that all threads together can do.
CAPACITY = WORKERS * THREADS / (QUICK * (1 - SLOW_SHARE) + SLOW * SLOW_SHARE)
LOADS = (0.7, 0.9)
#: A request that has no answer by then has failed.
TIME_OUT = 30.0
DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- queue -->", "<!-- end of queue -->"
PLAIN, COUNTING, LIMITED, HAPROXY = "fastroute", "fastroute, lrc", "fastroute, max=2", "HAProxy, maxconn 2"
WAYS = (PLAIN, COUNTING, LIMITED, HAPROXY)
APPLICATION = f"""
import time
def application(environ, start):
    time.sleep({{"/quick": {QUICK}, "/slow": {SLOW}}}.get(environ["PATH_INFO"], 0))
    start("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"""
HAPROXY_CONFIGURATION = """
global
    maxconn 4000
    nbthread 1
defaults
    mode http
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout queue 15s
frontend front
    bind unix@{front} mode 666
    default_backend workers
backend workers
    balance roundrobin
    {servers}
"""


@dataclass(slots=True)
class Times:
    """Seconds that the quick requests of one way took in one round, and how many requests failed."""

    quick: list[float] = field(default_factory=list)
    failed: int = 0

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.quick)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


@contextlib.contextmanager
def gunicorns(folder: Path) -> Iterator[list[str]]:
    """The workers of one way; their addresses."""
    program = str(Path(sys.executable).with_name("gunicorn"))
    ports = [free_port() for _ in range(WORKERS)]
    with contextlib.ExitStack() as stack:
        for port in ports:
            command = [program, "--bind", f"127.0.0.1:{port}", "--workers", "1", "--worker-class", "gthread",
                       "--threads", str(THREADS), "--keep-alive", "75", "--log-level", "warning",
                       "app:application"]  # fmt: skip
            stack.enter_context(running(command, folder))
        for port in ports:
            wait_until(partial(accepts, port), f"gunicorn listens at {port}")
        yield [f"127.0.0.1:{port}" for port in ports]


@contextlib.contextmanager
def fastroute(folder: Path, addresses: list[str], name: str) -> Iterator[str]:
    """Our router; what nginx passes requests to."""
    front, more = str(folder / f"{free_port()}.sock"), ",max=2" if name == LIMITED else ""
    nodes = [word for at in addresses for word in ("--node", f"{KEY}={at},protocol=http{more}")]
    command = [our_program(), "--listen", front, "--subscription-server", "none", "--admin", "none",
               "--algorithm", "lrc" if name == COUNTING else "wrr", "--wait", "15", *nodes,
               "--log-level", "warning"]  # fmt: skip
    with running(command, folder):
        wait_until(lambda: Path(front).is_socket(), "the router listens")
        yield f"uwsgi_pass unix:{front}"


@contextlib.contextmanager
def haproxy(folder: Path, addresses: list[str]) -> Iterator[str]:
    """HAProxy with its queue; what nginx passes requests to."""
    front, configuration = str(folder / "haproxy.sock"), folder / "haproxy.cfg"
    servers = "\n    ".join(f"server s{n} {at} maxconn {THREADS}" for n, at in enumerate(addresses))
    configuration.write_text(HAPROXY_CONFIGURATION.format(front=front, servers=servers))
    with running(["haproxy", "-db", "-f", str(configuration)], folder):
        wait_until(lambda: Path(front).is_socket(), "HAProxy listens")
        yield f"proxy_pass unix:{front}"


@contextlib.contextmanager
def ways(folder: Path) -> Iterator[dict[str, int]]:
    """Every way, with nginx in front; its port."""
    (folder / "app.py").write_text(APPLICATION)
    with contextlib.ExitStack() as stack:
        fronts: dict[tuple[str, str], str] = {}
        for name in WAYS:
            addresses = stack.enter_context(gunicorns(folder))
            router = haproxy(folder, addresses) if name == HAPROXY else fastroute(folder, addresses, name)
            fronts[name, ""] = stack.enter_context(router)
        _, ports = stack.enter_context(nginx(folder, fronts))
        for (name, _), port in ports.items():
            wait_until(partial(_answers, port), f"{name} answers")
        yield {name: port for (name, _), port in ports.items()}


def _answers(port: int) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/", headers={"Host": KEY})
        return connection.getresponse().status == 200


def arrivals(load: float, seconds: float, seed: int) -> list[tuple[float, str]]:
    """When requests are due, and for which path."""
    chance, now, requests = random.Random(seed), 0.0, list[tuple[float, str]]()
    while (now := now + chance.expovariate(CAPACITY * load)) < seconds:
        requests.append((now, "/slow" if chance.random() < SLOW_SHARE else "/quick"))
    return requests


async def measure(ports: dict[str, int], requests: list[tuple[float, str]]) -> dict[str, Times]:
    """Send ``requests`` to all ways at once."""
    loop = asyncio.get_running_loop()
    begin, times = loop.time() + 0.2, {name: Times() for name in ports}
    async with asyncio.TaskGroup() as tasks:
        for number, (due, path) in enumerate(requests):
            await asyncio.sleep(begin + due - loop.time())
            names = list(ports)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                tasks.create_task(_request(ports[name], path, begin + due, times[name]))
    return times


async def _request(port: int, path: str, due: float, times: Times) -> None:
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIME_OUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {KEY}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
    if not answer.startswith(b"HTTP/1.1 200 "):
        times.failed += 1
    elif path == "/quick":
        times.quick.append(asyncio.get_running_loop().time() - due)


Results = dict[float, dict[str, list[Times]]]


def rows(results: Results) -> list[list[str]]:
    """One line for each load and way; medians of rounds."""
    lines = []
    for load, by_way in results.items():
        for name, rounds in by_way.items():
            ratios = [
                own.percentile(0.95) / other.percentile(0.95)
                for own, other in zip(rounds, by_way[HAPROXY], strict=True)
            ]
            figures = [f"{_median(rounds, share):.0f}" for share in (0.5, 0.95, 0.99)]
            failed = sum(times.failed for times in rounds)
            lines.append([f"{load:.0%}", name, *figures, f"{statistics.median(ratios):.2f}", str(failed)])
    return lines


HEADING = ["load", "way", "p50 ms", "p95 ms", "p99 ms", "p95 / HAProxy's", "failed"]


def _median(rounds: list[Times], share: float) -> float:
    return statistics.median(times.percentile(share) for times in rounds)


def chart(results: Results) -> str:
    """p50 and p95, one above the other."""
    lines = [
        Row(f"load {load:.0%}", name, (middle := _median(rounds, 0.5), _median(rounds, 0.95) - middle))
        for load, by_way in results.items()
        for name, rounds in by_way.items()
    ]
    return bars("Quick requests beside slow ones", "milliseconds; the figure is p95", ("p50", "p95"), lines, 0)


def publish(results: Results, about: str) -> None:
    """The figures into docs/benchmarks.md, between its marks, and the chart beside it."""
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{about}\n\n{markdown(HEADING, rows(results))}\n{END}{rest.partition(END)[2]}")
    (DOCS / "benchmarks/queue.svg").write_text(chart(results))


def main() -> None:
    """Measure, print, publish."""
    parser = argparse.ArgumentParser(prog="make bench-queue ARGS=...", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round: under 2 minutes instead of about 7")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=40.0, help="of a round at one load (default 40)")
    parser.add_argument("--publish", action="store_true", help="table and chart into docs/")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    results: Results = {load: {name: [] for name in WAYS} for load in LOADS}
    begun = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as folder, ways(Path(folder)) as ports:
        for number in range(rounds):
            for load in LOADS:
                done = asyncio.run(measure(ports, arrivals(load, arguments.seconds, seed=number)))
                for name, times in done.items():
                    results[load][name].append(times)
                print(f"  round {number + 1}, load {load:.0%}", file=sys.stderr, flush=True)
    version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=False).stdout.split()[2]
    about = (
        f"{machine()}, HAProxy {version}. Rounds of {arguments.seconds:g} s at each load: {rounds}; the load average of"
        f" the machine was {begun:.1f} at the beginning and {os.getloadavg()[0]:.1f} at the end."
    )
    print(f"{about}\n\n{aligned(HEADING, rows(results))}")
    if arguments.publish:
        publish(results, about)


if __name__ == "__main__":
    main()
