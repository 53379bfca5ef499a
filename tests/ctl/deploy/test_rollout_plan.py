"""A rollout's steps: whatever happens, and wherever it is ended and begun again, it comes to one of two ends."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from fastroute.ctl.deploy.rollout_plan import RolloutPlan, canary_weights
from fastroute.router.protocol.node_options import MAX_WEIGHT

KEYS = frozenset({"foo.com"})


@dataclass
class World:
    """Docker, controller and load in virtual time.  The new version is ``ready_after`` seconds old when it is ready
    (None: never), and so many percent of its answers are errors."""

    count: int
    ready_after: float | None = 1.0
    errors: float = 0.0
    rate: float = 100.0
    now: float = 0.0
    #: Each with when it was made.
    containers: dict[str, tuple[ServiceContainer, float]] = field(default_factory=dict)
    switched: SwitchTo | None = None
    log: list[str] = field(default_factory=list)
    #: Actions of this kind fail.
    fails: type | None = None
    #: So many seconds old, one of the new ones, or all of them, is ready no longer.
    breaks_after: float = inf
    all_break: bool = False
    #: Routers have counted what runs on a container so many seconds after it was drained; None: nobody counts.
    counted_after: float | None = 0.0
    #: Seconds for which requests run on a container that was drained.
    runs: float = 0.0
    #: Since when containers are as the last switch has them.
    switched_at: float = 0.0

    def __post_init__(self) -> None:
        self.made, self.chance = 0, random.Random(1)
        for _ in range(self.count):
            self._make(old=True)
        self.old = frozenset(self.containers)

    def _make(self, *, old: bool = False) -> None:
        self.made += 1
        id = f"{'old' if old else 'new'}-{self.made}"
        self.containers[id] = ServiceContainer(id, id, KEYS, ready=old), self.now

    def serving(self) -> set[str]:
        return {each.id for each in self.seen().containers if each.serves}

    def seen(self, failure: str = "") -> Observation:
        rows = []
        for container, made in self.containers.values():
            is_old = container.id in self.old
            ready = is_old or (self.ready_after is not None and self.now - made >= self.ready_after)
            if not is_old and self.now - made >= self.breaks_after and (self.all_break or container.id[-1] == "3"):
                ready = False
            drained = self.switched is not None and container.id not in self.switched.to
            if self.switched is not None and container.id not in self.known and not self.switched.hold:
                drained = False
            rows.append(
                replace(
                    container,
                    ready=ready,
                    drained=drained,
                    in_flight=self._in_flight() if drained else None,
                    state="ready" if ready else "probing",
                )
            )
        return Observation(self.now, tuple(rows), failure)

    known: frozenset[str] = frozenset()

    def _in_flight(self) -> int | None:
        drained_for = self.now - self.switched_at
        if self.counted_after is None or drained_for < self.counted_after:
            return None
        return int(drained_for < self.runs)

    def do(self, action: Action, share: float = 1.0) -> Observation:
        """Carry ``action`` out, or a ``share`` of it."""
        assert self.serving() or self.all_break, "somebody always serves"
        self.log.append(type(action).__name__)
        if self.fails is type(action) and not isinstance(action, Await):
            return self.seen("as told")
        match action:
            case SwitchTo():
                if share < 1.0:
                    return self.seen()
                missing = [id for id in action.to if id not in self.serving_or_drained()]
                if missing:
                    return self.seen(f"{missing} not ready")
                self.switched, self.known, self.switched_at = action, frozenset(self.containers), self.now
            case Scale():
                for _ in range(int(((action.number or 0) - len(self.containers)) * share)):
                    self._make()
            case Remove():
                for id in action.ids[: int(len(action.ids) * share)]:
                    assert id not in self.serving(), f"{id} is removed while it serves"
                    assert self.counted_after is None or not self._in_flight(), f"requests run on {id}"
                    self.containers.pop(id, None)
                if self.switched is not None and self.known - set(self.switched.to) <= self.known - set(
                    self.containers
                ):
                    self.switched = None
            case Await():
                self.now += 0.25
                self._answer(0.25)
        return self.seen()

    def serving_or_drained(self) -> set[str]:
        return {each.id for each in self.seen().containers if each.ready}

    def _answer(self, seconds: float) -> None:
        weights = self.switched.weights.get("foo.com", {}) if self.switched else {}
        serving = self.serving()
        total = sum(weights.get(id, 1) for id in serving)
        for id in serving:
            container, made = self.containers[id]
            number = round(self.rate * seconds * weights.get(id, 1) / total)
            wrong = 0 if id in self.old else sum(self.chance.random() < self.errors / 100 for _ in range(number))
            self.containers[id] = replace(container, answers=container.answers + Answers(number, wrong)), made

    def ended(self) -> str:
        """The end that it has come to."""
        ids = set(self.containers)
        if ids == self.old and self.serving() == ids:
            return "as before"
        if not ids & self.old and len(ids) == self.count and self.serving() == ids:
            return "rolled out"
        return f"neither: {self.containers.keys()}, {self.serving()} serve"


def run(
    world: World, options: RolloutOptions, journal: Journal, stop_at: int = -1, share: float = 1.0
) -> RolloutOutcome | None:
    """One run, which is killed after ``stop_at`` actions; the last of them only in part."""
    steps = RolloutPlan(journal, options).run(world.seen())
    number = 0
    try:
        action = next(steps)
        while True:
            if number == stop_at:
                world.do(action, share)
                return None
            number += 1
            assert number < 5000, "it never ends"
            action = steps.send(world.do(action))
    except StopIteration as end:
        outcome: RolloutOutcome = end.value
        return outcome


def journal_of(world: World) -> Journal:
    return Journal(tuple(sorted(world.old)), tuple(sorted(world.old)))


OPTIONS = [
    RolloutOptions(timeout=10),
    RolloutOptions(timeout=10, one_by_one=True),
    RolloutOptions(timeout=10, bake=5),
    RolloutOptions(timeout=10, canary=10, bake=20),
    RolloutOptions(timeout=10, one_by_one=True, bake=3),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_good_version_is_rolled_out(options: RolloutOptions, count: int) -> None:
    world = World(count)
    outcome = run(world, options, journal_of(world))
    assert outcome is not None
    assert (outcome.result, world.ended()) == ("done", "rolled out"), outcome


@pytest.mark.parametrize("options", OPTIONS)
def test_one_that_is_never_ready_is_taken_back_without_a_request(options: RolloutOptions) -> None:
    world = World(2, ready_after=None)
    outcome = run(world, options, journal_of(world))
    assert outcome is not None
    assert (outcome.result, world.ended()) == ("timed-out", "as before"), outcome
    assert "not ready after 10 s: new-3 (probing), new-4 (probing)" in outcome.reason


@pytest.mark.parametrize("options", [options for options in OPTIONS if options.bake])
def test_one_that_answers_with_errors_is_taken_back_and_why_is_said(options: RolloutOptions) -> None:
    world = World(2, errors=30)
    outcome = run(world, options, journal_of(world))
    assert outcome is not None
    assert (outcome.result, world.ended()) == ("back", "as before"), outcome
    assert "errors of the new: " in outcome.reason
    assert "of the old: 0 of " in outcome.reason


@pytest.mark.parametrize("options", [options for options in OPTIONS if options.bake])
@pytest.mark.parametrize("all_break", [True, False])
def test_one_that_is_ready_no_longer_is_a_reason_to_go_back(options: RolloutOptions, all_break: bool) -> None:
    """At once where all are; one of two may be back by the end of the time."""
    world = World(2, breaks_after=2.0, all_break=all_break)
    outcome = run(world, options, journal_of(world))
    assert outcome is not None
    assert (outcome.result, world.ended()) == ("back", "as before"), outcome
    assert outcome.reason.startswith("no longer ready: new-3 (probing)")
    assert (world.now < options.bake) == all_break


def test_few_answers_decide_nothing_and_it_says_how_many_there_were() -> None:
    world = World(1, errors=50, rate=20)
    plan = RolloutPlan(journal_of(world), RolloutOptions(timeout=10, canary=20, bake=4))
    steps, outcome = plan.run(world.seen()), None
    action = next(steps)
    while outcome is None:
        try:
            action = steps.send(world.do(action))
        except StopIteration as end:
            outcome = end.value
    assert outcome.result == "done"
    ((what, comparison),) = plan.comparisons
    assert 0 < comparison.new.total < 20
    assert comparison.new.errors > 0
    assert (what, comparison.enough, "answers decide nothing" in str(comparison)) == ("canary", False, True)


@pytest.mark.parametrize("fails", [SwitchTo, Scale])
def test_what_fails_leaves_all_as_before(fails: type) -> None:
    world = World(2, fails=fails)
    outcome = run(world, RolloutOptions(timeout=10), journal_of(world))
    assert outcome is not None
    assert outcome.result == "back"
    assert "as told" in outcome.reason
    assert world.ended() == "as before"


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 4),
    st.sampled_from(OPTIONS),
    st.sampled_from([(1.0, 0.0), (None, 0.0), (1.0, 40.0)]),
    st.lists(st.tuples(st.integers(0, 60), st.floats(0.0, 1.0)), max_size=4),
)
def test_killed_anywhere_and_run_again_it_comes_to_the_same_end(
    count: int, options: RolloutOptions, version: tuple[float | None, float], kills: list[tuple[int, float]]
) -> None:
    undisturbed, world = (World(count, ready_after=version[0], errors=version[1]) for _ in range(2))
    expected = run(undisturbed, options, journal_of(undisturbed))
    journal = journal_of(world)
    for stop_at, share in kills:
        if run(world, options, journal, stop_at, share) is not None:
            break
    outcome = run(world, options, journal) or expected
    assert outcome is not None
    assert world.ended() == undisturbed.ended()


weights_of_some = st.lists(st.integers(1, MAX_WEIGHT), max_size=10)


@given(weights_of_some.filter(bool), st.integers(1, 10), weights_of_some, st.integers(1, 999).map(lambda n: n / 10))
def test_a_canary_gets_its_share_and_nobody_elses(old: list[int], news: int, beside: list[int], percent: float) -> None:
    olds = {f"o{number}": weight for number, weight in enumerate(old)}
    others = {f"b{number}": weight for number, weight in enumerate(beside)}
    new = [f"n{number}" for number in range(news)]
    weights = canary_weights(olds, new, others, percent)
    assert set(weights) == {*olds, *new, *others}
    assert all(1 <= weight <= MAX_WEIGHT for weight in weights.values())
    # Rounding moves little where no weight is at the end of the scale.
    if min(weights.values()) < 50 and max(weights.values()) > MAX_WEIGHT / 2:
        return
    share = sum(weights[id] for id in new) / sum(weights[id] for id in (*olds, *new))
    assert abs(share - percent / 100) < 0.02
    assert all(abs(weights[id] / sum(weights[each] for each in olds) - olds[id] / sum(old)) < 0.02 for id in olds)
    foreign = sum(weights[id] for id in others) / sum(weights.values())
    assert abs(foreign - sum(beside) / (sum(beside) + sum(old))) < 0.02


@pytest.mark.parametrize(
    ("old", "beside", "expected"),
    [
        ({"o": 1}, {}, {"o": 9, "n": 1}),
        ({"o1": 1, "o2": 3}, {}, {"o1": 9, "o2": 27, "n": 4}),
        ({"o": 1}, {"b": 1}, {"o": 9, "n": 1, "b": 10}),
    ],
)
def test_weights_of_labels_and_of_other_services_count(
    old: dict[str, int], beside: dict[str, int], expected: dict[str, int]
) -> None:
    assert canary_weights(old, ["n"], beside, 10) == expected


def test_the_plan_gives_each_key_its_own_weights() -> None:
    keys = frozenset({"a.com", "b.com"})
    old = ServiceContainer("o", "o", keys, {"a.com": 1, "b.com": 2}, ready=True)
    new = ServiceContainer("n", "n", keys, {"a.com": 1, "b.com": 2}, ready=True)
    options = RolloutOptions(canary=50.0, bake=1.0)
    steps = RolloutPlan(Journal(("o",), ("o",)), options).run(Observation(0.0, (old,)))
    action, new_is_there = next(steps), False
    while not (isinstance(action, SwitchTo) and action.weights):
        both = (old, new) if isinstance(action, Scale) or new_is_there else (old,)
        new_is_there = len(both) == 2
        action = steps.send(Observation(1.0, both, beside={"b.com": {"other": 4}}))
    assert action.weights == {"a.com": {"o": 1, "n": 1}, "b.com": {"other": 4, "o": 1, "n": 1}}


def test_one_that_was_killed_after_the_switch_is_gone_on_with() -> None:
    world, options = World(2), RolloutOptions(timeout=10)
    steps = RolloutPlan(journal_of(world), options).run(world.seen())
    action = next(steps)
    while not isinstance(action, Remove):
        action = steps.send(world.do(action))
    new = set(world.containers) - world.old
    outcome = run(world, options, journal_of(world))
    assert outcome is not None
    assert (outcome.resumed, set(world.containers)) == (True, new), "nothing was started anew"


@pytest.mark.parametrize(("counted_after", "runs", "seconds"), [(0.5, 0.0, 0.5), (0.5, 5.0, 5.0), (None, 5.0, 2.0)])
def test_old_ones_are_removed_once_it_is_known_that_nothing_runs_there(
    counted_after: float | None, runs: float, seconds: float
) -> None:
    """Right after the switch nobody has counted yet, and that nobody knows of a request is not that there is none."""
    world = World(2, counted_after=counted_after, runs=runs)
    outcome = run(world, RolloutOptions(), journal_of(world))
    assert outcome is not None
    assert (outcome.result, world.ended()) == ("done", "rolled out")
    assert seconds <= world.now - world.switched_at <= seconds + 0.5
