"""What routers and controllers answer, read into objects.  Pure.

Fields that an older program does not have yet are optional here; an answer of another shape is a ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Of answers, by class: 1xx to 5xx.
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
NO_STATUSES = (0, 0, 0, 0, 0)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """What one router counted for a key or a node.

    * ``statuses``: answers by ``CLASSES``; ``rate``: requests/s of the last 10 s.
    * ``error_rate``: of those, answers 5xx/s.
    * ``rate``, ``error_rate``, ``p50_ms`` and ``p95_ms`` are None where the router does not say (yet).
    """

    requests: int = 0
    statuses: tuple[int, ...] = NO_STATUSES
    failures: int = 0
    timeouts: int = 0
    rate: float | None = None
    error_rate: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node of a key at one router."""

    address: str
    state: str
    source: str
    container: str
    weight: int
    backup: int
    max: int
    in_flight: int
    zone: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key at one router (or in nginx)."""

    key: str
    algorithm: str
    state: str
    until: str
    message: str
    wait: float
    #: The name of the cookie by which clients stay with their node; empty: they do not.
    sticky: str
    waiting: int
    ready: int
    total: int
    counts: Counts
    nodes: tuple[NodeStatus, ...]


@dataclass(frozen=True, slots=True)
class RouterBlock:
    """A router's own block."""

    version: str
    boot_id: str
    uptime: float
    cheap: bool
    processes: int
    requests: int
    errors: Mapping[str, int]
    relays_down: int
    silent_sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One Docker Engine of a controller."""

    url: str
    connected: bool
    trouble: str
    last_event: str
    last_sync: str


@dataclass(frozen=True, slots=True)
class NginxBlock:
    """How nginx takes what a controller in nginx mode renders; ``refused``: keys that are kept out, and why."""

    answers: bool
    generation: str
    error: str
    refused: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    reloads: int
    failures: int
    last_success: str


@dataclass(frozen=True, slots=True)
class ControllerBlock:
    """A controller's own block; ``nginx`` is None in router mode."""

    mode: str
    connected: bool
    last_event: str
    last_sync: str
    engines: tuple[EngineStatus, ...]
    nginx: NginxBlock | None


@dataclass(frozen=True, slots=True)
class Status:
    """An answer of ``/v1/status``: of a router, or of a controller."""

    keys: tuple[KeyStatus, ...]
    router: RouterBlock | None = None
    controller: ControllerBlock | None = None


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One labelled container."""

    id: str
    name: str
    state: str
    reason: str
    health: str
    since: str
    #: (key, address), the address empty where there is none.
    routes: tuple[tuple[str, str], ...] = field(default=())


def read_status(answer: Any) -> Status:
    """The object of ``/v1/status``; ``ValueError`` for anything else."""
    try:
        router, controller = answer["router"], answer["controller"]
        return Status(
            tuple(_key(row) for row in answer["keys"]),
            None if router is None else _router(router),
            None if controller is None else _controller(controller),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its answer is no status ({type(error).__name__}: {error})") from None


def read_containers(answer: Any) -> tuple[ContainerStatus, ...]:
    """The object of ``/v1/containers``; ``ValueError`` for anything else."""
    try:
        return tuple(
            ContainerStatus(
                str(row["id"]), str(row["name"]), str(row["state"]), _text(row.get("reason")), _text(row.get("health")),
                _text(row.get("since")),
                tuple((str(route["key"]), _text(route.get("address"))) for route in row["routes"]),
            )
            for row in answer["containers"]
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its answer lists no containers ({type(error).__name__}: {error})") from None


def _key(row: Json) -> KeyStatus:
    return KeyStatus(
        str(row["key"]), _text(row.get("algorithm")), _text(row.get("state")) or "serving", _text(row.get("until")),
        _text(row.get("message")), float(row.get("wait") or 0), _text(row.get("sticky")),
        int(row.get("waiting") or 0), int(row["ready"]),
        int(row["total"]), _counts(row), tuple(_node(node) for node in row["nodes"]),
    )  # fmt: skip


def _node(row: Json) -> NodeStatus:
    return NodeStatus(
        str(row["address"]), str(row["state"]), _text(row.get("source")), _text(row.get("container")),
        int(row["weight"]), int(row.get("backup") or 0), int(row.get("max") or 0), int(row.get("in_flight") or 0),
        _text(row.get("zone")), _counts(row),
    )  # fmt: skip


def _counts(row: Json) -> Counts:
    statuses = row.get("statuses") or {}
    return Counts(
        int(row.get("requests") or 0), tuple(int(statuses.get(name) or 0) for name in CLASSES),
        int(row.get("failures") or 0), int(row.get("timeouts") or 0),
        _number(row.get("rate")), _number(row.get("error_rate")),
        _number(row.get("p50_ms")), _number(row.get("p95_ms")),
    )  # fmt: skip


def _router(block: Json) -> RouterBlock:
    relays, sources = block.get("relays") or (), block.get("sources") or ()
    return RouterBlock(
        _text(block.get("version")), _text(block.get("boot_id")), float(block.get("uptime") or 0),
        bool(block.get("cheap")), int(block.get("processes") or 0), int(block.get("requests") or 0),
        {str(kind): int(count) for kind, count in (block.get("errors") or {}).items()},
        sum(not relay["alive"] for relay in relays),
        tuple(str(source["source"]) for source in sources if source.get("silent")),
    )  # fmt: skip


def _controller(block: Json) -> ControllerBlock:
    sink = block.get("sink") or {}
    engines = tuple(
        EngineStatus(_text(row.get("url")), bool(row.get("connected")), _text(row.get("trouble")),
               _text(row.get("last_event")), _text(row.get("last_sync")))
        for row in block.get("engines") or ()
    )  # fmt: skip
    mode = str(block["mode"])
    return ControllerBlock(
        mode, bool(block.get("connected")), _text(block.get("last_event")), _text(block.get("last_sync")), engines,
        _nginx(sink) if mode == "nginx" else None,
    )  # fmt: skip


def _nginx(sink: Json) -> NginxBlock:
    return NginxBlock(
        bool(sink.get("answers", True)), _text(sink.get("generation")), _text(sink.get("error")),
        tuple((str(row["key"]), _text(row.get("reason"))) for row in sink.get("aside") or ()),
        tuple(_text(problem) for problem in sink.get("problems") or ()),
        int(sink.get("reloads") or 0), int(sink.get("failures") or 0), _text(sink.get("last_success")),
    )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
