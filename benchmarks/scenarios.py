"""What is measured: which programs side by side, under which load, in alternating rounds.

The machine may be busy with other things, so every figure is a median over short rounds in which the subjects take
turns, and every ratio is the median of the rounds' ratios: what disturbs one subject disturbs its neighbour as well.
CPU is that of all processes of a router, the one that only waits included.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks import load, programs
from benchmarks.accounting import Usage, resident, system_calls, usage
from benchmarks.programs import FLOOR, KEY, NONE, OURS, THEIRS, Subject

GB = 1e9
MANY = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often, and which builds of ours (name to program)."""

    rounds: int
    seconds: int  # whole ones: wrk takes no others
    bulk_rounds: int
    down: int
    up: int
    connections: int
    builds: dict[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """One subject's turn.  ``work``: requests, or GB; ``pace``: per second; CPU in seconds per unit of work."""

    work: float
    pace: float
    user: float
    system: float
    failed: int
    p50: float = 0.0
    p99: float = 0.0

    @property
    def cpu(self) -> float:
        """User and system together."""
        return self.user + self.system


@dataclass(slots=True)
class Result:
    """One scenario: rounds by subject, RSS of its processes at the end, and system calls per request."""

    name: str
    unit: str
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)
    calls: dict[str, dict[str, float]] = field(default_factory=dict)

    def median(self, subject: str, figure: str) -> float:
        """Of one figure of :class:`Round`."""
        return float(statistics.median(getattr(turn, figure) for turn in self.rounds[subject]))

    def ratio(self, one: str, other: str, figure: str) -> float:
        """Median over the rounds of ``one``'s figure divided by ``other``'s."""
        pairs = zip(self.rounds[one], self.rounds[other], strict=True)
        values = [getattr(a, figure) / getattr(b, figure) for a, b in pairs if getattr(b, figure)]
        return statistics.median(values) if values else float("nan")

    def failed(self, subject: str) -> int:
        """Over all rounds."""
        return sum(turn.failed for turn in self.rounds[subject])


class Measured(Protocol):
    """Whatever takes turns."""

    @property
    def name(self) -> str:
        """As the tables have it."""

    @property
    def pids(self) -> list[int]:
        """All processes whose CPU counts."""

    @property
    def port(self) -> int:
        """Where clients connect."""


def alternate(result: Result, subjects: Sequence[Measured], rounds: int, turn: Callable[[Measured], Round]) -> Result:
    """All subjects in turn, every other round backwards, after one turn each that does not count."""
    for subject in subjects:
        turn(subject)
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            result.rounds.setdefault(subject.name, []).append(turn(subject))
    result.rounds = {subject.name: result.rounds[subject.name] for subject in subjects}
    result.memory = {subject.name: resident(subject.pids) for subject in subjects}
    return result


def requesting(plan: Plan, path: str = "/", keys: dict[str, int] | None = None,
               fresh: bool = False) -> Callable[[Measured], Round]:  # fmt: skip
    """A turn of small requests with wrk; ``keys``: how many hosts for which subject; ``fresh``: no connection stays."""

    def turn(subject: Measured) -> Round:
        pids = subject.pids
        before = usage(pids)
        count = (keys or {}).get(subject.name, 0)
        got = load.requests(subject.port, path, plan.seconds, plan.connections, count, fresh=fresh)
        spent = usage(pids) - before
        return _round(got.requests, got.rate, spent, got.failed, got.p50, got.p99)

    return turn


def moving(size: int, how: Callable[[int, int], load.Moved]) -> Callable[[Measured], Round]:
    """A turn with one large request; the unit is a GB."""

    def turn(subject: Measured) -> Round:
        pids = subject.pids
        before = usage(pids)
        moved = how(subject.port, size)
        return _round(size / GB, size / 1e6 / moved.seconds, usage(pids) - before, moved.failed)

    return turn


def _round(work: float, pace: float, spent: Usage, failed: int, p50: float = 0.0, p99: float = 0.0) -> Round:
    share = work or 1.0  # a router that answers nothing is seen in the other columns
    return Round(work, pace, spent.user / share, spent.system / share, failed, p50, p99)


