"""A rollout, step by step: what is to be done next, from what is seen.  Pure.

A generator of actions that gets what is seen after each.  It may be ended anywhere and begun again from nothing but the
containers that are there and the ids that were written down before it began (:class:`~.observed.Journal`): if the old
ones get no requests and new ones do, it had switched, and goes on from there; else what is new is taken back first.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from math import gcd

from fastroute.ctl.deploy.comparison import Comparison
from fastroute.ctl.deploy.observed import (
    Action,
    Answers,
    Await,
    Journal,
    Observation,
    Remove,
    RolloutOptions,
    RolloutOutcome,
    Scale,
    ServiceContainer,
    SwitchTo,
)
from fastroute.router.protocol.node_options import MAX_WEIGHT

#: Containers that come while it is under way wait so much longer than it may take until they are ready (seconds).
HOLD_SLACK = 120.0

Steps = Generator[Action, Observation, Observation]
Ending = Generator[Action, Observation, RolloutOutcome]
#: What is seen, and the reason to go back (the result and the reason); None: it goes on.
Watched = Generator[Action, Observation, tuple[Observation, str | None]]
Part = Generator[Action, Observation, tuple[Observation, tuple[str, str] | None]]
Containers = tuple[ServiceContainer, ...]


class RolloutPlan:
    """One rollout; ``journal`` is what it, or the run that was interrupted, wrote down."""

    def __init__(self, journal: Journal, options: RolloutOptions) -> None:
        self._journal, self._options = journal, options
        #: The answers of the old ones when it began; empty: since they are there.
        self._baseline: dict[str, Answers] = {}
        #: What was compared, for the result.
        self.comparisons: list[tuple[str, Comparison]] = []

    def run(self, seen: Observation) -> Ending:
        """The actions, from ``seen`` on; each returns what is seen after it."""
        old, new = self._old(seen), self._new(seen)
        if not old and not new:
            return (yield from self._begin(seen))
        if not old:
            return RolloutOutcome("done", f"{_names(new)} serve; an earlier run had come so far", resumed=True)
        if _switched(old, new):
            seen, bad = yield from self._bake(seen, _answers_of(seen))
            if bad is not None:
                return (yield from self._go_back(seen, "back", bad))
            return (yield from self._finish(seen, "going on with what an earlier run had begun: ", resumed=True))
        if new:
            seen = yield from self._take_back(seen, "taking back what an earlier run had begun: ")
            if seen.failure:
                return RolloutOutcome(
                    "back", f"could not take back what an earlier run had begun: {seen.failure}", unfinished=True
                )
        self._baseline = {each.id: each.answers for each in self._old(seen)}
        seen, problem = yield from self._start(seen)
        if problem is None:
            seen, problem = yield from self._hand_over(seen)
        if problem is not None:
            return (yield from self._go_back(seen, *problem))
        return (yield from self._finish(seen))

    # The way there.

    def _start(self, seen: Observation) -> Part:
        """The new ones run and are ready; else what happened, and why."""
        old, hold = self._old(seen), self._options.timeout + HOLD_SLACK
        serving = _ids(each for each in old if each.serves)
        if serving:
            seen = yield SwitchTo(serving, hold=hold, text="new containers get no requests before the switch")
            if seen.failure:
                return seen, ("back", seen.failure)
        begun, number = seen.now, len(self._journal.old)
        seen = yield Scale(len(old) + number, f"starting {_count(number, 'new container')} beside {_names(old)}")
        if seen.failure:
            return seen, ("back", seen.failure)
        if serving:
            # By their names as well: whatever becomes of this run, they get nothing before the switch.
            seen = yield SwitchTo(serving, hold=hold)
        return (yield from self._ready(seen, begun, number))

    def _ready(self, seen: Observation, begun: float, number: int) -> Part:
        """Until ``number`` new ones are ready."""
        while not (len(self._new(seen)) >= number and all(each.ready for each in self._new(seen))):
            waits = ", ".join(f"{each.name} ({each.state})" for each in self._new(seen) if not each.ready)
            if seen.now - begun >= self._options.timeout:
                return seen, ("timed-out", f"not ready after {self._options.timeout:g} s: {waits or 'no container'}")
            seen = yield Await(f"waiting until they are ready: {waits or 'no container yet'}")
        return seen, None

    def _begin(self, seen: Observation) -> Ending:
        """None is there: the first ones are started, as many as the service's file says."""
        begun = seen.now
        seen = yield Scale(None, "none is there: starting the first")
        problem: tuple[str, str] | None = ("back", seen.failure)
        if not seen.failure:
            seen, problem = yield from self._ready(seen, begun, 1)
        if problem is None:
            return RolloutOutcome("done", f"{_names(seen.containers)} started")
        if seen.containers:
            seen = yield Remove(_ids(seen.containers), f"going back: removing {_names(seen.containers)}")
        return RolloutOutcome(problem[0], f"{problem[1]}; went back, all as before")

    def _hand_over(self, seen: Observation) -> Part:
        """The new ones serve, and answer well; else what happened, and why."""
        options, old, new = self._options, self._old(seen), self._new(seen)
        if options.canary is not None and any(each.serves for each in old):
            serving = tuple(each for each in old if each.serves)
            keys = sorted({key for each in new for key in each.keys})
            weights = {key: _canary_of(key, serving, new, seen.beside.get(key, {}), options.canary) for key in keys}
            before = _answers_of(seen)
            text = f"canary: {options.canary:g}% of the requests go to {_names(new)}"
            hold = options.timeout + HOLD_SLACK + options.bake
            seen = yield SwitchTo(_ids((*serving, *new)), weights, hold, text=text)
            if seen.failure:
                return seen, ("back", seen.failure)
            seen, bad = yield from self._watch(seen, "canary", before, before)
            if bad is not None:
                return seen, ("back", bad)
        for to, text in self._switches(old, new):
            before = _answers_of(seen)
            seen = yield SwitchTo(to, sessions=options.sessions, text=text)
            if seen.failure:
                return seen, ("back", seen.failure)
            seen, bad = yield from self._bake(seen, before)
            if bad is not None:
                return seen, ("back", bad)
        return seen, None

    def _bake(self, seen: Observation, before: dict[str, Answers]) -> Watched:
        """Watch the new ones once they serve, unless a canary was watched."""
        if self._options.canary is not None or not self._options.bake:
            return seen, None
        return (yield from self._watch(seen, "bake", self._baseline, before))

    def _switches(self, old: Containers, new: Containers) -> Iterator[tuple[tuple[str, ...], str]]:
        """Whom the keys are switched to, one after the other."""
        if self._options.one_by_one:
            serving = [each for each in old if each.serves]
            for number in range(1, len(new)):
                left = serving[number * len(serving) // len(new) :]
                to = (*left, *new[:number])
                yield _ids(to), f"switching to {_names(new[:number])}, {_names(left)} still serve"
        yield _ids(new), f"switching to {_names(new)}"

    def _watch(
        self, seen: Observation, what: str, old_before: dict[str, Answers], new_before: dict[str, Answers]
    ) -> Watched:
        """The new ones beside the old ones, for the time of ``bake``; the reason to go back, if there is one."""
        options, begun = self._options, seen.now
        while True:
            old, new = self._old(seen), self._new(seen)
            comparison = Comparison(_since(old, old_before), _since(new, new_before), _p95(old), _p95(new))
            over = seen.now - begun >= options.bake
            if comparison.surely_worse(options.max_errors) or (over and comparison.worse(options.max_errors)):
                self.comparisons.append((what, comparison))
                return seen, f"{comparison}: more than {options.max_errors:g}% above"
            if broken := [f"{each.name} ({each.state})" for each in new if not each.ready]:
                if over or len(broken) == len(new):
                    return seen, f"no longer ready: {', '.join(broken)}"
            elif over:
                self.comparisons.append((what, comparison))
                return seen, None
            seen = yield Await(f"{what}: watching for {options.bake:g} s")

    # The end.

    def _finish(self, seen: Observation, note: str = "", *, resumed: bool = False) -> Ending:
        """The new ones serve: the old ones end what they have, and go."""
        old, new = self._old(seen), self._new(seen)
        if any(each.serves for each in old):
            seen = yield SwitchTo(_ids(new), text=f"{note}switching to {_names(new)}")
            if seen.failure:
                return (yield from self._go_back(seen, "back", seen.failure))
        begun, sessions = seen.now, self._options.sessions
        while seen.sticky and seen.now - begun < sessions:
            seen = yield Await(f"{_names(old)} keep the clients that stay with them for {sessions:g} s")
        seen = yield from self._drained(seen, _ids(old))
        seen = yield Remove(_ids(old), f"{note}removing {_names(old)}")
        problem = f"; {seen.failure}" if seen.failure else ""
        number = len(self._journal.old)
        if len(new) != number:
            seen = yield Scale(number, f"scaling to {number}")
        new = self._new(seen)
        served = f"{_names(new)} {'serves' if len(new) == 1 else 'serve'}"
        return RolloutOutcome("done", f"{served}, {_names(old)} removed{problem}", resumed=resumed)

    def _go_back(self, seen: Observation, result: str, reason: str) -> Ending:
        """All as before."""
        seen = yield from self._take_back(seen, "going back: ")
        if seen.failure:
            return RolloutOutcome(result, f"{reason}; could not go back: {seen.failure}", unfinished=True)
        return RolloutOutcome(result, f"{reason}; went back, all as before")

    def _take_back(self, seen: Observation, note: str) -> Steps:
        """The old ones serve alone, and what is new goes; with a failure, nothing is removed."""
        old, new = self._old(seen), self._new(seen)
        before = self._journal.serving
        serving = _ids(each for each in old if each.ready and (each.id in before or not before))
        if serving and (new or any(each.drained for each in old if each.id in serving)):
            seen = yield SwitchTo(serving, text=f"{note}{_names(old)} serve{'s' if len(old) == 1 else ''}")
            if seen.failure:
                return seen
        elif any(each.serves for each in new):
            return replace(seen, failure=f"none of {_names(old)} is ready, so {_names(new)} stay")
        if new:
            seen = yield from self._drained(seen, _ids(new))
            seen = yield Remove(_ids(new), f"{note}removing {_names(new)}")
        return seen

    def _drained(self, seen: Observation, ids: tuple[str, ...]) -> Steps:
        """Until no request runs on ``ids``, as far as anybody can tell, or it takes too long."""
        begun = seen.now
        while seen.now - begun < self._options.drain_timeout:
            busy = [each for each in seen.containers if each.id in ids and each.in_flight]
            if not busy:
                return seen
            running = ", ".join(f"{each.in_flight} on {each.name}" for each in busy)
            seen = yield Await(f"waiting for requests that run: {running}")
        return seen

    # Whose is whose.

    def _old(self, seen: Observation) -> Containers:
        return tuple(each for each in seen.containers if each.id in self._journal.old)

    def _new(self, seen: Observation) -> Containers:
        return tuple(each for each in seen.containers if each.id not in self._journal.old)


def _canary_of(key: str, old: Containers, new: Containers, beside: Mapping[str, int], percent: float) -> dict[str, int]:
    weights = {each.id: each.weights.get(key, 1) for each in old if key in each.keys}
    return canary_weights(weights, [each.id for each in new if key in each.keys], beside, percent)


def canary_weights(
    old: Mapping[str, int], new: Collection[str], beside: Mapping[str, int], percent: float
) -> dict[str, int]:
    """Weights that send ``percent`` of the service's requests to ``new``; the ratio between those of ``old`` stays, and
    so does what containers of other services, ``beside`` them, get."""
    share, total = round(percent * 10), sum(old.values())
    weights = {id: weight * len(new) * 1000 for id, weight in beside.items()}
    weights |= {id: weight * len(new) * (1000 - share) for id, weight in old.items()}
    weights |= dict.fromkeys(new, total * share or 1)
    common, most = gcd(*weights.values()) or 1, max(weights.values(), default=0)
    if most // common <= MAX_WEIGHT:
        return {id: weight // common for id, weight in weights.items()}
    return {id: max(1, round(weight * MAX_WEIGHT / most)) for id, weight in weights.items()}


def _switched(old: Containers, new: Containers) -> bool:
    return any(each.serves for each in new) and not any(each.serves for each in old)


def _ids(containers: Iterable[ServiceContainer]) -> tuple[str, ...]:
    return tuple(each.id for each in containers)


def _names(containers: Iterable[ServiceContainer]) -> str:
    return ", ".join(each.name for each in containers)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _answers_of(seen: Observation) -> dict[str, Answers]:
    return {each.id: each.answers for each in seen.containers}


def _since(containers: Containers, before: dict[str, Answers]) -> Answers:
    parts = (each.answers.since(before.get(each.id, Answers())) for each in containers)
    return sum(parts, Answers())


def _p95(containers: Containers) -> float | None:
    return max((each.p95_ms for each in containers if each.p95_ms is not None), default=None)
