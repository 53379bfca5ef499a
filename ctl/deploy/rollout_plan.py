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

#: Seconds that new containers are held back beyond the time that they have to become ready.
HOLD_SLACK = 120.0

#: Seconds in which routers count what still runs on containers that get no requests any more (0.5 s as a rule): until
#: then nobody knows that nothing does.  In nginx mode nobody counts.
COUNT_TIMEOUT = 2.0

Steps = Generator[Action, Observation, Observation]
Ending = Generator[Action, Observation, RolloutOutcome]
#: Returns what is seen, and the reason to go back; None: the rollout goes on.
Watched = Generator[Action, Observation, tuple[Observation, str | None]]
#: The same, with the result (``RolloutOutcome.result``) before the reason.
Part = Generator[Action, Observation, tuple[Observation, tuple[str, str] | None]]
Containers = tuple[ServiceContainer, ...]


class RolloutPlan:
    """One rollout; ``journal`` is what it, or the run that was interrupted, wrote down."""

    def __init__(self, journal: Journal, options: RolloutOptions) -> None:
        self._journal, self._options = journal, options
        #: The answers of the old ones when it began; empty: all their answers are compared.
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
            seen, reason = yield from self._bake(seen, _answers_of(seen))
            if reason is not None:
                return (yield from self._go_back(seen, "back", reason))
            return (yield from self._finish(seen, "going on with what an earlier run had begun: ", resumed=True))
        if new:
            seen = yield from self._take_back(seen, "taking back what an earlier run had begun: ")
            if seen.failure:
                return RolloutOutcome(
                    "back", f"could not take back what an earlier run had begun: {seen.failure}", unfinished=True
                )
        self._baseline = {container.id: container.answers for container in self._old(seen)}
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
        serving = _ids(container for container in old if container.serves)
        if serving:
            seen = yield SwitchTo(serving, hold=hold, text="new containers get no requests before the switch")
            if seen.failure:
                return seen, ("back", seen.failure)
        begun, number = seen.now, len(self._journal.old)
        seen = yield Scale(len(old) + number, f"starting {_count(number, 'new container')} beside {_names(old)}")
        if seen.failure:
            return seen, ("back", seen.failure)
        if serving:
            # This switch names the new ones too: they get nothing before the next one, whatever becomes of this run.
            seen = yield SwitchTo(serving, hold=hold)
        return (yield from self._ready(seen, begun, number))

    def _ready(self, seen: Observation, begun: float, number: int) -> Part:
        """Wait until ``number`` new ones are ready; else what happened, and why."""
        while not (len(self._new(seen)) >= number and all(container.ready for container in self._new(seen))):
            waits = ", ".join(
                f"{container.name} ({container.state})" for container in self._new(seen) if not container.ready
            )
            if seen.now - begun >= self._options.timeout:
                return seen, ("timed-out", f"not ready after {self._options.timeout:g} s: {waits or 'no container'}")
            seen = yield Await(f"waiting until they are ready: {waits or 'no container yet'}")
        return seen, None

    def _begin(self, seen: Observation) -> Ending:
        """The service has no container: start as many as its file says."""
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
        if options.canary is not None and any(container.serves for container in old):
            serving = tuple(container for container in old if container.serves)
            keys = sorted({key for container in new for key in container.keys})
            weights = {key: _canary_of(key, serving, new, seen.beside.get(key, {}), options.canary) for key in keys}
            before = _answers_of(seen)
            text = f"canary: {options.canary:g}% of the requests go to {_names(new)}"
            hold = options.timeout + HOLD_SLACK + options.bake
            seen = yield SwitchTo(_ids((*serving, *new)), weights, hold, text=text)
            if seen.failure:
                return seen, ("back", seen.failure)
            seen, reason = yield from self._watch(seen, "canary", before, before)
            if reason is not None:
                return seen, ("back", reason)
        for to, text in self._switches(old, new):
            before = _answers_of(seen)
            seen = yield SwitchTo(to, sessions=options.sessions, text=text)
            if seen.failure:
                return seen, ("back", seen.failure)
            seen, reason = yield from self._bake(seen, before)
            if reason is not None:
                return seen, ("back", reason)
        return seen, None

    def _bake(self, seen: Observation, before: dict[str, Answers]) -> Watched:
        """Watch the new ones once they serve, unless a canary was watched."""
        if self._options.canary is not None or not self._options.bake:
            return seen, None
        return (yield from self._watch(seen, "bake", self._baseline, before))

    def _switches(self, old: Containers, new: Containers) -> Iterator[tuple[tuple[str, ...], str]]:
        """The switches that are made one after the other: the containers that serve then, and a text for people."""
        if self._options.one_by_one:
            serving = [container for container in old if container.serves]
            for number in range(1, len(new)):
                still_serving = serving[number * len(serving) // len(new) :]
                to = (*still_serving, *new[:number])
                yield _ids(to), f"switching to {_names(new[:number])}, {_names(still_serving)} still serve"
        yield _ids(new), f"switching to {_names(new)}"

    def _watch(
        self, seen: Observation, stage: str, old_before: dict[str, Answers], new_before: dict[str, Answers]
    ) -> Watched:
        """Compare the new ones with the old ones for ``bake`` seconds of ``stage``; the reason to go back, or None."""
        options, begun = self._options, seen.now
        while True:
            old, new = self._old(seen), self._new(seen)
            comparison = Comparison(_since(old, old_before), _since(new, new_before), _p95(old), _p95(new))
            over = seen.now - begun >= options.bake
            if comparison.surely_worse(options.max_errors) or (over and comparison.worse(options.max_errors)):
                self.comparisons.append((stage, comparison))
                return seen, f"{comparison}: more than {options.max_errors:g}% above"
            if broken := [f"{container.name} ({container.state})" for container in new if not container.ready]:
                if over or len(broken) == len(new):
                    return seen, f"no longer ready: {', '.join(broken)}"
            elif over:
                self.comparisons.append((stage, comparison))
                return seen, None
            seen = yield Await(f"{stage}: watching for {options.bake:g} s")

    # The end.

    def _finish(self, seen: Observation, note: str = "", *, resumed: bool = False) -> Ending:
        """The new ones serve: the old ones end what they have, and go."""
        old, new = self._old(seen), self._new(seen)
        if any(container.serves for container in old):
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
        """Take back what was done; ``result`` and ``reason`` say why."""
        seen = yield from self._take_back(seen, "going back: ")
        if seen.failure:
            return RolloutOutcome(result, f"{reason}; could not go back: {seen.failure}", unfinished=True)
        return RolloutOutcome(result, f"{reason}; went back, all as before")

    def _take_back(self, seen: Observation, note: str) -> Steps:
        """The old ones serve alone, and what is new goes; with a failure, nothing is removed."""
        old, new = self._old(seen), self._new(seen)
        before = self._journal.serving
        serving = _ids(container for container in old if container.ready and (container.id in before or not before))
        if serving and (new or any(container.drained for container in old if container.id in serving)):
            seen = yield SwitchTo(serving, text=f"{note}{_names(old)} serve{'s' if len(old) == 1 else ''}")
            if seen.failure:
                return seen
        elif any(container.serves for container in new):
            return replace(seen, failure=f"none of {_names(old)} is ready, so {_names(new)} stay")
        if new:
            seen = yield from self._drained(seen, _ids(new))
            seen = yield Remove(_ids(new), f"{note}removing {_names(new)}")
        return seen

    def _drained(self, seen: Observation, ids: tuple[str, ...]) -> Steps:
        """Wait until no request is known to run on ``ids``, or for ``drain_timeout`` at most."""
        begun = seen.now
        while seen.now - begun < self._options.drain_timeout:
            drained = [container for container in seen.containers if container.id in ids and container.drained]
            if any(container.in_flight is None for container in drained) and seen.now - begun < COUNT_TIMEOUT:
                seen = yield Await("waiting for the routers' count of requests that run")
                continue
            busy = [container for container in seen.containers if container.id in ids and container.in_flight]
            if not busy:
                return seen
            running = ", ".join(f"{container.in_flight} on {container.name}" for container in busy)
            seen = yield Await(f"waiting for requests that run: {running}")
        return seen

    # Which containers are old, and which are new.

    def _old(self, seen: Observation) -> Containers:
        return tuple(container for container in seen.containers if container.id in self._journal.old)

    def _new(self, seen: Observation) -> Containers:
        return tuple(container for container in seen.containers if container.id not in self._journal.old)


def _canary_of(key: str, old: Containers, new: Containers, beside: Mapping[str, int], percent: float) -> dict[str, int]:
    weights = {container.id: container.weights.get(key, 1) for container in old if key in container.keys}
    return canary_weights(weights, [container.id for container in new if key in container.keys], beside, percent)


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
    return any(container.serves for container in new) and not any(container.serves for container in old)


def _ids(containers: Iterable[ServiceContainer]) -> tuple[str, ...]:
    return tuple(container.id for container in containers)


def _names(containers: Iterable[ServiceContainer]) -> str:
    return ", ".join(container.name for container in containers)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _answers_of(seen: Observation) -> dict[str, Answers]:
    return {container.id: container.answers for container in seen.containers}


def _since(containers: Containers, before: dict[str, Answers]) -> Answers:
    parts = (container.answers.since(before.get(container.id, Answers())) for container in containers)
    return sum(parts, Answers())


def _p95(containers: Containers) -> float | None:
    return max((container.p95_ms for container in containers if container.p95_ms is not None), default=None)
