"""``python -m benchmarks``: run, print one table, draw the charts."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import charts, report
from benchmarks.accounting import machine
from benchmarks.programs import OURS, our_program
from benchmarks.scenarios import SCENARIOS, Plan, Result

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
NEEDED = ("nginx", "uwsgi-core", "wrk", "gcc", "strace")


def main() -> None:
    """Measure, print, publish."""
    arguments = _arguments()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (make bench installs them on Debian)")
    builds = {OURS: our_program(), **dict(build.split("=", 1) for build in arguments.build)}
    plan = _plan(arguments.quick, builds, arguments.rounds, arguments.connections)
    started, results = time.monotonic(), list[Result]()
    print(f"{machine()}\n{plan.rounds} rounds of {plan.seconds:g} s, {plan.connections} connections", flush=True)
    for name in arguments.only or SCENARIOS:
        for result in SCENARIOS[name](plan):
            print(f"  {time.monotonic() - started:4.0f} s: {result.name}", file=sys.stderr, flush=True)
            results.append(result)
            if arguments.json:
                Path(arguments.json).write_text(json.dumps([asdict(each) for each in results], indent=1) + "\n")
    text = _text(results, report.aligned)
    print(f"\n{text}\n\n{time.monotonic() - started:.0f} s in all")
    whole = not arguments.quick and not arguments.only
    if arguments.publish or (whole and arguments.publish is None):
        _publish(results, plan)


def _text(results: list[Result], table: Callable[[list[str], list[list[str]]], str]) -> str:
    parts = [table(report.HEAD, report.rows(results)), table(report.GOAL_HEAD, report.goal_rows(results))]
    head, lines = report.call_rows(results)
    if len(head) > 1:
        parts.append(table(head, lines))
    return "\n\n".join(parts)


def _publish(results: list[Result], plan: Plan) -> None:
    """The figures into docs/benchmarks.md, between its two marks, and the charts beside it."""
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    about = f"{machine()}. {plan.rounds} rounds of {plan.seconds:g} s, {plan.connections} connections."
    page.write_text(f"{before}{BEGIN}\n{about}\n\n{_text(results, report.markdown)}\n{END}{after}")
    folder = DOCS / "benchmarks"
    folder.mkdir(exist_ok=True)
    for name, text in charts.draw(results).items():
        (folder / name).write_text(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 3 minutes instead of about 10")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="repeatable")
    parser.add_argument("--rounds", type=int, help="instead of the plan's")
    parser.add_argument("--connections", type=int, default=16, help="of wrk (default 16)")
    parser.add_argument("--build", action="append", default=[], metavar="NAME=PROGRAM",
                        help="another fastroute-router to measure beside the installed one")  # fmt: skip
    parser.add_argument("--publish", action=argparse.BooleanOptionalAction,
                        help="figures and charts into docs/ (default: when all of the long run was done)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="every round, for later")
    return parser.parse_args()


def _plan(quick: bool, builds: dict[str, str], rounds: int | None, connections: int) -> Plan:
    if quick:
        return Plan(rounds or 3, 1, 1, 250_000_000, 125_000_000, connections, builds)
    return Plan(rounds or 7, 1, 3, 1_000_000_000, 512_000_000, connections, builds)


if __name__ == "__main__":
    main()
