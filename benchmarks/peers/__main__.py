"""make bench-peers: fastroute beside what users would pick instead: deploys and accidents, what requests cost, what
keys cost.  All in one run, with one table a part; docs/benchmarks.md has the method."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

from benchmarks.accounting import machine
from benchmarks.pages import DOCS, publish
from benchmarks.peers import cost
from benchmarks.peers.deploys import measure_deploys
from benchmarks.peers.drawing import draw_cost, draw_deploys, draw_keys
from benchmarks.peers.keys import COUNTS, keys_head, keys_rows, measure_keys
from benchmarks.peers.others import PEERS, versions
from benchmarks.peers.outcomes import DETAIL_HEAD, START_HEAD, DeploysResult, detail_rows, start_rows, summary
from benchmarks.report import aligned, markdown
from benchmarks.scenarios import Plan, Result

#: Where every line of the deploys goes.
LINES = "docs/benchmarks/deploys.md"
PARTS = ("deploys", "cost", "keys")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers ARGS=...", description=__doc__)
    parser.add_argument("--programs", type=Path, default=Path(sys.executable).parent, help="where ours are")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="of deploys and of the loads (default 3)")
    parser.add_argument("--scenario", action="append", default=[], help="the beginning of a scenario's or load's name")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second to each subject (default 100)")
    parser.add_argument("--keys", type=int, nargs="*", default=COUNTS, help="numbers of keys")
    parser.add_argument("--bulk-rounds", type=int, default=2, help="of large bodies (default 2)")
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bytes of a large body (default 1 GB)")
    parser.add_argument("--json", metavar="FILE", default="", help="every round of every part, for later")
    parser.add_argument("--publish", action="store_true", help="figures and charts into docs/")
    return parser.parse_args()


def _deploys(given: argparse.Namespace, known: str) -> object:
    """Published after each round: whoever ends it early keeps those that are whole."""
    kept: object = None
    for found in measure_deploys(given.programs, given.rounds, given.rate, given.scenario):
        _tell_deploys(given, known, found)
        kept = asdict(found)
    return kept


def _tell_deploys(given: argparse.Namespace, known: str, found: DeploysResult) -> None:
    about = _wrapped(
        f"{known}. {_rounds(found.rounds)}, {given.rate:g} requests/s to each; load average {found.load[0]:.1f} at the "
        f"begin, {found.load[1]:.1f} at the end; the client itself was late by {found.late * 1000:.0f} ms at most."
    )
    watching = [name for name in found.settings if name not in found.fixed]
    among_fixed = {scenario: each for scenario, each in found.figures.items() if set(each) & set(found.fixed)}
    tables = {
        "deploys": summary(found.figures, watching),
        "fixed": summary(among_fixed, found.fixed),
        "starts": (START_HEAD, start_rows(found.starts)),
        "all of deploys": (DETAIL_HEAD, detail_rows(found.figures)),
    }
    settings = "\n".join(f"* {name}: {text}" for name, text in found.settings.items())
    if found.rounds == given.rounds:
        print("\n\n".join([about, settings, *(aligned(*table) for table in tables.values())]), flush=True)
    if given.publish:
        _publish_deploys(found, about, tables)


def _publish_deploys(found: DeploysResult, about: str, tables: dict[str, tuple[list[str], list[list[str]]]]) -> None:
    settings = "\n".join(
        textwrap.fill(f"* **{name}**: {text}", 118, subsequent_indent="  ", break_on_hyphens=False)
        for name, text in found.settings.items()
    )
    publish("peers deploys", f"{about}\n\n{markdown(*tables['deploys'])}")
    publish("peers fixed", markdown(*tables["fixed"]))
    publish("peers starts", markdown(*tables["starts"]))
    publish("peers settings", settings)
    publish("peers all", f"{about}\n\n{markdown(*tables['all of deploys'])}", DOCS.parent / LINES)
    (DOCS / "benchmarks/peers-deploys.svg").write_text(draw_deploys(found))


def _cost(given: argparse.Namespace, known: str) -> object:
    plan = Plan(given.rounds, 1, given.bulk_rounds, given.size, given.size, 16, {})
    program = str(given.programs / "fastroute-router")
    results: list[Result] = cost.measure_cost("peers", program, plan, given.scenario)
    lines = [row for result in results for row in cost.rows(result)]
    settings = "; ".join(f"{peer.name}, {peer.tuned}: {peer.setting}" for peer in PEERS)
    about = f"{cost.about(plan, known.removeprefix(machine()))}\n{_wrapped(settings)}"
    print(f"{about}\n\n{aligned(cost.HEAD, lines)}", flush=True)
    if given.publish:
        publish("peers cost", f"{about}\n\n{markdown(cost.HEAD, lines)}")
        (DOCS / "benchmarks/peers-cost.svg").write_text(draw_cost(results))
    return [asdict(each) for each in results]


def _keys(given: argparse.Namespace, known: str) -> object:
    """Published after each number of keys."""
    kept: object = None
    head = keys_head(given.keys)
    for found in measure_keys(given.programs, given.keys):
        lines = keys_rows(found, given.keys)
        about = _wrapped(f"{known}; load average at the end {os.getloadavg()[0]:.1f}.")
        print(f"{about}\n\n{aligned(head, lines)}", flush=True)
        if given.publish:
            publish("peers keys", f"{about}\n\n{markdown(head, lines)}")
            (DOCS / "benchmarks/peers-keys.svg").write_text(draw_keys(found))
        kept = asdict(found)
    return kept


def _rounds(number: int) -> str:
    return "One round" if number == 1 else f"{number} rounds"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, break_on_hyphens=False)


def main() -> None:
    """Each part: measure, print, publish."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    given = _arguments()
    known, kept = f"{machine()}, {versions()}", dict[str, object]()
    print(_wrapped(known), flush=True)
    for part in given.only or PARTS:
        kept[part] = {"deploys": _deploys, "cost": _cost, "keys": _keys}[part](given, known)
        if given.json:
            Path(given.json).write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
