"""The vocabulary of the deciding thread: what it is told, and what it orders.  Frozen, no behaviour.

Told: :data:`Message`, all through one queue.  Ordered: :data:`Order`, carried out by the edges, whose answers come back
as messages.  ``version`` and ``ticket`` let an answer be told from one that was asked for before something happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastroute.controller.decide.container import Container, Network, Summary
from fastroute.controller.decide.override_targets import OverrideTarget
from fastroute.controller.desired import Desired, ProbeTarget, RouteDiff
from fastroute.controller.settings import ControllerSettings
from fastroute.router.override_target import AmbiguousTarget


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine that answers.  ``own_id``: the container we may be in (empty: none); ``time_ns``: its clock."""

    id: str
    version: str
    time_ns: int
    own_id: str


@dataclass(frozen=True, slots=True)
class Connected:
    """Subscribed to the engine's events; past ones have been told before.  ``source``: the engine's name for the
    routers."""

    engine: Engine
    source: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The engine does not answer, or the stream of events broke off."""

    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """One event.  ``id`` is the container's; ``age`` seconds ago by the engine's clock, 0 for a live one; not ``live``:
    read from the engine's memory of the past."""

    action: str
    id: str
    time_ns: int
    labels: Mapping[str, str]
    network: str = ""
    signal: int = 0
    live: bool = True
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Listed:
    """All containers and networks, taken without inspect; ``trouble``: what it lacks, and why."""

    ticket: int
    summaries: tuple[Summary, ...]
    networks: Mapping[str, Network]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ListFailed:
    """The list could not be had: nothing is known, which is not the same as an empty list."""

    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """One container; ``None``: the engine knows none by this id."""

    id: str
    version: int
    container: Container | None


@dataclass(frozen=True, slots=True)
class InspectFailed:
    """The container could not be looked at."""

    id: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Probed:
    """One attempt of a probe; ``problem`` empty: it succeeded, and was the last."""

    target: ProbeTarget
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Resync:
    """Somebody wants a full comparison now."""


@dataclass(frozen=True, slots=True)
class Configure:
    """The configuration has changed."""

    settings: ControllerSettings


@dataclass(frozen=True, slots=True)
class OverrideRequest:
    """An operator wants routes drained (or not any more), or another weight (``overrides.AS_LABELLED``: their own);
    ``answer`` gets what ``target`` meant."""

    target: str
    drain: bool | None
    weight: int | None
    answer: Callable[[OverrideAnswer], None]


#: The routes that a target meant here; an exception: it can't be said which.
OverrideAnswer = list[OverrideTarget] | AmbiguousTarget

Message = (
    Connected
    | Disconnected
    | Happened
    | Listed
    | ListFailed
    | Inspected
    | InspectFailed
    | Probed
    | Resync
    | Configure
    | OverrideRequest
)


@dataclass(frozen=True, slots=True)
class TakeList:
    """List containers and networks; ``labels`` (``NAME`` or ``NAME=VALUE``): of containers that are ours."""

    ticket: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspect:
    """Look at one container."""

    id: str
    version: int


@dataclass(frozen=True, slots=True)
class StartProbe:
    """Probe until it succeeds or is stopped."""

    target: ProbeTarget


@dataclass(frozen=True, slots=True)
class StopProbe:
    """Nobody waits for this probe any more."""

    target: ProbeTarget


@dataclass(frozen=True, slots=True)
class Apply:
    """Tell the sink."""

    routes: Desired
    #: What leads to ``routes`` from what the sink was told before.
    diff: RouteDiff
    #: When the oldest event came in that led here (monotonic; 0: none did).
    received: float

    @property
    def op(self) -> str:
        """``remove`` if any node leaves, else ``add``."""
        return "remove" if any(route.entry.address for route in self.diff.leave) else "add"


@dataclass(frozen=True, slots=True)
class Reopen:
    """The stream of events loses some: open a new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Keep:
    """What has to be known after a restart (JSON)."""

    state: object


@dataclass(frozen=True, slots=True)
class WriteEvent:
    """Write an entry into the event log, which adds number and time.

    * ``kind``: what it is about, one of the words that ``events --type`` takes.
    * ``container``, ``id``: name and id of the container concerned, if one is.
    * ``key``: the key concerned, if one is.
    """

    kind: str
    text: str
    container: str = ""
    id: str = ""
    key: str = ""


#: What takes the events that a decision writes: the reconciler's list of orders.
Write = Callable[[WriteEvent], None]


@dataclass(frozen=True, slots=True)
class AnswerOperator:
    """Tell an operator what was done; by then the sink knows."""

    to: Callable[[OverrideAnswer], None]
    what: OverrideAnswer


Order = TakeList | Inspect | StartProbe | StopProbe | Apply | Reopen | Keep | WriteEvent | AnswerOperator
