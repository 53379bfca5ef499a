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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.open_load import OpenLoad, Outcome
from support.stack import ROOT
from support.swarm_nodes import Swarm, SwarmNode
from support.waiting import wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(420),
    pytest.mark.skipif("FASTROUTE_SWARM" not in os.environ, reason="make swarm"),
]

TAG = os.environ.get("FASTROUTE_SWARM_TAG", "swarm")
ENVIRONMENT = {"FASTROUTE_TAG": TAG, "FASTROUTE_IMAGE_PREFIX": "fastroute-"}
IMAGES = [f"fastroute-{name}:{TAG}" for name in ("nginx", "router", "socket-proxy", "foo")]
#: The edge nodes are the first two; the last node is no manager.
NODES, MANAGERS, EDGES = 4, 3, 2
RATE = 200.0


@dataclass(slots=True)
class Standing:
    """The swarm with the stack on it, and what was measured."""

    swarm: Swarm
    table: list[tuple[str, int, int, float, str]] = field(default_factory=list)

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

    def update(self, *argv: str) -> None:
        """``docker service update``, until it is done."""
        self.docker("service", "update", "-q", "--detach=false", *argv)

    def status(self, edge: SwarmNode, key: str = "foo.com") -> dict[str, str]:
        """Of the router on ``edge``: state of each node of ``key``, by address."""
        router = edge.container_of("fastroute_router")
        if not router:
            return {}
        text = edge.docker("exec", router, "fastroute-ctl", "status", "-o", "json", check=False)
        rows = json.loads(text)["keys"] if text else []
        return {node["address"]: node["state"] for row in rows if row["key"] == key for node in row["nodes"]}

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
        failed, slowest = failures(load), load.slowest("foo.com")
        kinds = ", ".join(sorted({f"{outcome.method} {outcome.status} {outcome.error[:40]}" for outcome in failed}))
        self.table.append((scenario, len(load.outcomes), len(failed), slowest, kinds))
        print(f"\n{scenario}: {len(load.outcomes)} requests, {len(failed)} failed, slowest {slowest:.2f} s {kinds}")
        if planned:
            assert not failed, [str(outcome) for outcome in failed[:10]]


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
        new_secret(standing, "fastroute-1")
        standing.deploy(ROOT / "compose" / "swarm.yaml", "fastroute")
        standing.deploy(Path(__file__).with_name("web.yaml"), "shop", TEST_KEY="foo.com")
        standing.wait_ready(4)
        yield standing
    print("\n| scenario | requests | failed | slowest |\n|---|---|---|---|")
    for scenario, requests, failed, slowest, kinds in standing.table:
        print(f"| {scenario} | {requests:,} | {failed}{f' ({kinds})' if kinds else ''} | {slowest:.2f} s |")


def new_secret(stand: Standing, name: str) -> None:
    stand.swarm.manager.docker("secret", "create", name, "-", stdin=secrets.token_hex(32).encode())


def test_ps_names_service_slot_and_node(stand: Standing) -> None:
    found = {}
    for node in stand.swarm.nodes:
        controller = node.container_of("fastroute_controller")
        rows = json.loads(node.docker("exec", controller, "fastroute-ctl", "ps", "-o", "json"))["containers"]
        for row in rows:
            assert (row["service"], row["node"], row["state"]) == ("shop_web", node.name, "ready")
            assert all(route["address"].startswith("10.213.") for route in row["routes"])
            found[row["slot"]] = row["node"]
    assert sorted(found) == ["1", "2", "3", "4"]


def test_another_service_is_deployed(stand: Standing) -> None:
    with stand.load("another stack is deployed"):
        stand.deploy(Path(__file__).with_name("web.yaml"), "other", TEST_KEY="bar.com")
        stand.wait_ready(4, "bar.com")
    stand.docker("stack", "rm", "other")


def test_a_rolling_update(stand: Standing) -> None:
    with stand.load("rolling update of the service, 4 tasks"):
        stand.update("--force", "shop_web")
        stand.wait_ready(4)


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
    new_secret(stand, "fastroute-2")
    with stand.load("the secret is rotated"):
        stand.deploy(ROOT / "compose" / "swarm.yaml", "fastroute", FASTROUTE_SECRET="fastroute-2")
        for service in ("router", "controller"):
            wait_for(
                lambda service=service: update_state(stand, f"fastroute_{service}") == "completed",
                f"the {service}s have the new secret",
                180,
            )
        stand.wait_ready(4)


def update_state(stand: Standing, service: str) -> str:
    (found,) = stand.swarm.inspect("service", service)
    return str((found.get("UpdateStatus") or {}).get("State", ""))


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
        mended = load.now
        wait_for(lambda: last.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active", "its return", 60)
        stand.wait_ready(4)
        agreed = load.now - mended
    print(f"cut at {cut:.1f} s; all agree {agreed:.1f} s after its return; {[str(o) for o in failures(load)[:10]]}")


def test_a_node_is_killed(stand: Standing) -> None:
    spread(stand)
    last = stand.swarm.nodes[-1]
    theirs = {
        route["address"]
        for row in json.loads(
            last.docker("exec", last.container_of("fastroute_controller"), "fastroute-ctl", "ps", "-o", "json")
        )["containers"]
        for route in row["routes"]
    }
    assert theirs
    with stand.load("a node is killed", planned=False):
        last.kill()
        killed = time.monotonic()
        down = wait_for(lambda: node_state(stand, last) == "down" and time.monotonic(), "the manager's word", 90)
        for edge in stand.edges:
            wait_for(lambda edge=edge: theirs.isdisjoint(stand.status(edge)), "its nodes gone", 30)
        gone = time.monotonic()
        stand.wait_ready(4)
    print(f"down {down - killed:.1f} s after the kill, its nodes gone {gone - down:.1f} s after that")
    assert gone - down < 4, "2 s, and what looking at it takes"


def node_state(stand: Standing, node: SwarmNode) -> str:
    (found,) = stand.swarm.inspect("node", node.name)
    return str(found["Status"]["State"])


def test_a_manager_is_lost(stand: Standing) -> None:
    third = stand.swarm.nodes[2]
    with stand.load("one of three managers is killed", planned=False):
        third.kill()
        wait_for(lambda: node_state(stand, third) == "down", "the manager's word", 90)
        stand.wait_ready(4)
