"""One container as Docker describes it: the part of list and inspect answers that decides.  Pure.

Nothing else reads Docker's JSON of containers and networks.  Times are Docker's own text (RFC 3339) and, where they
are compared, nanoseconds since 1970 (``int``), as events carry them.  What Docker leaves out (a stopped container has
no address, a podman no endpoint id) is an empty string here, never an exception.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: Docker's own default (daemon/stop.go) when neither image nor container names a stop time-out.
DEFAULT_STOP_TIMEOUT = 10.0
#: First real-time signal of glibc, which Docker counts RTMIN+N from whatever the C library.
_RTMIN, _RTMAX = 34, 64

#: The bridge by which each node of a swarm leads its tasks to the world.
_GATEWAY_BRIDGE = "docker_gwbridge"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\d*(Z|[+-]\d\d:\d\d)")
_HEALTH_TEXT = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")

Fingerprint = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place on one network.  ``address`` is IPv4, else IPv6; empty: not (yet) there."""

    network: str
    id: str
    address: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the engine.

    * ``local_bridge``: processes on the engine's machine reach its containers.
    * ``mesh``: a swarm's own, ``ingress`` or ``docker_gwbridge``: for published ports, never from container to
      container.
    """

    name: str
    local_bridge: bool
    gateway: str
    mesh: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """What inspect says.  ``status`` is Docker's word (running, paused, exited, ...); ``health`` empty: no HEALTHCHECK;
    ``ports`` the exposed TCP ports, ``published`` where on the engine's machine (IP, port) they are reached;
    ``stop_timeout`` in seconds; ``finished_ns``: when it ended last."""

    id: str
    name: str
    labels: Mapping[str, str]
    created_ns: int
    started_at: str
    started_ns: int
    status: str
    exit_code: int
    health: str
    stop_signal: int
    stop_timeout: float
    network_mode: str
    endpoints: tuple[Endpoint, ...]
    ports: tuple[int, ...]
    published: Mapping[int, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    finished_ns: int = 0

    @property
    def owner(self) -> str:
        """Its identity on the wire: this start of this container."""
        return f"{self.id}@{self.started_at}"

    @property
    def running(self) -> bool:
        """True when its processes run; Docker's own ``Running`` is also true for a paused one."""
        return self.status == "running"

    @property
    def alive(self) -> bool:
        """True when there are processes, running or paused."""
        return self.status in ("running", "paused")

    @property
    def network_lender(self) -> str:
        """Id (or name) of the container whose network it uses; empty when it has its own."""
        return self.network_mode.removeprefix("container:") if self.network_mode.startswith("container:") else ""

    @property
    def fingerprint(self) -> Fingerprint:
        """What a list answer would show: equal fingerprints need no inspect."""
        return _fingerprint(self.name, self.status, self.health, self.endpoints)


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of a list answer, taken without inspect."""

    id: str
    labels: Mapping[str, str]
    fingerprint: Fingerprint

    @property
    def status(self) -> str:
        """Docker's word, as in :class:`Container`."""
        return self.fingerprint[1]


def read_inspect(answer: Mapping[str, Any]) -> Container:
    """The :class:`Container` of an inspect answer; ``ValueError`` when it has no id or state."""
    config, host, state = answer.get("Config") or {}, answer.get("HostConfig") or {}, answer.get("State")
    if not answer.get("Id") or not isinstance(state, dict):
        raise ValueError("an inspect answer without Id or State")
    timeout, started_at = config.get("StopTimeout"), str(state.get("StartedAt") or "")
    return Container(
        id=answer["Id"],
        name=str(answer.get("Name") or "").lstrip("/"),
        # Thousands of containers have the same names, and each answer a text of its own for them.
        labels={sys.intern(name): value for name, value in dict(config.get("Labels") or {}).items()},
        created_ns=nanoseconds(str(answer.get("Created") or "")),
        started_at=started_at,
        started_ns=nanoseconds(started_at),
        status=_status(state),
        exit_code=int(state.get("ExitCode") or 0),
        health=_health((state.get("Health") or {}).get("Status")),
        stop_signal=signal_number(config.get("StopSignal") or "SIGTERM"),
        stop_timeout=DEFAULT_STOP_TIMEOUT if timeout is None else float(timeout),
        network_mode=str(host.get("NetworkMode") or ""),
        endpoints=_endpoints(answer),
        ports=_tcp_ports(config.get("ExposedPorts") or {}),
        finished_ns=nanoseconds(str(state.get("FinishedAt") or "")),
        published=_published((answer.get("NetworkSettings") or {}).get("Ports") or {}),
    )


