"""Two controllers of one swarm and a router, real programs on engines that exist only here: what only the manager may
read reaches the other node, and what a machine that died had leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.fake_docker import FakeDocker, fake_engine
from support.programs import Controller, Router, free_port, listens, wait_for

TASK = {
    "com.docker.swarm.service.id": "s1",
    "com.docker.swarm.service.name": "shop_web",
    "com.docker.swarm.task.id": "t1",
    "com.docker.swarm.task.name": "shop_web.1.t1",
}
LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none", "fastroute.zone": "there"}


@pytest.fixture
def secret(tmp_path: Path) -> tuple[str, str]:
    path = tmp_path / "secret"
    path.write_text("a secret of the whole swarm")
    path.chmod(0o600)
    return "--subscription-secret-file", str(path)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[tuple[FakeDocker, FakeDocker]]:
    """A manager, and a worker that is a copy of the same machine: they have one engine id."""
    for name in ("manager", "worker"):
        (tmp_path / name).mkdir()
    with fake_engine(tmp_path / "manager") as manager, fake_engine(tmp_path / "worker") as worker:
        for number, engine in enumerate((manager, worker), 1):
            engine.swarm = {"LocalNodeState": "active", "NodeID": f"n{number}", "ControlAvailable": engine is manager}
        manager.change_swarm({"s1": LABELS})
        yield manager, worker


def test_labels_of_services_reach_other_nodes_and_a_dead_machine_leaves(
    engines: tuple[FakeDocker, FakeDocker], secret: tuple[str, str]
) -> None:
    manager, worker = engines
    here, there = manager.run("web-1", TASK), worker.run("web-1", TASK, address="10.9.9.9")
    peers = free_port()
    with Router(*secret) as router:

        def nodes() -> dict[str, str]:
            keys = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/status", timeout=30).json()["keys"]
            return {node["address"]: node["zone"] for key in keys for node in key["nodes"]}

        asking = Controller(worker.url, router, *secret, "--peers", f"127.0.0.1:{peers}", "--heartbeat", "1")
        telling = ("--peers-listen", f"127.0.0.1:{peers}", "--heartbeat", "1")
        with asking, Controller(manager.url, router, *secret, *telling):
            first, second = f"{here.networks['bridge']}:8000", f"{there.networks['bridge']}:8000"
            wait_for(lambda: nodes() == {first: "there", second: "there"}, "both nodes, labelled by the service")
            manager.change_swarm({"s1": {**LABELS, "fastroute.zone": "here"}})
            wait_for(lambda: nodes() == {first: "here", second: "here"}, "the change at both")
            row = httpx.get(f"http://127.0.0.1:{asking.admin_port}/v1/containers").json()["containers"][0]
            assert [row[name] for name in ("service", "slot", "task")] == ["shop_web", "1", "shop_web.1.t1"]
            metrics = httpx.get(f"http://127.0.0.1:{asking.admin_port}/metrics").text
            assert f'fastroute_task_info{{key="foo.com",node="{second}",service="shop_web"' in metrics
            # The manager can't reach the machine; we can.
            manager.change_swarm(down=["n2"])
            asking.process.kill()
            wait_for(lambda: nodes() == {first: "here"}, "the dead machine's nodes gone")


def test_a_controller_that_is_told_to_end_still_withdraws_who_ends_with_it(
    engines: tuple[FakeDocker, FakeDocker], secret: tuple[str, str]
) -> None:
    """A drained machine ends all its tasks at once, ours among them (--linger)."""
    _, worker = engines
    first, second = (worker.run(f"web-{number}", {**TASK, **LABELS}, address=f"10.9.9.{number}") for number in (1, 2))
    with Router(*secret) as router:

        def nodes() -> set[str]:
            keys = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/status", timeout=30).json()["keys"]
            return {node["address"] for key in keys for node in key["nodes"]}

        with Controller(worker.url, router, *secret, "--linger", "60") as controller:
            wait_for(lambda: len(nodes()) == 2, "both nodes")
            controller.process.terminate()
            ready = f"http://127.0.0.1:{controller.admin_port}/readyz"
            wait_for(lambda: httpx.get(ready, timeout=30).status_code == 503, "it ends", 30)
            worker.stop_container(first)
            wait_for(lambda: nodes() == {"10.9.9.2:8000"}, "who ended is withdrawn")
            assert controller.process.poll() is None
            controller.process.terminate()
            controller.process.wait(20)
        with Controller(worker.url, router, *secret, "--linger", "0.2") as controller:
            wait_for(lambda: listens(controller.admin_port), "its admin")
            controller.process.terminate()
            controller.process.wait(20)
        worker.stop_container(second)
        assert nodes() == {"10.9.9.2:8000"}, "who is not told of it keeps it"
