"""``python -m benchmarks.swarm`` (make bench-swarm): what a swarm of 100 engines with 1,000 containers each costs.

The routers are real ones, each told by all controllers; of each controller only the part that announces is here (the
announcer of router mode, a source of its own, with the shared secret, by UDP), a hundred of them in one process.  What
a whole controller costs beside its engine is what ``make bench-control`` measures with 1,000 containers: it stands on a
machine of its own, so that is not multiplied.

Printed, for each router: all nodes at once until the last ack, a rolling change of 10%, ten engines that die, and how
soon one change among all of them is routed; the CPU and memory of the processes, and packets a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accounting import machine, resident, tree, usage
from benchmarks.programs import free_port, running, wait_until
from benchmarks.swarm_engines import Engines
from fastroute.router.protocol.wire import encode_packet, encode_vars

SECRET = b"only as long as this benchmark lasts"
#: Goals: seconds until all nodes are complete, MB of control, milliseconds until a change is routed.
ALL_GOAL, MEMORY_GOAL, CHANGE_GOAL = 20.0, 500.0, 50.0


@dataclass(slots=True)
class SwarmRouter:
    """One router: its master's process, ports, and what its processes had used when it was looked at last."""

    pid: int
    port: int
    admin: int
    before: dict[str, float]

    def processes(self) -> dict[str, int]:
        """The processes by what they are: control, relay-0, ..."""
        named = dict[str, int]()
        for pid in tree(self.pid)[1:]:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            kind = "control" if "fastroute.router.control.main" in words else "relay"
            named[kind if kind == "control" else f"relay-{sum(name != 'control' for name in named)}"] = pid
        return named

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU of each since the last call."""
        now = {name: (used := usage([pid])).user + used.system for name, pid in self.processes().items()}
        spent = {name: seconds - self.before.get(name, 0.0) for name, seconds in now.items()}
        self.before = now
        return spent

    def memory(self) -> dict[str, float]:
        """Resident MB of each."""
        return {name: resident([pid])[0] for name, pid in self.processes().items()}


@contextlib.contextmanager
def swarm_router(folder: Path, secret: Path, processes: int) -> Iterator[SwarmRouter]:
    """A router that takes proven announcements from anywhere."""
    port, admin = free_port(), free_port()
    command = [str(Path(sys.executable).with_name("fastroute-router")), "--listen", f"127.0.0.1:{port}"]
    command += ["--subscription-server", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
    # As between machines: what is not proven is refused, loopback or not.
    command += ["--subscription-secret-file", str(secret), "--subscription-allow", "192.0.2.0/24"]
    command += ["--processes", f"{processes}"]
    with running(command, folder) as process:
        router = SwarmRouter(process.pid, port, admin, {})
        wait_until(lambda: router_asks(router, "nobody.example") == 404, "the router answers")
        yield router


def router_asks(router: SwarmRouter, key: str) -> int:
    """The status that the router gives to a request for ``key``; the worker answers any connection with 200."""
    with socket.create_connection(("127.0.0.1", router.port), 5) as sock:
        sock.sendall(encode_packet(0, 0, encode_vars([(b"HTTP_HOST", key.encode()), (b"REQUEST_METHOD", b"GET")])))
        answer = sock.recv(100)
    return int(answer.split()[1]) if answer else 0


@contextlib.contextmanager
def announcing(arguments: argparse.Namespace, secret: Path, routers: list[SwarmRouter]) -> Iterator[Engines]:
    """The process with the announcers of all engines."""
    words = [sys.executable, "-m", "benchmarks.swarm_engines", f"{arguments.engines}", f"{arguments.containers}"]
    words += [str(secret), *(f"127.0.0.1:{router.port}" for router in routers)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Engines(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def step(name: str, engines: Engines, routers: list[SwarmRouter], command: str) -> float:
    """Have ``command`` done; prints what it took, returns the seconds until the last ack."""
    for router in routers:
        router.cpu()
    seconds, packets = engines.do(command)
    spent = [router.cpu() for router in routers]
    control = max(used["control"] for used in spent)
    relay = max((seconds for used in spent for name, seconds in used.items() if name != "control"), default=0.0)
    rate = packets / len(routers) / seconds
    print(f"| {name} | {seconds:.2f} | {control:.2f} | {relay:.2f} | {rate:,.0f} |", flush=True)
    return seconds


def change_times(engines: Engines, routers: list[SwarmRouter], rounds: int) -> list[float]:
    """Milliseconds from a change at its controller to the first request that a router sends there."""
    times = []
    for number in range(rounds):
        router, key = routers[number % len(routers)], f"probe-{number}.example"
        began = engines.begin(f"one {key}")
        while router_asks(router, key) != 200:
            if time.monotonic_ns() - began > 10e9:
                raise RuntimeError(f"{key} is not routed within 10 s")
        times.append((time.monotonic_ns() - began) / 1e6)
        time.sleep(0.05)
    return times


def nodes_of(router: SwarmRouter) -> int:
    """How many nodes the router's metrics show."""
    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin}/v1/status", timeout=120) as answer:
        return sum(key["total"] for key in json.load(answer)["keys"])


def main() -> int:
    """Print a table; 1 when a goal is missed or a node is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=100)
    parser.add_argument("--containers", type=int, default=1000)
    parser.add_argument("--routers", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--changes", type=int, default=40)
    arguments = parser.parse_args()
    total = arguments.engines * arguments.containers
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as folder, contextlib.ExitStack() as stack:
        secret = Path(folder) / "secret"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        routers = [
            stack.enter_context(swarm_router(Path(folder), secret, arguments.processes))
            for _ in range(arguments.routers)
        ]
        engines = stack.enter_context(announcing(arguments, secret, routers))
        print(f"{arguments.engines} engines with {arguments.containers} containers, {arguments.routers} routers of"
              f" {arguments.processes} relays; {machine()}")  # fmt: skip
        print("| what | s until the last ack | CPU s of control | CPU s of a relay | packets/s to a router |")
        print("|---|---|---|---|---|")
        seconds = step("all at once", engines, routers, "start")
        lost = total - min(nodes_of(router) for router in routers)
        step("10% replaced", engines, routers, "roll 10")
        times = change_times(engines, routers, arguments.changes)
        step("10 engines die", engines, routers, f"die {min(10, arguments.engines)}")
        memory = [router.memory() for router in routers]
    control = max(used["control"] for used in memory)
    relay = max(megabytes for used in memory for name, megabytes in used.items() if name != "control")
    times.sort()
    p95 = times[int(len(times) * 0.95)]
    print(f"\n{lost} nodes lost; one change routed after {statistics.median(times):.1f} ms (median), {p95:.1f} (p95)")
    print(f"resident in the end: control {control:.0f} MB, a relay {relay:.0f} MB")
    missed = lost or seconds > ALL_GOAL or control > MEMORY_GOAL or statistics.median(times) > CHANGE_GOAL
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
