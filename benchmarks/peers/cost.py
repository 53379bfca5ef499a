"""``python -m benchmarks.peers.cost``: CPU per request of all proxies of a chain, with what each load asks of it.

Run by itself it measures nginx before our router by each kind of front (make bench-fronts); :func:`measure_cost` is
also a part of make bench-peers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks import load, programs
from benchmarks.accounting import machine
from benchmarks.pages import publish
from benchmarks.peers import chains
from benchmarks.peers.chains import Chain
from benchmarks.peers.easyhaproxy import static_easyhaproxy
from benchmarks.peers.others import others
from benchmarks.report import aligned, markdown
from benchmarks.scenarios import Measured, Plan, Result, Round, alternate, moving, requesting

HEAD = ["load", "way", "CPU", "ratio", "req/s or MB/s", "p50 ms", "p99 ms", "RSS MB", "failed"]


@contextlib.contextmanager
def fronts(folder: Path, program: str) -> Iterator[list[Chain]]:
    """nginx before our router by each kind of front, and each kind of worker behind it."""
    with contextlib.ExitStack() as stack:
        workers = {
            "uwsgi": stack.enter_context(programs.workers(folder)),
            "http": stack.enter_context(chains.http_workers(folder)),
        }
        yield [
            stack.enter_context(
                chains.ours(folder, program, f"{front} front, {kind}, {protocol} workers", front, kind, protocol, port)
            )
            for protocol, port in workers.items()
            for kind in ("unix", "tcp")
            for front in ("uwsgi", "http")
        ]


@contextlib.contextmanager
def peers(folder: Path, program: str) -> Iterator[list[Chain]]:
    """Our chains and those of others, before the same HTTP worker; and ours before uWSGI workers."""
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(chains.http_workers(folder))
        uwsgi = stack.enter_context(programs.workers(folder))
        ours = [
            stack.enter_context(
                chains.ours(folder, program, f"fastroute, {front} front, {kind} workers", front, "unix", kind, port)
            )
            for kind, port in (("http", http), ("uwsgi", uwsgi))
            for front in ("uwsgi", "http")
        ]
        ours.append(stack.enter_context(chains.alone(folder, program, "http", http)))
        ours.append(stack.enter_context(chains.nginx_mode(folder, "http", http)))
        pid, port = stack.enter_context(static_easyhaproxy(folder / "easyhaproxy", programs.KEY, http))
        programs.wait_until(partial(programs.answers, port), "EasyHAProxy answers")
        yield [*ours, *stack.enter_context(others(folder, http)), Chain("EasyHAProxy", port, (pid,))]


GROUPS = {"fronts": fronts, "peers": peers}


def loads(plan: Plan) -> Iterator[tuple[Result, int, Callable[[Measured], Round]]]:
    """Each load: an empty result, how many rounds, and a turn of it."""
    yield Result("small, kept", "request"), plan.rounds, requesting(plan)
    yield Result("small, fresh", "request"), plan.rounds, requesting(plan, fresh=True)
    yield Result("16 KiB, kept", "request"), plan.rounds, requesting(plan, "/size/16384")
    yield Result("small, kept, beside 1,000 idle clients", "request"), plan.rounds, requesting(plan)
    yield Result(f"{plan.down / 1e6:,.0f} MB down", "GB"), plan.bulk_rounds, moving(plan.down, load.download)
    yield Result(f"{plan.up / 1e6:,.0f} MB up", "GB"), plan.bulk_rounds, moving(plan.up, load.upload)


def base_of(name: str, names: list[str]) -> str:
    """Whom a chain is compared with: the first with the same workers, else the first one."""
    kind = name.rpartition(", ")[2]
    if not kind.endswith(" workers"):
        return names[0]
    return next(each for each in names if each.rpartition(", ")[2] == kind)


def rows(result: Result) -> list[list[str]]:
    """The lines of one load: medians; CPU in microseconds a request, or seconds a GB."""
    scale, digits = (1e6, 1) if result.unit == "request" else (1.0, 2)
    timed = result.unit == "request"
    names = list(result.rounds)
    return [
        [
            result.name, name,
            f"{result.median(name, 'cpu') * scale:.{digits}f}",
            f"{result.ratio(name, base_of(name, names), 'cpu'):.2f}",
            f"{result.median(name, 'pace'):,.0f}",
            f"{result.median(name, 'p50'):.2f}" if timed else "",
            f"{result.median(name, 'p99'):.2f}" if timed else "",
            f"{sum(result.memory[name]):.0f}", str(result.failed(name)),
        ]
        for name in names
    ]  # fmt: skip


def measure_cost(group: str, program: str, plan: Plan, only: Sequence[str] = (), json_file: str = "") -> list[Result]:
    """All loads (those whose names begin as in ``only``) on all chains of a group."""
    started, results = time.monotonic(), list[Result]()
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name, GROUPS[group](Path(name), program) as ways:
        Path(name).chmod(0o755)
        for result, rounds, turn in loads(plan):
            if only and not result.name.startswith(tuple(only)):
                continue
            with contextlib.ExitStack() as stack:
                if "idle" in result.name:
                    for way in ways:
                        stack.enter_context(programs.idle_clients(f"127.0.0.1:{way.port}", 1000, b""))
                results.append(alternate(result, ways, rounds, turn))
            print(f"  {time.monotonic() - started:4.0f} s: {result.name}", file=sys.stderr, flush=True)
            if json_file:
                Path(json_file).write_text(json.dumps([asdict(each) for each in results], indent=1) + "\n")
    return results


def about(plan: Plan, known: str = "") -> str:
    """What the figures were taken on, and how."""
    rounds = f"{plan.rounds} rounds of {plan.seconds} s, {plan.bulk_rounds} of large bodies"
    load_average = f"load average at the end {os.getloadavg()[0]:.1f}"
    said = f"{machine()}{known}. {rounds}, {plan.connections} connections; {load_average}."
    return textwrap.fill(said, 118, break_on_hyphens=False)


def main() -> None:
    """Measure and print the table of the fronts."""
    parser = argparse.ArgumentParser(prog="make bench-fronts ARGS=...", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--router", default=programs.our_program(), help="another fastroute-router")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bulk-rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bytes of a large body (default 1 GB)")
    parser.add_argument("--only", action="append", default=[], help="the beginning of a load's name; repeatable")
    parser.add_argument("--json", metavar="FILE", default="", help="every round, for later")
    parser.add_argument("--publish", action="store_true", help="figures into docs/benchmarks.md")
    given = parser.parse_args()
    plan = Plan(given.rounds, 1, given.bulk_rounds, given.size, given.size, given.connections, {})
    results = measure_cost("fronts", given.router, plan, given.only, given.json)
    lines = [row for result in results for row in rows(result)]
    print(f"{about(plan)}\n{aligned(HEAD, lines)}")
    if given.publish:
        publish("fronts", f"{about(plan)}\n\n{markdown(HEAD, lines)}")


if __name__ == "__main__":
    main()
