"""What a rollout sees and orders: the vocabulary of :mod:`.rollout_plan`.  Pure, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of some containers: how many, and how many of them were 5xx (a time-out is one, 504)."""

    total: int = 0
    errors: int = 0

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.total + other.total, self.errors + other.errors)

    def since(self, before: Answers) -> Answers:
        """What came after ``before``; a counter that began anew counts from its start."""
        if self.total < before.total or self.errors < before.errors:
            return self
        return Answers(self.total - before.total, self.errors - before.errors)

    @property
    def share(self) -> float:
        """The errors' share, in percent."""
        return 100.0 * self.errors / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.errors} of {self.total} ({self.share:.1f}%)"


@dataclass(frozen=True, slots=True)
class ServiceContainer:
    """One container of the service, as Docker and the controller have it."""

    id: str
    name: str
    #: The keys that its labels name.
    keys: frozenset[str] = frozenset()
    #: Its weight for each of them, by its label or an operator.
    weights: Mapping[str, int] = field(default_factory=dict)
    #: It could serve all of them: healthy, or its probe answered.
    ready: bool = False
    #: It gets no new requests for any of them.
    drained: bool = False
    #: A switch is why it gets none.
    switched: bool = False
    #: Its state and the reason, for people.
    state: str = "not known to the controller"
    #: Requests that run there; None: nobody can tell.
    in_flight: int | None = None
    answers: Answers = Answers()
    #: Milliseconds; None: no answer began lately.
    p95_ms: float | None = None

    @property
    def serves(self) -> bool:
        """Whether it gets requests."""
        return self.ready and not self.drained


@dataclass(frozen=True, slots=True)
class Observation:
    """The service's containers at ``now`` (monotonic seconds)."""

    now: float
    containers: tuple[ServiceContainer, ...]
    #: Why the last action failed; empty: it did not.
    failure: str = ""
    #: Whether clients of one of its keys stay with their container.
    sticky: bool = False
    #: For each key, containers (ids) of other services that serve it as well, with their weights.
    beside: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """How it is done; times are in seconds, shares in percent."""

    one_by_one: bool = False
    #: None: no canary.
    canary: float | None = None
    bake: float = 0.0
    max_errors: float = 1.0
    timeout: float = 60.0
    #: How long to wait for requests that run on the old containers; after that docker stop ends them.
    drain_timeout: float = 60.0
    #: How long clients that stay with an old container (sticky) may go on there after the switch.
    sessions: float = 5.0


@dataclass(frozen=True, slots=True)
class Journal:
    """What a rollout wrote down before it began: the containers (ids) that it replaces, and those that served."""

    old: tuple[str, ...]
    serving: tuple[str, ...] = ()


# What is ordered.


@dataclass(frozen=True, slots=True)
class SwitchTo:
    """The keys are served by these containers alone (ids); ``hold``: seconds for which later ones wait."""

    to: tuple[str, ...]
    #: For each key, weights by id; those of other services that have one serve on.
    weights: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    hold: float = 0.0
    #: Seconds for which clients that stay with the others still get them.
    sessions: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """The service has so many containers (None: as its file says); those that are there are left alone."""

    number: int | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """These containers (ids) are stopped and removed."""

    ids: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Await:
    """Look again in a moment; ``text``: what is awaited."""

    text: str


Action = SwitchTo | Scale | Remove | Await


@dataclass(frozen=True, slots=True)
class RolloutOutcome:
    """How it ended: ``done``, ``back`` or ``timed-out`` (both: all as before), and why."""

    result: str
    reason: str
    #: It only went on with what an earlier run had begun.
    resumed: bool = False
    #: Something is left to do: another run goes on.
    unfinished: bool = False