@contextlib.contextmanager
def side_by_side(plan: Plan, front: str, processes: int) -> Iterator[list[Subject]]:
    """nginx -> {ours, the original, the floor, nothing} -> the same workers."""
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        worker = stack.enter_context(programs.workers(folder))
        nodes = [(KEY, f"127.0.0.1:{worker}")]
        fronts = [
            (build, *stack.enter_context(programs.ours(folder, front, processes, nodes, program)))
            for build, program in plan.builds.items()
        ]
        fronts.append((THEIRS, *stack.enter_context(programs.theirs(folder, front, processes, nodes))))
        fronts.append((FLOOR, *stack.enter_context(programs.floor(folder, front, processes, worker))))
        fronts.append((NONE, 0, f"127.0.0.1:{worker}"))
        yield stack.enter_context(programs.nginx(folder, fronts))


def small(plan: Plan, front: str, processes: int) -> Iterator[Result]:
    """Small requests; with one process 16 KiB answers and system calls too."""
    crowd = "1 process" if processes == 1 else f"{processes} processes"
    with side_by_side(plan, front, processes) as subjects:
        result = Result(f"hello, {front} front, {crowd}", "request")
        alternate(result, subjects, plan.rounds, requesting(plan))
        if processes == 1:
            _count_calls(result, plan, subjects)
        yield result
        if processes == 1:
            turn = requesting(plan, "/size/16384")
            yield alternate(Result(f"16 KiB, {front} front", "request"), subjects, plan.rounds, turn)


def _count_calls(result: Result, plan: Plan, subjects: list[Subject]) -> None:
    for subject in subjects:
        if subject.pid:
            with system_calls(subject.pids) as counts:
                got = load.requests(subject.port, "/", plan.seconds, plan.connections)
            result.calls[subject.name] = {name: count / got.requests for name, count in counts.items()}


def bulk(plan: Plan) -> Iterator[Result]:
    """Large answers, large bodies."""
    with side_by_side(plan, "unix", 1) as subjects:
        down, up = moving(plan.down, load.download), moving(plan.up, load.upload)
        yield alternate(Result(f"{plan.down / 1e6:.0f} MB down", "GB"), subjects, plan.bulk_rounds, down)
        yield alternate(Result(f"{plan.up / 1e6:.0f} MB up", "GB"), subjects, plan.bulk_rounds, up)


def idle(plan: Plan) -> Iterator[Result]:
    """Small requests while 1,000 clients hold a connection each and say nothing."""
    with side_by_side(plan, "tcp", 1) as subjects, contextlib.ExitStack() as stack:
        for subject in subjects:
            if subject.pid:
                stack.enter_context(programs.idle_clients(subject.front, 1_000))
        yield alternate(Result("hello beside 1,000 idle clients", "request"), subjects, plan.rounds, requesting(plan))


def scale(plan: Plan) -> Iterator[Result]:
    """2 nodes, 10,000 nodes on one key (as many loopback addresses of the same workers), 10,000 keys."""
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        worker = stack.enter_context(programs.workers(folder))
        addresses = [f"127.0.{number // 250}.{number % 250 + 1}:{worker}" for number in range(MANY)]
        sizes = {
            "2 nodes": [(KEY, address) for address in addresses[:2]],
            "10,000 nodes": [(KEY, address) for address in addresses],
            "10,000 keys": [(KEY, addresses[0]), *((f"k{n}.example.com", addresses[0]) for n in range(MANY))],
        }
        fronts, keys = [], {}
        for size, nodes in sizes.items():
            many = MANY if "keys" in size else 0
            for build, program in plan.builds.items():
                fronts.append(
                    (f"{build}, {size}", *stack.enter_context(programs.ours(folder, "tcp", 1, nodes, program)))
                )
                keys[fronts[-1][0]] = many
            fronts.append((f"{THEIRS}, {size}", *stack.enter_context(programs.theirs(folder, "tcp", 1, nodes))))
            keys[fronts[-1][0]] = many
        subjects = stack.enter_context(programs.nginx(folder, fronts))
        yield alternate(
            Result("10,000 nodes, 10,000 keys", "request"), subjects, plan.rounds, requesting(plan, "/", keys)
        )


SCENARIOS: dict[str, Callable[[Plan], Iterator[Result]]] = {
    "tcp": lambda plan: small(plan, "tcp", 1),
    "unix": lambda plan: small(plan, "unix", 1),
    "tcp2": lambda plan: small(plan, "tcp", 2),
    "unix2": lambda plan: small(plan, "unix", 2),
    "bulk": bulk,
    "idle": idle,
    "scale": scale,
}
#: The name under which the reference build runs.
REFERENCE = OURS
