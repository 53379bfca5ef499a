"""``python -m benchmarks.peers.cost``: CPU per request of all proxies of a chain, with what each load asks of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks import load, programs
from benchmarks.accounting import machine
from benchmarks.peers import chains
from benchmarks.peers.chains import Chain
from benchmarks.peers.others import others, versions
from benchmarks.report import aligned, markdown
from benchmarks.scenarios import Measured, Plan, Result, Round, alternate, moving, requesting

DOCS = Path(__file__).parents[2] / "docs"
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
        yield [*ours, *stack.enter_context(others(folder, http))]


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


def publish(group: str, results: list[Result], plan: Plan) -> None:
    """The figures into docs/benchmarks.md, between the marks of this group."""
    page = DOCS / "benchmarks.md"
    begin, end = f"<!-- {group} -->", f"<!-- end of {group} -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    known = f", {versions()}" if group == "peers" else ""
    about = f"{machine()}{known}. {plan.rounds} rounds of {plan.seconds} s, {plan.connections} connections."
    table = markdown(HEAD, [row for result in results for row in rows(result)])
    page.write_text(f"{before}{begin}\n{about}\n\n{table}\n{end}{after}")


def main() -> None:
    """Measure and print one table."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.cost", description=about)
    parser.add_argument("--group", choices=GROUPS, default="fronts")
    parser.add_argument("--router", default=programs.our_program(), help="another fastroute-router")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bulk-rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bytes of a large body (default 1 GB)")
    parser.add_argument("--only", action="append", help="the beginning of a load's name; repeatable")
    parser.add_argument("--json", metavar="FILE", help="every round, for later")
    parser.add_argument("--publish", action="store_true", help="figures into docs/benchmarks.md")
    given = parser.parse_args()
    plan = Plan(given.rounds, 1, given.bulk_rounds, given.size, given.size, given.connections, {})
    started, results = time.monotonic(), list[Result]()
    print(machine() + (f", {versions()}" if given.group == "peers" else ""))
    print(f"{plan.rounds} rounds of {plan.seconds} s, {plan.connections} connections", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name,
        GROUPS[given.group](Path(name), given.router) as ways,
    ):
        Path(name).chmod(0o755)
        for result, rounds, turn in loads(plan):
            if given.only and not result.name.startswith(tuple(given.only)):
                continue
            with contextlib.ExitStack() as stack:
                if "idle" in result.name:
                    for way in ways:
                        stack.enter_context(programs.idle_clients(f"127.0.0.1:{way.port}", 1000, b""))
                results.append(alternate(result, ways, rounds, turn))
            print(f"  {time.monotonic() - started:4.0f} s: {result.name}", file=sys.stderr, flush=True)
            if given.json:
                Path(given.json).write_text(json.dumps([asdict(each) for each in results], indent=1) + "\n")
    print(aligned(HEAD, [row for result in results for row in rows(result)]))
    print(f"\n{time.monotonic() - started:.0f} s in all")
    if given.publish:
        publish(given.group, results, plan)


if __name__ == "__main__":
    main()
