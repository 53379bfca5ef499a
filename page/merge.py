"""One picture of several routers: their keys and nodes put together.  Pure.

Only routers that answer count; where none answers, the last answers of all are shown.  Requests of all routers are
added up, times are those of the slowest, and a node's state is the worst that any router sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fastroute.page.answers import ContainerStatus, Counts, KeyStatus, NodeStatus, Status
from fastroute.page.meter import Meter, PerSecond


@dataclass(frozen=True, slots=True)
class AdminState:
    """What is known of one router or controller.

    * ``age``: seconds since its last answer; None: there was none.
    * ``problem``: why it does not answer now; empty: it does.
    """

    kind: str
    name: str
    url: str
    status: Status | None
    containers: tuple[ContainerStatus, ...]
    age: float | None
    interval: float
    problem: str
    meter: Meter

    @property
    def answers(self) -> bool:
        """Whether its numbers are those of now."""
        return self.status is not None and not self.problem

    @property
    def serves(self) -> bool:
        """Whether it says what is served: a router, or a controller whose nginx does."""
        block = self.status.controller if self.status is not None else None
        return self.kind == "router" or (block is not None and block.mode == "nginx")


@dataclass(slots=True)
class MergedNode:
    """A node of a key, over all routers."""

    key: str
    address: str
    container: str = ""
    source: str = ""
    zone: str = ""
    weight: int = 0
    backup: int = 0
    max: int = 0
    in_flight: int = 0
    requests: int = 0
    failures: int = 0
    timeouts: int = 0
    rate: float = 0.0
    #: Answers 5xx per second.
    errors: float = 0.0
    p95_ms: float | None = None
    statuses: list[int] = field(default_factory=lambda: [0] * 5)
    now: PerSecond = field(default_factory=PerSecond)
    #: State by router, and the worst of them.
    states: dict[str, str] = field(default_factory=dict)
    state: str = "ready"

    @property
    def serving(self) -> bool:
        """Whether every router that knows it gives it new requests: a stale one still gets them."""
        return self.state in ("ready", "stale")

    def where(self, state: str) -> list[str]:
        """The routers that see it in ``state``."""
        return [router for router, seen_state in self.states.items() if seen_state == state]


@dataclass(slots=True)
class MergedKey:
    """A key, over all routers."""

    key: str
    algorithm: str = ""
    state: str = "serving"
    until: str = ""
    message: str = ""
    wait: float = 0.0
    sticky: str = ""
    waiting: int = 0
    requests: int = 0
    rate: float = 0.0
    #: Answers 5xx per second.
    errors: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    statuses: list[int] = field(default_factory=lambda: [0] * 5)
    now: PerSecond = field(default_factory=PerSecond)
    #: Whether nginx serves it without a router: nobody counts its requests.
    nginx: bool = False
    nodes: dict[str, MergedNode] = field(default_factory=dict)
    #: How many nodes each router knows.
    known: dict[str, int] = field(default_factory=dict)
    #: Of nodes that get new requests: how many there are at each level of backups.
    serving: Counter[int] = field(default_factory=Counter)
    in_flight: int = 0

    @property
    def ready(self) -> int:
        """Nodes that get new requests."""
        return self.serving.total()

    def serving_before(self, backup: int) -> int:
        """Nodes that get new requests before those of the level ``backup`` do."""
        return sum(number for level, number in self.serving.items() if level < backup)


def merge(states: Sequence[AdminState]) -> dict[str, MergedKey]:
    """The keys of all that serve, by name."""
    serving = [state for state in states if state.serves and state.status is not None]
    keys: dict[str, MergedKey] = {}
    for state in [state for state in serving if state.answers] or serving:
        assert state.status is not None
        # What a silent router does now is not known.
        now = state.meter.now if state.answers else {}
        for row in state.status.keys:
            merged = keys.setdefault(row.key, MergedKey(row.key))
            _add_key(merged, row, now.get((row.key, ""), PerSecond()), live=state.answers)
            merged.nginx = merged.nginx or state.kind == "controller"
            merged.known[state.name] = len(row.nodes)
            for node in row.nodes:
                merged_node = merged.nodes.setdefault(node.address, MergedNode(row.key, node.address))
                _add_node(merged_node, node, now.get((row.key, node.address), PerSecond()), live=state.answers)
                merged_node.states[state.name] = node.state
                merged_node.state = min(merged_node.state, node.state, key=_state_rank)
    for merged in keys.values():
        merged.serving = Counter(node.backup for node in merged.nodes.values() if node.serving)
        merged.in_flight = sum(node.in_flight for node in merged.nodes.values())
    return keys


#: The worst state of a node has the lowest rank; a state that this version does not know stands before ``ready``.
_STATE_RANKS = {"ejected": 0, "stale": 1, "draining": 2, "ready": 4}


def _state_rank(state: str) -> int:
    return _STATE_RANKS.get(state, 3)


def _add_key(merged: MergedKey, row: KeyStatus, now: PerSecond, *, live: bool) -> None:
    merged.algorithm = merged.algorithm or row.algorithm
    if row.state != "serving":
        merged.state, merged.until, merged.message = row.state, row.until, row.message
    merged.wait, merged.sticky = max(merged.wait, row.wait), merged.sticky or row.sticky
    _add_counts(merged, row.counts, now, live=live)
    if live:
        merged.waiting += row.waiting
        merged.p50_ms = slowest(merged.p50_ms, row.counts.p50_ms)


def _add_node(merged: MergedNode, row: NodeStatus, now: PerSecond, *, live: bool) -> None:
    merged.container = merged.container or row.container
    merged.source, merged.zone = merged.source or row.source, merged.zone or row.zone
    merged.weight, merged.backup, merged.max = row.weight, row.backup, row.max
    merged.failures += row.counts.failures
    merged.timeouts += row.counts.timeouts
    _add_counts(merged, row.counts, now, live=live)
    if live:
        merged.in_flight += row.in_flight


def _add_counts(merged: MergedKey | MergedNode, counts: Counts, now: PerSecond, *, live: bool) -> None:
    merged.requests += counts.requests
    merged.statuses = [mine + more for mine, more in zip(merged.statuses, counts.statuses, strict=True)]
    if live:
        merged.rate += now.requests if counts.rate is None else counts.rate
        merged.errors += now.statuses[4] if counts.error_rate is None else counts.error_rate
        merged.now += now
        merged.p95_ms = slowest(merged.p95_ms, counts.p95_ms)


def slowest(first: float | None, second: float | None) -> float | None:
    """The longer one of two times, of which either may be unknown."""
    return max((time for time in (first, second) if time is not None), default=None)


def merge_containers(states: Iterable[AdminState]) -> dict[str, tuple[AdminState, ContainerStatus]]:
    """The containers of all controllers by id, each with the controller that knows it; of two, the one that answers."""
    ordered = sorted((state for state in states if state.kind == "controller"), key=lambda state: state.answers)
    return {container.id: (state, container) for state in ordered for container in state.containers}


def nodes_by_container(keys: Mapping[str, MergedKey]) -> dict[str, list[MergedNode]]:
    """The nodes of each container, by its id."""
    nodes: dict[str, list[MergedNode]] = {}
    for key in keys.values():
        for node in key.nodes.values():
            if node.container:
                nodes.setdefault(node.container, []).append(node)
    return nodes
