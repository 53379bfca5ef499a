"""compose/swarm.yaml on a swarm of engines of its own, with a service on it and load through two edge nodes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from support.open_load import OpenLoad, Outcome
from support.stack import ROOT
from support.swarm_nodes import Swarm, SwarmNode
from support.waiting import wait_for

TAG = os.environ.get("FASTROUTE_SWARM_TAG", "swarm")
#: A worker hears of its end so much later than the controller (docs/deploying.md).
STOP_DELAY = "0.5"
ENVIRONMENT = {"FASTROUTE_TAG": TAG, "FASTROUTE_IMAGE_PREFIX": "fastroute-", "TEST_STOP_DELAY": STOP_DELAY}
IMAGES = [f"fastroute-{name}:{TAG}" for name in ("nginx", "router", "socket-proxy", "foo")]
WEB = ROOT / "tests" / "swarm" / "web.yaml"
#: The edge nodes are the first two; the last node is no manager.
NODES, MANAGERS, EDGES = 4, 3, 2
#: Requests a second.
RATE = float(os.environ.get("FASTROUTE_SWARM_RATE", "200"))
#: Seconds: more than a connect that is given up, and what else a request may wait for on a busy machine.
LATE = 1.0
HEAD = f"""| scenario | requests | GETs that failed | POSTs that failed | over {LATE:g} s | slowest, s |
|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Row:
    """What one scenario cost."""

    scenario: str
    outcomes: list[Outcome]
    failed: list[Outcome]

    def __str__(self) -> str:
        """As a line of the table in docs/swarm.md."""
        times = sorted(outcome.seconds for outcome in self.outcomes)
        late = sum(seconds > LATE for seconds in times)
        failed = [self._failed(method) for method in ("GET", "POST")]
        return f"| {self.scenario} | {len(times):,} | {failed[0]} | {failed[1]} | {late:,} | {times[-1]:.1f} |"

    def _failed(self, method: str) -> str:
        failed = [outcome for outcome in self.failed if outcome.method == method]
        kinds = Counter(f"{outcome.status} {outcome.error[:40]}".strip() for outcome in failed)
        return f"{len(failed)}" + (f" ({', '.join(f'{n} x {kind}' for kind, n in kinds.items())})" if kinds else "")


@dataclass(slots=True)
class Standing:
    """The swarm with the stack on it, and what was measured."""

    swarm: Swarm
    secret: str = "fastroute-1"
    table: list[Row] = field(default_factory=list)

    @property
    def edges(self) -> list[SwarmNode]:
        """The nodes that clients reach."""
        return self.swarm.nodes[:EDGES]

    def docker(self, *argv: str) -> str:
        """At the first manager."""
        return self.swarm.manager.docker(*argv)

    def deploy(self, file: Path, name: str, **environment: str) -> None:
        """``docker stack deploy``."""
        subprocess.run(
            ["docker", "-H", self.swarm.manager.url, "stack", "deploy", "--resolve-image", "never", "--detach=true",
             "-c", str(file), name],
            env={**os.environ, **ENVIRONMENT, **environment}, check=True, capture_output=True, timeout=60,
        )  # fmt: skip

    def agree(self) -> bool:
        """Whether the routers have, all ready, what runs on the engines that live."""
        with ThreadPoolExecutor() as threads:
            words = "ps", "-q", "--filter", "label=com.docker.swarm.service.name=shop_web"
            running = threads.map(lambda node: node.docker(*words).split(), self.swarm.nodes)
            first, *others = threads.map(self.status, self.edges)
            count = sum(map(len, running))
        return list(first.values()) == ["ready"] * count and all(status == first for status in others)

    def wait_agreed(self, steady_for: float, seconds: float = 120.0) -> float:
        """Until they have agreed for ``steady_for`` seconds.  Returns when that began, in seconds since the epoch."""
        since = 0.0

        def steady() -> bool:
            nonlocal since
            now = time.time()
            if not self.agree():
                since = 0.0
            elif not since:
                since = now
            return since > 0 and now - since >= steady_for

        wait_for(steady, "routers have what runs", seconds)
        return since

    def wait_updated(self, service: str) -> None:
        """Until the update of ``service`` that was begun is done."""
        wait_for(lambda: self._update_state(service) == "completed", f"{service} is updated", 300)

    def _update_state(self, service: str) -> str:
        (found,) = self.swarm.inspect("service", service)
        return str((found.get("UpdateStatus") or {}).get("State", ""))

    def update(self, *argv: str) -> None:
        """``docker service update``, until it is done."""
        self.docker("service", "update", "-q", "--detach=false", *argv)

    def status(self, edge: SwarmNode, key: str = "foo.com") -> dict[str, str]:
        """Of the router on ``edge``: state of each node of ``key``, by address."""
        return {node["address"]: node["state"] for node in self._nodes(edge, key)}

    def limits(self, edge: SwarmNode) -> list[int]:
        """Of the router on ``edge``: ``max`` of each node of foo.com."""
        return [node["max"] for node in self._nodes(edge, "foo.com")]

    @staticmethod
    def _nodes(edge: SwarmNode, key: str) -> list[dict[str, Any]]:
        router = edge.container_of("fastroute_router")
        text = edge.docker("exec", router, "fastroute-ctl", "status", "-o", "json", check=False) if router else ""
        rows = json.loads(text)["keys"] if text else []
        return [node for row in rows if row["key"] == key for node in row["nodes"]]

    def wait_ready(self, count: int, key: str = "foo.com", seconds: float = 120) -> None:
        """Until each router has just ``count`` nodes, all ready."""
        for edge in self.edges:
            wait_for(
                lambda edge=edge: list(self.status(edge, key).values()) == ["ready"] * count,
                f"{count} nodes of {key} at {edge.name}, not {self.status(edge, key)}",
                seconds,
            )

    @contextmanager
    def load(self, scenario: str, *, planned: bool = True) -> Iterator[OpenLoad]:
        """Load on foo.com while the block runs; nothing fails of what is ``planned``."""
        with OpenLoad(80, ["foo.com"], RATE, [edge.address for edge in self.edges]) as load:
            yield load
            # Until what the scenario began has reached everybody.
            time.sleep(1)
        row = Row(scenario, load.outcomes, failures(load))
        self.table.append(row)
        print(f"\n{row}", flush=True)
        if planned:
            assert not row.failed, [str(outcome) for outcome in row.failed[:10]]

    def lines(self, edge: SwarmNode, words: str, since: float) -> list[float]:
        """When the router on ``edge`` logged lines with ``words``, in seconds since the epoch."""
        router = edge.container_of("fastroute_router")
        text = edge.docker("logs", "-t", "--since", f"{since:.3f}", router, check=False, both=True)
        return [seconds_of(line.split(" ", 1)[0]) for line in text.splitlines() if words in line]


