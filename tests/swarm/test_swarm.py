"""compose/swarm.yaml on a real swarm: what each change and each accident costs, at 200 requests a second through two
edge nodes.  Run by make swarm, in namespaces of its own; the tests build on each other, in this order.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
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

import pytest
from support.open_load import OpenLoad, Outcome
from support.stack import ROOT
from support.swarm_nodes import Swarm, SwarmNode
from support.waiting import wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif("FASTROUTE_SWARM" not in os.environ, reason="make swarm"),
]

TAG = os.environ.get("FASTROUTE_SWARM_TAG", "swarm")
#: A worker hears of its end so much later than the controller (docs/deploying.md).
STOP_DELAY = "0.5"
ENVIRONMENT = {"FASTROUTE_TAG": TAG, "FASTROUTE_IMAGE_PREFIX": "fastroute-", "TEST_STOP_DELAY": STOP_DELAY}
IMAGES = [f"fastroute-{name}:{TAG}" for name in ("nginx", "router", "socket-proxy", "foo")]
WEB = Path(__file__).with_name("web.yaml")
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
        running = 0
        for node in self.swarm.nodes:
            running += len(node.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=shop_web").split())
        return all(list(self.status(edge).values()) == ["ready"] * running for edge in self.edges)

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


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where the engines live: paths of unix sockets are short."""
    path = Path(f"/tmp/fastroute-swarm.{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def stand(folder: Path) -> Iterator[Standing]:
    """The stack and a service with four replicas, on four nodes."""
    with Swarm(folder, NODES, MANAGERS, IMAGES) as swarm:
        standing = Standing(swarm)
        for edge in standing.edges:
            standing.docker("node", "update", "--label-add", "fastroute.edge=true", edge.name)
        new_secret(standing, standing.secret)
        standing.deploy(ROOT / "compose" / "swarm.yaml", "fastroute")
        standing.deploy(WEB, "shop", TEST_KEY="foo.com")
        standing.wait_ready(4)
        yield standing
    print(f"\n{HEAD}")
    print(*standing.table, sep="\n", flush=True)


def new_secret(stand: Standing, name: str) -> None:
    stand.swarm.manager.docker("secret", "create", name, "-", stdin=secrets.token_hex(32).encode())


def test_ps_names_service_slot_and_node(stand: Standing) -> None:
    found = {}
    for node in stand.swarm.nodes:
        for row in rows_of(node):
            assert (row["service"], row["node"], row["state"]) == ("shop_web", node.name, "ready")
            assert all(route["address"].startswith("10.213.") for route in row["routes"])
            found[row["slot"]] = row["node"]
    assert sorted(found) == ["1", "2", "3", "4"]


def test_another_service_is_deployed(stand: Standing) -> None:
    with stand.load("another stack is deployed"):
        stand.deploy(WEB, "other", TEST_KEY="bar.com")
        stand.wait_ready(4, "bar.com")
    stand.docker("stack", "rm", "other")


def test_a_rolling_update(stand: Standing) -> None:
    with stand.load("rolling update of the service, 4 tasks"):
        stand.update("--force", "shop_web")
        stand.wait_ready(4)


def test_a_rolling_update_of_workers_that_close_at_once(stand: Standing) -> None:
    """Only a POST that a closing worker had accepted may be lost."""
    stand.deploy(WEB, "shop", TEST_KEY="foo.com", TEST_STOP_DELAY="0")
    stand.wait_updated("shop_web")
    stand.wait_ready(4)
    with stand.load("the same, workers without the half second", planned=False) as load:
        # Those that close are the ones without it.
        stand.deploy(WEB, "shop", TEST_KEY="foo.com")
        stand.wait_updated("shop_web")
        stand.wait_ready(4)
    assert not [outcome for outcome in failures(load) if outcome.method == "GET"]


def test_scaling(stand: Standing) -> None:
    with stand.load("scaled to 6, to 2 and back to 4"):
        for replicas in (6, 2, 4):
            stand.docker("service", "scale", "--detach=false", f"shop_web={replicas}")
            stand.wait_ready(replicas)


def test_a_node_is_drained(stand: Standing) -> None:
    last = stand.swarm.nodes[-1]
    with stand.load("a node is drained, its tasks go elsewhere"):
        stand.docker("node", "update", "--availability", "drain", last.name)
        wait_for(lambda: not last.docker("ps", "-q"), "no task on the drained node", 90)
        stand.wait_ready(4)
    stand.docker("node", "update", "--availability", "active", last.name)


def test_controllers_are_replaced(stand: Standing) -> None:
    with stand.load("all controllers are replaced"):
        stand.update("--force", "fastroute_controller")
        stand.wait_ready(4)


def test_routers_are_replaced(stand: Standing) -> None:
    with stand.load("all routers are replaced"):
        stand.update("--force", "fastroute_router")
        stand.wait_ready(4)


def test_the_secret_is_rotated(stand: Standing) -> None:
    stand.secret = "fastroute-2"
    new_secret(stand, stand.secret)
    with stand.load("the secret is rotated"):
        redeploy(stand)
        stand.wait_ready(4)


def redeploy(stand: Standing, **environment: str) -> None:
    """The stack, with these variables."""
    stand.deploy(ROOT / "compose" / "swarm.yaml", "fastroute", FASTROUTE_SECRET=stand.secret, **environment)
    for service in ("fastroute_router", "fastroute_controller"):
        stand.wait_updated(service)


def test_own_node_first_and_others_when_it_is_full(stand: Standing) -> None:
    redeploy(stand, FASTROUTE_ZONE="{{.Node.Hostname}}")
    spread(stand)
    # A label of the service counts without a new task.
    limit(stand, 1)
    for edge in stand.edges:
        own = {row["id"][:12] for row in rows_of(edge)}
        assert own, f"a task on {edge.name}"
        assert {ask(edge) for _ in range(20)} <= own
        with ThreadPoolExecutor(64) as threads:
            answers = Counter(threads.map(lambda _, edge=edge: ask(edge), range(640)))
        print(f"{edge.name}: 64 at once, {sum(n for name, n in answers.items() if name in own)} of 640 at its own")
        assert answers.keys() - own, "who does not find room there goes to others"
    limit(stand, 32)
    redeploy(stand)


def limit(stand: Standing, requests: int) -> None:
    """Each task gets so many at once."""
    stand.docker("service", "update", "-q", "--detach=true", "--label-add", f"fastroute.max={requests}", "shop_web")
    for edge in stand.edges:
        wait_for(lambda edge=edge: set(stand.limits(edge)) == {requests}, f"max {requests} at {edge.name}", 30)


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


def spread(stand: Standing) -> None:
    """Tasks on all nodes again."""
    stand.update("--force", "shop_web")
    stand.wait_ready(4)


def test_a_node_is_cut_off_for_20_seconds(stand: Standing) -> None:
    spread(stand)
    last = stand.swarm.nodes[-1]
    with stand.load("a node is cut off for 20 s", planned=False) as load:
        cut = load.now
        last.cut()
        time.sleep(20)
        last.mend()
        mended, mended_at = load.now, time.time()
        # Tasks that were placed elsewhere meanwhile go, so it is what runs that must be what routers have.
        wait_for(lambda: node_state(stand, last) == "ready", "its return", 60)
        back = load.now
        wait_for(lambda: stand.agree(), "routers have what runs", 60)
        agreed = time.time()
    changed = last_change(stand, mended_at, agreed)
    waits = waits_of(load, cut + 4, mended)
    print(f"the manager has it again {back - mended:.1f} s after its return, all agree after {agreed - mended_at:.1f},"
          f" {agreed - changed:.1f} s after Docker began or ended the last task;"
          f" slowest request that began 4 s after the cut or later: {waits:.2f} s")  # fmt: skip
    print(*map(str, failures(load)[:10]), sep="\n")
    stand.wait_ready(4)


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


def test_a_node_is_killed(stand: Standing) -> None:
    spread(stand)
    kill(stand, stand.swarm.nodes[-1], "a node is killed")


def kill(stand: Standing, node: SwarmNode, scenario: str) -> None:
    """``node`` dies; its nodes leave the routers within 2 s of the manager's word."""
    theirs = {route["address"] for row in rows_of(node) for route in row["routes"]}
    with stand.load(scenario, planned=False) as load:
        began, killed = time.time(), load.now
        node.kill()
        wait_for(lambda: node_state(stand, node) == "down", "the manager's word", 90)
        for edge in stand.edges:
            wait_for(lambda edge=edge: theirs.isdisjoint(stand.status(edge)), "its nodes gone", 30)
        stand.wait_ready(4)
        ready = load.now
    down = when_down(stand, node, began)
    gone = max(seconds for edge in stand.edges for seconds in [0.0, *stand.lines(edge, "its machine is down", began)])
    print(f"down {down - began:.1f} s after the kill, its nodes gone {gone - down:.2f} s after that; slowest request"
          f" that began 4 s after the kill or later: {waits_of(load, killed + 4, ready):.2f} s")  # fmt: skip
    print(*map(str, failures(load)[:10]), sep="\n")
    assert not theirs or gone - down < 2


def when_down(stand: Standing, node: SwarmNode, since: float) -> float:
    """When the manager said so, in seconds since the epoch."""
    text = stand.docker("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--filter", "type=node",
                        "--format", "{{json .}}")  # fmt: skip
    events = [json.loads(line) for line in text.splitlines()]
    names = [event for event in events if event["Actor"]["Attributes"].get("name") == node.name]
    times = [event["timeNano"] for event in names if event["Actor"]["Attributes"].get("state.new") == "down"]
    return float(times[0]) / 1e9


def node_state(stand: Standing, node: SwarmNode) -> str:
    (found,) = stand.swarm.inspect("node", node.name)
    return str(found["Status"]["State"])


def test_a_manager_is_lost(stand: Standing) -> None:
    kill(stand, stand.swarm.nodes[2], "one of three managers is killed")
