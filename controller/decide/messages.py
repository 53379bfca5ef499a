"""The vocabulary of the deciding thread: what it is told, and what it orders.  Frozen, no behaviour.

A :data:`Message` is what it is told; all come through one queue.  An :data:`Order` is what it wants done; the edges
carry it out, and their answers come back as messages.  ``version`` and ``ticket`` distinguish an answer from one that
was asked for before something happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastroute.controller.decide.container import Container, Network, Summary
from fastroute.controller.decide.swarm import SwarmMember, SwarmView
from fastroute.controller.desired import Desired, ProbeTarget, RouteDiff
from fastroute.controller.settings import ControllerSettings
from fastroute.router.protocol.override_target import AmbiguousTarget


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine that answers."""

    id: str
    version: str
    #: Its clock.
    time_ns: int
    #: The container in which the controller may run; empty: there is none.
    own_id: str
    #: Its part in a swarm; None: it has none.
    swarm: SwarmMember | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The controller is subscribed to the engine's events; past ones have been told before."""

    engine: Engine
    #: The engine's name for the routers.
    source: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The engine does not answer, or the stream of events broke off."""

    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """One event."""

    action: str
    #: The container's.
    id: str
    time_ns: int
    labels: Mapping[str, str]
    #: The network that was joined or left; empty: the event is about something else.
    network: str = ""
    #: The signal of a kill.
    signal: int = 0
    #: False: it was read from the engine's memory of the past.
    live: bool = True
    #: Seconds since it happened, by the engine's clock; 0 for a live one.
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class SwarmHappened:
    """A service or a node of the swarm changed: managers hear of it."""


@dataclass(frozen=True, slots=True)
class SwarmTold:
    """What managers know."""

    view: SwarmView
    #: False: not our own engine tells it, but another controller, or our memory of the last life.
    own: bool = True


@dataclass(frozen=True, slots=True)
class SwarmUntold:
    """The engine would not tell."""

    reason: str


@dataclass(frozen=True, slots=True)
class Listed:
    """All containers and networks, taken without inspect."""

    ticket: int
    summaries: tuple[Summary, ...]
    networks: Mapping[str, Network]
    #: What the list lacks, and why; empty: nothing.
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ListFailed:
    """No list came: nothing is known, which is not the same as an empty list."""

    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """An inspect of one container was answered."""

    id: str
    version: int
    #: ``None``: the engine knows no container by this id.
    container: Container | None


@dataclass(frozen=True, slots=True)
class InspectFailed:
    """An inspect of one container was not answered."""

    id: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe was tried once."""

    target: ProbeTarget
    #: What went wrong; empty: the probe succeeded, and is over.
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
    """An operator wants routes drained (or not any more), or another weight."""

    target: str
    #: ``None``: that stays as it is.
    drain: bool | None
    #: ``None``: it stays as it is; ``overrides.AS_LABELLED``: the one that labels say.
    weight: int | None
    #: Gets what ``target`` meant.
    answer: Callable[[OverrideAnswer], None]
    #: With a drain: seconds for which clients that stay with the routes still get them.
    sessions: float = 0.0


@dataclass(frozen=True, slots=True)
class SwitchRequest:
    """An operator wants a key served by some of its containers alone (:mod:`.switches`)."""

    key: str
    #: Ids; other engines may have some of them.
    to: frozenset[str]
    #: By id.
    weights: Mapping[str, int]
    #: Seconds for which containers that come later are held back.
    hold: float
    #: Gets all routes of the key, those that serve and those that don't.
    answer: Callable[[OverrideAnswer], None]
    #: Ids of those that serve no more; None: all others.
    off: frozenset[str] | None = None
    #: Seconds for which clients that stay with those still get them.
    sessions: float = 0.0


@dataclass(frozen=True, slots=True)
class OverrideTarget:
    """One route that a target means."""

    #: The start of the container.
    owner: str
    #: Its name.
    container: str
    key: str
    #: Empty: the route has none now.
    address: str


#: The routes that a target meant here; an exception: it can't be said which.
OverrideAnswer = list[OverrideTarget] | AmbiguousTarget

Message = (
    Connected
    | Disconnected
    | Happened
    | SwarmHappened
    | SwarmTold
    | SwarmUntold
    | Listed
    | ListFailed
    | Inspected
    | InspectFailed
    | Probed
    | Resync
    | Configure
    | OverrideRequest
    | SwitchRequest
)


@dataclass(frozen=True, slots=True)
class TakeList:
    """List containers and networks."""

    ticket: int
    #: Labels (``NAME`` or ``NAME=VALUE``) of containers that are ours.
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeSwarm:
    """Ask the engine, a manager, for services and nodes of its swarm."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """Inspect one container."""

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
    """Write an entry into the event log, which adds number and time."""

    #: What it is about, one of the words that ``events --type`` takes.
    kind: str
    text: str
    #: Name and id of the container concerned, if there is one.
    container: str = ""
    id: str = ""
    #: The key concerned, if there is one.
    key: str = ""


#: What takes the events that a decision writes: the reconciler's list of orders.
Write = Callable[[WriteEvent], None]


@dataclass(frozen=True, slots=True)
class AnswerOperator:
    """Tell an operator what was done; by then the sink knows."""

    to: Callable[[OverrideAnswer], None]
    what: OverrideAnswer


Order = TakeList | TakeSwarm | Inspect | StartProbe | StopProbe | Apply | Reopen | Keep | WriteEvent | AnswerOperator
