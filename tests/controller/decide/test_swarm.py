"""What a swarm adds: labels of services, names of tasks, and networks that are its own."""

from __future__ import annotations

import pytest
from support.simulated_engine import Simulation, middle

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.container import read_network
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.decide.scope import Scope
from fastroute.controller.decide.swarm import (
    LABELS_TIMEOUT,
    SwarmMember,
    SwarmTask,
    SwarmView,
    member_of,
    task_of,
    view_from_json,
)

MANAGER: dict[str, object] = {"LocalNodeState": "active", "NodeID": "n1", "ControlAvailable": True}
WORKER: dict[str, object] = {**MANAGER, "ControlAvailable": False}
TASK = {
    "com.docker.swarm.service.id": "s1",
    "com.docker.swarm.service.name": "shop_web",
    "com.docker.swarm.task.id": "t1",
    "com.docker.swarm.task.name": "shop_web.3.t1",
}
FOO = {"fastroute.key": "foo.com", "fastroute.probe": "none"}


def a_member(part: dict[str, object], *, told_by_others: bool = True) -> Simulation:
    sim = Simulation()
    sim.docker.swarm = part
    sim.reconciler = Reconciler(Scope(), 30, middle, told_by_others=told_by_others)
    return sim


def told(services: dict[str, dict[str, str]]) -> m.SwarmTold:
    return m.SwarmTold(SwarmView(services), own=False)


def test_a_manager_reads_labels_of_services_itself_and_their_changes_move_the_routes() -> None:
    sim = a_member(MANAGER)
    sim.docker.change_swarm({"s1": FOO, "s2": {"other": "label"}})
    sim.docker.run("web-1", TASK)
    sim.connect()
    assert sim.keys == {"foo.com"}
    assert len(sim.nodes) == 1
    sim.docker.change_swarm({"s1": {**FOO, "fastroute.key": "bar.com"}})
    sim.settle()
    assert sim.keys == {"bar.com"}
    sim.docker.change_swarm({"s1": {}})
    sim.settle()
    assert sim.keys == set()
    assert not sim.reconciler.stats.drift


def test_the_containers_own_labels_win() -> None:
    sim = a_member(MANAGER)
    sim.docker.change_swarm({"s1": {**FOO, "fastroute.weight": "3"}})
    sim.docker.run("web-1", {**TASK, "fastroute.key": "own.com"})
    sim.connect()
    ((key, *_),) = sim.reconciler.desired
    assert key == "own.com"
    assert next(iter(sim.reconciler.desired.values())).entry.options.weight == 3


def test_nothing_is_withdrawn_before_the_labels_of_services_are_known() -> None:
    sim = a_member(WORKER)
    sim.docker.run("web-1", TASK)
    sim.connect()
    assert not sim.applied
    sim.tell(told({"s1": FOO}))
    sim.settle()
    assert len(sim.applied) == 1
    assert sim.keys == {"foo.com"}


def test_without_a_word_of_any_manager_it_goes_on_after_a_while() -> None:
    sim = a_member(WORKER)
    sim.docker.run("web-1", FOO)
    sim.connect()
    sim.pass_time(LABELS_TIMEOUT - 0.1)
    assert not sim.applied
    sim.pass_time(0.2)
    assert sim.keys == {"foo.com"}


def test_an_engine_outside_of_any_swarm_waits_for_nobody() -> None:
    outside: dict[str, object] = {"LocalNodeState": "inactive"}
    for part, others in ((outside, True), (WORKER, False)):
        sim = a_member(part, told_by_others=others)
        sim.docker.run("web-1", FOO)
        sim.connect()
        assert sim.keys == {"foo.com"}


def test_who_it_is_in_ps() -> None:
    sim = a_member(MANAGER)
    sim.docker.run("web-1", {**TASK, **FOO})
    sim.docker.run("plain", FOO)
    sim.connect()
    rows = {str(view.row()["name"]): view.row() for view in sim.reconciler.statuses.views().values()}
    names = ("node", "service", "task", "slot")
    assert [rows["web-1"][name] for name in names] == ["host-FAKE:ENGINE", "shop_web", "shop_web.3.t1", "3"]
    assert [rows["plain"][name] for name in names] == [None] * 4


def test_a_task_of_a_global_service_has_no_slot() -> None:
    labels = {**TASK, "com.docker.swarm.task.name": "shop_web.n1.t1"}
    assert task_of(labels) == SwarmTask("shop_web", "shop_web.n1.t1", "")


def test_members() -> None:
    assert member_of({"Swarm": MANAGER, "Name": "host"}) == SwarmMember("n1", "host", manager=True)
    assert member_of({"Swarm": {"LocalNodeState": "pending", "NodeID": "n1"}}) is None
    assert member_of({}) is None


def test_a_view_from_others_has_our_labels_only_and_sense() -> None:
    view = SwarmView({"s1": {"fastroute.key": "a.b"}}, {"n1": "host"})
    assert view_from_json(view.to_json(), "fastroute") == view
    assert view_from_json({"services": {"s1": {"x": "y"}}, "down": {}}, "fastroute").services == {"s1": {}}


@pytest.mark.parametrize(
    "bad", [None, [], {}, {"services": {}, "down": []}, {"services": {"../x": {}}, "down": {}}], ids=repr
)
def test_a_view_that_is_none(bad: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        view_from_json(bad, "fastroute")


def test_networks_of_the_swarm_itself_are_no_way_to_a_container() -> None:
    ingress = {"Name": "ingress", "Driver": "overlay", "Scope": "swarm", "Ingress": True}
    gateway = {"Name": "docker_gwbridge", "Driver": "bridge", "Scope": "local"}
    overlay = {"Name": "fastroute", "Driver": "overlay", "Scope": "swarm", "Ingress": False}
    assert [read_network(row).mesh for row in (ingress, gateway, overlay)] == [True, True, False]
    assert not read_network(gateway).local_bridge
