"""``python -m benchmarks.announcing`` (make bench-announce): 10,000 nodes announced at once, until the last ack.

The announcer is the controller's, in this process; the router is the real one.  By UDP and by a unix socket, with and
without the secret, one after the other in each round, so that what else the machine does falls on all alike.  Fails
when a node is missing in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.accounting import tree, usage
from benchmarks.programs import free_port, running, wait_until
from fastroute.controller.desired import Desired, Route, RouteDiff
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Entry

NODES, KEYS = 10_000, 1_000
SECRET = b"only as long as this benchmark lasts"
#: docs/benchmarks.md has the goals.
GOAL = 2.0


def desired() -> Desired:
    """Ten containers for each of the keys."""
    entries = (
        Entry(f"k{n % KEYS}.example", f"10.0.{n // 250}.{n % 250 + 1}:8000", owner=f"{n:064x}@1") for n in range(NODES)
    )
    return {route.id: route for route in (Route(entry, "c") for entry in entries)}


def once(folder: Path, *, unix: bool, proof: bool) -> tuple[float, float, int]:
    """Seconds until all is acked, CPU seconds of the router, and nodes that it has then."""
    port, admin, secret = free_port(), free_port(), folder / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    target = str(folder / "subscriptions") if unix else f"127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("fastroute-router")), "--listen", f"127.0.0.1:{port}"]
    command += ["--subscription-server", target, "--admin", f"127.0.0.1:{admin}"]
    command += ["--subscription-secret-file", str(secret)] if proof else []
    with running(command, folder) as router:
        announcer = SourceAnnouncer([parse_address(target)], lambda: "bench", 5.0, SECRET if proof else None)
        with contextlib.closing(announcer):
            announcer.apply({}, RouteDiff())
            announcer.start()
            wait_until(lambda: _state(announcer)["state"] == "acked", "the router acks")
            before, began = usage(tree(router.pid)), time.perf_counter()
            routes = desired()
            announcer.apply(routes, RouteDiff.between({}, routes))
            wait_until(lambda: _state(announcer)["entries"] == NODES and not _state(announcer)["pending"], "all acked")
            seconds, after = time.perf_counter() - began, usage(tree(router.pid))
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/v1/status", timeout=10) as answer:
                held = sum(key["total"] for key in json.load(answer)["keys"])
    return seconds, after.user + after.system - before.user - before.system, held


def main() -> int:
    """Print a table; 1 when a node was lost."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    ways = [(unix, proof) for unix in (False, True) for proof in (False, True)]
    found: dict[tuple[bool, bool], list[tuple[float, float]]] = {way: [] for way in ways}
    lost = 0
    for _ in range(rounds):
        for unix, proof in ways:
            with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as folder:
                seconds, cpu, held = once(Path(folder), unix=unix, proof=proof)
            found[unix, proof].append((seconds, cpu))
            lost += NODES - held
    print(f"{NODES:,} nodes of {KEYS:,} keys at once, until the last ack; goal {GOAL:g} s; {lost} lost")
    print("| by | secret | median s | slowest s | router CPU s |\n|---|---|---|---|---|")
    for (unix, proof), turns in found.items():
        seconds = [turn[0] for turn in turns]
        cpu = statistics.median(turn[1] for turn in turns)
        way = "unix" if unix else "UDP", "yes" if proof else "no"
        print(f"| {' | '.join(way)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | {cpu:.2f} |")
    return 1 if lost else 0


def _state(announcer: SourceAnnouncer) -> dict[str, object]:
    routers = announcer.status()["routers"]
    assert isinstance(routers, list)
    return routers[0] if routers else {"state": "", "entries": 0, "pending": 1}


if __name__ == "__main__":
    sys.exit(main())
