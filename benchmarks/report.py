"""Results as text: one table for the terminal and for docs/benchmarks.md, and the goals."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.programs import THEIRS
from benchmarks.scenarios import REFERENCE, Result

_SCALE = {"request": 1e6, "GB": 1.0}
HEAD = [
    "scenario",
    "router",
    "req/s or MB/s",
    "p50 ms",
    "p99 ms",
    "user",
    "system",
    "CPU",
    "CPU vs uWSGI",
    "RSS MB (largest)",
    "failed",
]

GOAL_HEAD = ["goal", "is", "wanted", "met"]


def rows(results: list[Result]) -> list[list[str]]:
    """The table's lines: medians; CPU in microseconds a request or seconds a GB."""
    found = []
    for result in results:
        for subject in result.rounds:
            found.append([result.name, subject, *_figures(result, subject)])
    return found


def _figures(result: Result, subject: str) -> list[str]:
    scale, digits = _SCALE[result.unit], 1 if result.unit == "request" else 2
    memory = result.memory[subject]
    cpu = (
        [f"{result.median(subject, name) * scale:.{digits}f}" for name in ("user", "system", "cpu")]
        if memory
        else ["", "", ""]
    )
    base = peer(result, subject)
    ratio = f"{result.ratio(subject, base, 'cpu'):.2f}" if memory and base else ""
    timed = result.unit == "request"
    return [
        f"{result.median(subject, 'pace'):,.0f}",
        f"{result.median(subject, 'p50'):.2f}" if timed else "",
        f"{result.median(subject, 'p99'):.2f}" if timed else "",
        *cpu, ratio,
        f"{sum(memory):.0f} ({max(memory):.0f})" if memory else "",
        str(result.failed(subject)),
    ]  # fmt: skip


def peer(result: Result, subject: str) -> str:
    """Whom a subject is compared with: the original, under the same load."""
    size = subject.partition(", ")[2]
    base = f"{THEIRS}, {size}" if size else THEIRS
    return base if base in result.rounds else ""


def aligned(head: list[str], lines: list[list[str]]) -> str:
    """For the terminal; a scenario's name only on its first line."""
    shown = [[line[0] if not at or lines[at - 1][0] != line[0] else "", *line[1:]] for at, line in enumerate(lines)]
    widths = [max(len(line[column]) for line in [head, *shown]) for column in range(len(head))]
    return "\n".join(_line(line, widths) for line in [head, *shown])


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """For the documentation."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that was promised."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Within the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def goals(results: list[Result]) -> list[Goal]:
    """What the design asks for, of every build of ours."""
    found: list[Goal] = []
    for result in results:
        builds = [name for name in result.rounds if name.split(",")[0].startswith(REFERENCE)]
        for build in builds:
            found += _of_scale(result, build) if "," in build else _of_pair(result, build)
    return found


def _of_pair(result: Result, build: str) -> list[Goal]:
    cpu = result.ratio(build, THEIRS, "cpu")
    if result.unit == "GB":
        return [Goal(f"{result.name}: CPU, {build} / uWSGI", cpu, 0.4)]
    limit = 1.10 if build == REFERENCE else 0.90
    return [
        Goal(f"{result.name}: CPU, {build} / uWSGI", cpu, limit),
        Goal(f"{result.name}: requests/s, {build} / uWSGI", result.ratio(build, THEIRS, "pace"), 1.0, True),
    ]


def _of_scale(result: Result, build: str) -> list[Goal]:
    name, _, size = build.partition(", ")
    if size == "2 nodes":
        return []
    return [
        Goal(f"CPU at {size}, {name} / with 2 nodes", result.ratio(build, f"{name}, 2 nodes", "cpu"), 1.1),
        Goal(f"RSS MB of the largest process at {size}, {name}", max(result.memory[build]), 60),
    ]


def goal_rows(results: list[Result]) -> list[list[str]]:
    """The goals as lines."""
    return [
        [
            goal.what,
            f"{goal.value:.2f}",
            f"{'>=' if goal.at_least else '<='} {goal.limit:g}",
            "yes" if goal.met else "no",
        ]
        for goal in goals(results)
    ]


def call_rows(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    """System calls per request: a column a router, the most frequent first."""
    columns = {(result.name, subject): calls for result in results for subject, calls in result.calls.items()}
    names = sorted(
        {name for calls in columns.values() for name in calls},
        key=lambda n: (-max(c.get(n, 0) for c in columns.values()), n),
    )
    head = [
        "system calls per request",
        *(f"{subject} ({scenario.split(', ')[1].split()[0]})" for scenario, subject in columns),
    ]
    lines = [[name, *(f"{calls.get(name, 0):.2f}" for calls in columns.values())] for name in names
             if max(calls.get(name, 0) for calls in columns.values()) >= 0.005]  # fmt: skip
    lines.append(["all", *(f"{sum(calls.values()):.2f}" for calls in columns.values())])
    return head, lines
