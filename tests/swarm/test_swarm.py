"""compose/swarm.yaml on a real swarm: what each change and each accident costs, at 200 requests a second through two
edge nodes.  Run by make swarm, in namespaces of its own; the tests build on each other, in this order.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from support.overlay_watch import OverlayWatch
from support.swarm_nodes import SwarmNode
from support.swarm_stand import (
    WEB,
    Standing,
    ask,
    failures,
    last_change,
    new_secret,
    node_state,
    redeploy,
    rows_of,
    waits_of,
    when_down,
)
from support.waiting import wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif("FASTROUTE_SWARM" not in os.environ, reason="make swarm"),
]

#: Seconds within which routers agree after a cut, and for which they do so until it is believed.
AGREED_WITHIN, STEADY_FOR = 5.0, 15.0


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


def test_own_node_first_and_others_when_it_is_full(stand: Standing) -> None:
    redeploy(stand, FASTROUTE_ZONE="{{.Node.Hostname}}")
    spread(stand, *stand.edges)
    # A label of the service counts without a new task.
    limit(stand, 1)
    for edge in stand.edges:
        own = {row["id"][:12] for row in rows_of(edge) if row["state"] == "ready"}
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


def spread(stand: Standing, *nodes: SwarmNode) -> None:
    """Tasks on other nodes, and on each of ``nodes``: Docker counts the old ones, too, when it places a new one."""
    for _ in range(5):
        stand.update("--force", "shop_web")
        stand.wait_ready(4)
        if all(any(row["state"] == "ready" for row in rows_of(node)) for node in nodes):
            return
    raise AssertionError(f"no task on one of {[node.name for node in nodes]}")


def test_a_node_is_cut_off_for_20_seconds(stand: Standing) -> None:
    """All agree within 5 s of the moment from which on packets come through and nothing changes any more."""
    last = stand.swarm.nodes[-1]
    spread(stand, last)
    with ExitStack() as watches, stand.load("a node is cut off for 20 s", planned=False) as load:
        cut = load.pace.now
        last.cut()
        time.sleep(20)
        last.mend()
        mended, mended_at = load.pace.now, time.time()
        overlays = [watches.enter_context(OverlayWatch(edge, "fastroute_router", last, "fastroute"))
                    for edge in stand.edges]  # fmt: skip
        # Tasks that were placed elsewhere meanwhile go, so it is what runs that must be what routers have.
        wait_for(lambda: node_state(stand, last) == "ready", "its return", 60)
        back = load.pace.now
        agreed = stand.wait_agreed(STEADY_FOR)
    changed = last_change(stand, mended_at, agreed)
    reached = [max(overlay.last_failure, mended_at) for overlay in overlays]
    waits = waits_of(load, cut + 4, mended)
    print(f"after its return: the manager has it again after {back - mended:.1f} s, Docker began or ended the last task"
          f" after {changed - mended_at:.1f}, containers on it can be reached from the edge nodes after"
          f" {', '.join(f'{seconds - mended_at:.1f}' for seconds in reached)}, all agree after"
          f" {agreed - mended_at:.1f}; slowest request that began 4 s after the cut or later:"
          f" {waits:.2f} s")  # fmt: skip
    print(*map(str, failures(load)[:10]), sep="\n")
    assert agreed - max(changed, *reached) < AGREED_WITHIN
    stand.wait_ready(4)


def test_a_node_is_killed(stand: Standing) -> None:
    spread(stand, stand.swarm.nodes[-1])
    kill(stand, stand.swarm.nodes[-1], "a node is killed")


def kill(stand: Standing, node: SwarmNode, scenario: str) -> None:
    """``node`` dies; its nodes leave the routers within 2 s of the manager's word."""
    theirs = {route["address"] for row in rows_of(node) for route in row["routes"]}
    with stand.load(scenario, planned=False) as load:
        began, killed = time.time(), load.pace.now
        node.kill()
        wait_for(lambda: node_state(stand, node) == "down", "the manager's word", 90)
        for edge in stand.edges:
            wait_for(lambda edge=edge: theirs.isdisjoint(stand.status(edge)), "its nodes gone", 30)
        stand.wait_ready(4)
        ready = load.pace.now
    down = when_down(stand, node, began)
    gone = max(seconds for edge in stand.edges for seconds in [0.0, *stand.lines(edge, "its machine is down", began)])
    print(f"down {down - began:.1f} s after the kill, its nodes gone {gone - down:.2f} s after that; slowest request"
          f" that began 4 s after the kill or later: {waits_of(load, killed + 4, ready):.2f} s")  # fmt: skip
    print(*map(str, failures(load)[:10]), sep="\n")
    assert not theirs or gone - down < 2


def test_a_manager_is_lost(stand: Standing) -> None:
    kill(stand, stand.swarm.nodes[2], "one of three managers is killed")