def seconds_of(timestamp: str) -> float:
    """Docker's ``2026-11-30T20:00:00.123456789Z`` in seconds since the epoch."""
    return datetime.fromisoformat(f"{timestamp[:26].rstrip('Z')}+00:00").timestamp()


def failures(load: OpenLoad) -> list[Outcome]:
    """What no worker answered: the demo application answers a POST, too, but with 405."""
    return [outcome for outcome in load.failed if (outcome.method, outcome.status) != ("POST", 405)]


def new_secret(stand: Standing, name: str) -> None:
    """A Docker secret that nobody knows."""
    stand.swarm.manager.docker("secret", "create", name, "-", stdin=secrets.token_hex(32).encode())


def ask(edge: SwarmNode) -> str:
    """Which container answers."""
    request = urllib.request.Request(f"http://{edge.address}/", headers={"Host": "foo.com"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def rows_of(node: SwarmNode) -> list[dict[str, Any]]:
    """``fastroute-ctl ps`` on ``node``."""
    text = node.docker("exec", node.container_of("fastroute_controller"), "fastroute-ctl", "ps", "-o", "json")
    rows: list[dict[str, Any]] = json.loads(text)["containers"]
    return rows


def last_change(stand: Standing, since: float, until: float) -> float:
    """When Docker last began or ended a task of the service in this time, ``since`` if it did not."""
    times = [since]
    for node in stand.swarm.nodes:
        text = node.docker("events", "--since", f"{since:.3f}", "--until", f"{until:.3f}", "--filter",
                           "label=com.docker.swarm.service.name=shop_web", "--format", "{{.TimeNano}}")  # fmt: skip
        times += [int(line) / 1e9 for line in text.split()]
    return max(times)


def waits_of(load: OpenLoad, since: float, until: float) -> float:
    """Seconds that the slowest of the requests took which began in this time."""
    return max(outcome.seconds for outcome in load.outcomes if since <= outcome.sent < until)


def when_down(stand: Standing, node: SwarmNode, since: float) -> float:
    """When the manager said that ``node`` is down, in seconds since the epoch."""
    text = stand.docker("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--filter", "type=node",
                        "--format", "{{json .}}")  # fmt: skip
    events = [json.loads(line) for line in text.splitlines()]
    names = [event for event in events if event["Actor"]["Attributes"].get("name") == node.name]
    times = [event["timeNano"] for event in names if event["Actor"]["Attributes"].get("state.new") == "down"]
    return float(times[0]) / 1e9


def node_state(stand: Standing, node: SwarmNode) -> str:
    """What the managers say of ``node``."""
    (found,) = stand.swarm.inspect("node", node.name)
    return str(found["Status"]["State"])


def redeploy(stand: Standing, **environment: str) -> None:
    """The stack, with these variables; until routers and controllers have them."""
    stand.deploy(ROOT / "compose" / "swarm.yaml", "fastroute", FASTROUTE_SECRET=stand.secret, **environment)
    for service in ("fastroute_router", "fastroute_controller"):
        stand.wait_updated(service)