def read_summary(row: Mapping[str, Any]) -> Summary:
    """The :class:`Summary` of one row of a list answer."""
    names = [name.lstrip("/") for name in row.get("Names") or [] if "/" not in name.lstrip("/")]
    text = _HEALTH_TEXT.search(row.get("Status") or "")
    status = str(row.get("State") or "").lower()
    health = text[1] if text else ""
    print_ = _fingerprint(names[0] if names else "", status, health, _endpoints(row))
    return Summary(row["Id"], dict(row.get("Labels") or {}), print_)


def read_network(row: Mapping[str, Any]) -> Network:
    """The :class:`Network` of one row of a networks answer."""
    pools = (row.get("IPAM") or {}).get("Config") or []
    gateways = [pool["Gateway"].partition("/")[0] for pool in pools if pool.get("Gateway")]
    gateways.sort(key=lambda gateway: ":" in gateway)
    mesh = bool(row.get("Ingress")) or row["Name"] == _GATEWAY_BRIDGE
    local = row.get("Driver") == "bridge" and row.get("Scope") in ("local", None, "") and not mesh
    return Network(str(row["Name"]), local, gateways[0] if gateways else "", mesh)


def signal_number(text: str) -> int:
    """The number of a signal as images and events write it (``SIGQUIT``, ``QUIT``, ``3``, ``RTMIN+3``); 0: unknown."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdigit():
        return int(name)
    if match := re.fullmatch(r"RT(MIN\+|MAX-)(\d{1,2})", name):
        return _RTMIN + int(match[2]) if match[1] == "MIN+" else _RTMAX - int(match[2])
    if name in ("RTMIN", "RTMAX"):
        return _RTMIN if name == "RTMIN" else _RTMAX
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return 0


def nanoseconds(text: str) -> int:
    """An RFC 3339 time as nanoseconds since 1970; 0 for what is none, and for Docker's year 1 (never started)."""
    match = _TIME.fullmatch(text)
    if match is None or match[1].startswith("0001"):
        return 0
    whole = datetime.fromisoformat(match[1] + ("+00:00" if match[3] == "Z" else match[3])).astimezone(UTC)
    return int(whole.timestamp()) * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))


def nanoseconds_as_text(time_ns: int) -> str | None:
    """Nanoseconds since 1970 as RFC 3339 in UTC; None for 0, which is never."""
    if not time_ns:
        return None
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _status(state: Mapping[str, Any]) -> str:
    if state.get("Restarting"):
        return "restarting"
    if state.get("Paused"):
        return "paused"
    return str(state.get("Status") or ("running" if state.get("Running") else "exited")).lower()


def _health(status: object) -> str:
    return status if isinstance(status, str) and status in ("starting", "healthy", "unhealthy") else ""


def _endpoints(answer: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    networks = (answer.get("NetworkSettings") or {}).get("Networks") or {}
    return tuple(
        Endpoint(
            sys.intern(name),
            str(data.get("EndpointID") or ""),
            str(data.get("IPAddress") or data.get("GlobalIPv6Address") or ""),
            sys.intern(str(data.get("Gateway") or data.get("IPv6Gateway") or "")),
        )
        for name, data in sorted(networks.items())
        if isinstance(data, dict)
    )


def _tcp_ports(exposed: Mapping[str, Any]) -> tuple[int, ...]:
    ports = (text.partition("/") for text in exposed)
    return tuple(sorted(int(port) for port, _, kind in ports if kind in ("tcp", "") and port.isdigit()))


def _published(ports: Mapping[str, Any]) -> dict[int, tuple[tuple[str, int], ...]]:
    published = {}
    for text, bindings in ports.items():
        port, _, kind = text.partition("/")
        if kind in ("tcp", "") and port.isdigit() and bindings:
            places = [(str(binding.get("HostIp") or ""), str(binding.get("HostPort") or "")) for binding in bindings]
            published[int(port)] = tuple(sorted((ip, int(public)) for ip, public in places if public.isdigit()))
    return published


def _fingerprint(name: str, status: str, health: str, endpoints: tuple[Endpoint, ...]) -> Fingerprint:
    # The endpoint id is new at every start: it shows a restart that no event told, even at the same address.
    return name, status, health, *(f"{end.network} {end.id} {end.address}" for end in endpoints)
