"""Says in words what fails, the worst first, and whether the whole serves.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from fastroute.page.answers import ContainerStatus
from fastroute.page.history import LAST_MINUTE, NumberHistory
from fastroute.page.merge import AdminState, MergedKey, MergedNode

#: ``off``: it does not serve, as somebody wanted; ``unknown``: no program says how it is.
Level = Literal["ok", "warn", "bad", "off", "unknown"]
_RANK = {"bad": 0, "unknown": 1, "warn": 2, "off": 3, "ok": 4}

#: Share of answers 5xx above which a key has a problem, and a bad one; requests/s below which no share is taken.
WARN_SHARE, BAD_SHARE, MIN_RATE = 0.01, 0.25, 0.05
#: Share of a key's errors above which one node is named.
NEARLY_ALL = 0.8
#: Seconds for which a container may be on its way before that is a problem.
MAX_STARTING = 60.0
#: Problems that are listed.
MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class FleetProblem:
    """One thing that is wrong with ``name``, a key, a container, a router, a controller or nginx."""

    level: Level
    kind: str
    name: str
    #: What the page calls it, where ``name`` is an id.
    title: str
    text: str

    def to_json(self) -> dict[str, object]:
        """As browsers get it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Is it serving?  One line, and one more for what is served."""

    level: Level
    title: str
    text: str

    def to_json(self) -> dict[str, object]:
        """As browsers get it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ErrorShare:
    """Of one key in the last minute: requests/s, and which share of answers was 5xx."""

    rate: float
    share: float


def error_share(history: NumberHistory, key: MergedKey) -> ErrorShare:
    """The last minute of ``key``; where it has no history, the time between the last two answers."""
    means = [history.mean(key.key, name, LAST_MINUTE) for name in ("2xx", "3xx", "4xx", "5xx")]
    answers = [mean or 0.0 for mean in means] if any(mean is not None for mean in means) else key.now.statuses[1:]
    total = sum(answers)
    return ErrorShare(total, answers[3] / total if total >= MIN_RATE else 0.0)


def level_of_share(share: float) -> Level:
    """How bad it is that ``share`` of the answers are errors."""
    return "bad" if share > BAD_SHARE else "warn" if share > WARN_SHARE else "ok"


def worst(levels: Iterable[Level]) -> Level:
    """The worst of them; ``ok`` if there is none."""
    return min(levels, key=_RANK.__getitem__, default="ok")


class ProblemFinder:
    """Looks for problems in one merged picture; ``ages``: for how many seconds each container has had its state."""

    def __init__(
        self, states: Sequence[AdminState], keys: Mapping[str, MergedKey], history: NumberHistory,
        containers: Mapping[str, tuple[AdminState, ContainerStatus]], ages: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._states, self._keys, self._history = states, keys, history
        self._containers, self._ages = containers, ages
        self._by_key: dict[str, list[ContainerStatus]] = {}
        for _, container in containers.values():
            for key, _ in container.routes:
                self._by_key.setdefault(key, []).append(container)

    def all(self) -> list[FleetProblem]:
        """All problems, the worst first."""
        of_keys = (problem for key in self._keys.values() if (problem := self.of_key(key)) is not None)
        problems = [*self._admins(), *of_keys, *self._of_containers()]
        return sorted(problems, key=lambda problem: (_RANK[problem.level], problem.kind == "container", problem.title))

    def of_key(self, key: MergedKey) -> FleetProblem | None:
        """What is wrong with ``key``, in one text; None: nothing."""
        parts = list(self._key_parts(key))
        if not parts:
            return None
        text = "; ".join(part for _, part in parts)
        return FleetProblem(worst(level for level, _ in parts), "key", key.key, key.key, text)

    def _key_parts(self, key: MergedKey) -> Iterator[tuple[Level, str]]:
        if key.state != "serving":
            until = f" until {key.until[11:19]} UTC" if key.until else ""
            effect = "its requests wait" if key.state == "paused" else "its requests are answered 503"
            yield "warn", f"{key.state} by an operator{until}: {effect}"
        elif key.ready == 0:
            yield "bad", self._why_nobody(key)
        recent = error_share(self._history, key)
        if (level := level_of_share(recent.share)) != "ok":
            text = f"{percent(recent.share)} of the answers of the last minute are errors (5xx)"
            if key.errors or not key.rate:
                yield level, text + self._by_whom(key)
            else:
                # The errors have stopped: whoever mended the key sees at once that it helped.
                yield "warn", f"{text}, none of the last 10 s"
        if key.waiting:
            yield "warn", f"{count(key.waiting, 'request waits', 'requests wait')} for a container"
        if key.ready:
            for state, number in Counter(node.state for node in key.nodes.values()).items():
                if state == "ejected":
                    yield "warn", f"{number} of {len(key.nodes)} ejected: connecting fails, or it answers errors only"
                elif state == "stale":
                    yield "warn", f"{number} of {len(key.nodes)} stale: who announced it is silent"
        if len(set(key.known.values())) > 1:
            numbers = ", ".join(f"{router} {number}" for router, number in sorted(key.known.items()))
            yield "warn", f"routers know different numbers of nodes: {numbers}"

    def _by_whom(self, key: MergedKey) -> str:
        """Which node the errors come from, if most come from one of several."""
        total = sum(node.errors for node in key.nodes.values())
        if len(key.nodes) < 2 or not total:
            return ""
        worst_node = max(key.nodes.values(), key=lambda node: node.errors)
        if worst_node.errors < NEARLY_ALL * total:
            return ""
        container = self._containers.get(worst_node.container)
        return f", nearly all of {container[1].name if container else worst_node.address}"

    def _why_nobody(self, key: MergedKey) -> str:
        containers = [container for container in self._by_key.get(key.key, ()) if container.state != "ready"]
        reasons = [f"{container.name}: {in_words(container)}" for container in containers[:2]]
        more = f" and {len(containers) - 2} more" if len(containers) > 2 else ""
        states = Counter(node.state for node in key.nodes.values())
        nodes = ", ".join(f"{number} {state}" for state, number in states.items())
        details = "; ".join(filter(None, [f"{', '.join(reasons)}{more}" if reasons else "", nodes]))
        return f"nobody serves it{f' ({details})' if details else ''}"

    def _of_containers(self) -> Iterator[FleetProblem]:
        for id, (state, container) in self._containers.items():
            if not state.answers:
                continue
            late = container.state in ("pending", "probing") and self._ages.get(id, 0.0) > MAX_STARTING
            if late or container.state in ("error", "unhealthy", "paused"):
                yield FleetProblem("warn", "container", id, container.name, in_words(container))

    def _admins(self) -> Iterator[FleetProblem]:
        alone = not any(state.answers for state in self._states if state.serves)
        for state in self._states:
            if not state.answers:
                level: Level = "bad" if alone and state.kind == "router" else "warn"
                yield FleetProblem(level, state.kind, state.name, state.name, _silence(state))
            elif state.kind == "router":
                yield from _of_router(state)
            else:
                yield from _of_controller(state)


def _silence(state: AdminState) -> str:
    since = "has not answered yet" if state.age is None else f"has not answered for {seconds(state.age)}"
    effect = "its numbers are old" if state.kind == "router" else "what Docker does is not known; routers serve on"
    return f"{since} ({state.problem}): {effect}"


def _of_router(state: AdminState) -> Iterator[FleetProblem]:
    assert state.status is not None
    assert state.status.router is not None
    block = state.status.router
    if block.relays_down:
        text = f"{count(block.relays_down, 'relay process does', 'relay processes do')} not run"
        yield FleetProblem(
            "bad" if block.relays_down >= block.processes else "warn", "router", state.name, state.name, text
        )
    if block.silent_sources:
        names = ", ".join(block.silent_sources[:3])
        text = f"hears nothing of {names}: it keeps their nodes, and takes no new ones"
        yield FleetProblem("warn", "router", state.name, state.name, text)


def _of_controller(state: AdminState) -> Iterator[FleetProblem]:
    assert state.status is not None
    assert state.status.controller is not None
    block = state.status.controller
    for engine in block.engines:
        if engine.trouble or not engine.connected:
            at = f" at {engine.url}" if engine.url else ""
            text = f"does not see all of Docker{at}: {engine.trouble or 'not connected'}"
            yield FleetProblem("warn", "controller", state.name, state.name, text)
    nginx = block.nginx
    if nginx is None:
        return
    if not nginx.answers:
        yield FleetProblem("bad", "nginx", state.name, "nginx", "does not answer")
    if nginx.error:
        text = f"refused its configuration, the last one stays: {nginx.error}"
        yield FleetProblem("bad", "nginx", state.name, "nginx", text)
    for key, reason in nginx.refused:
        yield FleetProblem("bad", "nginx", key, key, f"nginx refuses it, so it is kept out: {reason}")
    for text in nginx.problems:
        yield FleetProblem("warn", "nginx", state.name, "nginx", text)


def verdict(states: Sequence[AdminState], keys: Mapping[str, MergedKey], problems: Sequence[FleetProblem]) -> Verdict:
    """Is it serving?"""
    serving = [state for state in states if state.serves] or list(states)
    program = "router" if any(state.kind == "router" for state in serving) else "controller"
    if not any(state.answers for state in serving):
        ages = [state.age for state in serving if state.age is not None]
        since = f"for {seconds(min(ages))}" if ages else "yet"
        text = f"No {program} has answered {since}. What is shown is the last that was known." if ages else (
            f"No {program} has answered yet: {serving[0].problem if serving else 'none is configured'}.")  # fmt: skip
        return Verdict("unknown", "Not known", text)
    if not keys:
        return Verdict("off", "Nothing to serve yet", "No container has a label fastroute.key, and no worker has"
                       " announced itself.")  # fmt: skip
    ready, total = sum(key.ready for key in keys.values()), sum(len(key.nodes) for key in keys.values())
    text = f"{count(len(keys), 'key', 'keys')}, {ready} of {count(total, 'node', 'nodes')} ready"
    bad = [problem for problem in problems if problem.level == "bad"]
    failing = [problem for problem in bad if problem.kind == "key"]
    warnings = sum(problem.level == "warn" for problem in problems)
    if failing:
        return Verdict("bad", f"{len(failing)} of {count(len(keys), 'key', 'keys')} failing", text)
    if bad:
        return Verdict("bad", f"Serving, with {count(len(bad), 'failure', 'failures')}", text)
    if warnings:
        return Verdict("warn", f"Serving, with {count(warnings, 'warning', 'warnings')}", text)
    return Verdict("ok", "Serving", text)


def level_of_node(node: MergedNode) -> Level:
    """How a node is."""
    if node.state == "ejected":
        return "bad"
    if node.state == "draining":
        return "off"
    return worst((level_of_share(share(node.errors, node.rate)), "warn" if node.state == "stale" else "ok"))


def share(errors: float, rate: float) -> float:
    """Which part of the answers are errors; where there are next to none, no part is."""
    return min(1.0, errors / rate) if rate >= MIN_RATE else 0.0


def in_words(container: ContainerStatus) -> str:
    """State and reason of a container."""
    return f"{container.state}{f': {container.reason}' if container.reason else ''}"


def count(number: int, singular: str, plural: str) -> str:
    """``3 nodes``."""
    return f"{number:,} {singular if number == 1 else plural}"


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def seconds(age: float) -> str:
    """``34 s``, ``5 min``, ``3 h``."""
    if age < 90:
        return f"{age:.0f} s"
    return f"{age / 60:.0f} min" if age < 5400 else f"{age / 3600:.0f} h"
