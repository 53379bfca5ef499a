"""Lives of containers, events that lie, a Docker that fails: what the controller makes of it.  No threads, no clock."""

from __future__ import annotations

import pytest
from support.simulated_engine import Simulation, middle

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.decide.scope import Scope
from fastroute.controller.observe.docker_source import read_event
from fastroute.controller.settings import ControllerSettings

FOO = {"fastroute.key": "foo.com"}
UNPROBED = {**FOO, "fastroute.probe": "none"}


@pytest.fixture
def sim() -> Simulation:
    simulation = Simulation()
    simulation.connect()
    return simulation


def test_nothing_to_route_is_told_too(sim: Simulation) -> None:
    assert sim.applied == [{}]
    assert sim.reconciler.applied


def test_a_container_is_routed_once_its_port_accepts(sim: Simulation) -> None:
    sim.accepts = False
    one = sim.docker.run("web-1", FOO)
    sim.settle()
    assert sim.state("web-1")[0] == "probing"
    assert (sim.nodes, sim.keys) == (set(), {"foo.com"})
    sim.accepts = True
    sim.pass_time(1)
    assert sim.state("web-1")[0] == "ready"
    assert list(sim.reconciler.desired) == [("foo.com", f"{one.networks['bridge']}:8000", _owner(sim, "web-1"))]


def test_what_the_event_log_says_is_an_order_before_the_routes_and_views_have_the_time_that_was_given(
    sim: Simulation,
) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.docker.die(one)
    sim.tell(read_event(sim.events.popleft(), None))
    orders = sim.reconciler.decide(sim.now, "2026-11-30T10:00:00.000Z")
    kinds = [order.kind if isinstance(order, m.WriteEvent) else type(order).__name__ for order in orders]
    assert kinds == ["event", "state", "route", "Apply", "Inspect"]
    (view,) = sim.reconciler.statuses.views().values()
    assert (view.offer.state, view.since) == ("stopped", "2026-11-30T10:00:00.000Z")
    sim.docker.remove(one)
    sim.settle()
    texts = [order.text for order in sim.orders if isinstance(order, m.WriteEvent) and order.kind == "state"]
    assert texts[-1] == "stopped -> gone"


@pytest.mark.parametrize(
    ("key", "host"), [("foo.com/api", "foo.com"), ("foo.com:81", "foo.com:81"), ("*.foo.com/api", "probe.foo.com")]
)
def test_a_probe_is_for_a_host_of_the_key(sim: Simulation, key: str, host: str) -> None:
    sim.accepts = False
    sim.docker.run("web-1", {"fastroute.key": key, "fastroute.probe": "/up"})
    sim.settle()
    assert [(target.host, target.path) for target in sim.probes] == [(host, "/up")]


def test_a_container_with_a_healthcheck_is_routed_while_it_is_healthy(sim: Simulation) -> None:
    one = sim.docker.run("web-1", FOO, health="starting")
    sim.settle()
    assert sim.state("web-1")[0] == "pending"
    for health, state in (("healthy", "ready"), ("unhealthy", "unhealthy"), ("healthy", "ready")):
        sim.docker.set_health(one, health)
        sim.settle()
        assert sim.state("web-1")[0] == state
        assert bool(sim.nodes) == (health == "healthy")
    assert sim.probes == {}


def test_health_ignore_looks_at_the_port_instead(sim: Simulation) -> None:
    one = sim.docker.run("web-1", {**FOO, "fastroute.health": "ignore"}, health="starting")
    sim.settle()
    assert sim.nodes
    sim.docker.set_health(one, "unhealthy")
    sim.decide()
    assert sim.nodes


@pytest.mark.parametrize(
    "how", ["stop signal", "kill", "own stop signal", "another stop signal", "pause", "die", "unhealthy", "disconnect"]
)
def test_what_takes_a_container_away_is_told_before_anybody_looks(sim: Simulation, how: str) -> None:
    more = {"stop_signal": "SIGQUIT"} if how == "own stop signal" else {"health": "x"} if how == "unhealthy" else {}
    one = sim.docker.run("web-1", UNPROBED, "bridge", **more)
    if how == "unhealthy":
        sim.docker.set_health(one, "healthy")
    sim.settle()
    assert sim.nodes
    happen = {
        "stop signal": lambda: sim.docker.kill(one, 15),
        "own stop signal": lambda: sim.docker.kill(one, 3),
        "kill": lambda: sim.docker.kill(one, 9),
        "pause": lambda: sim.docker.pause(one),
        "die": lambda: sim.docker.die(one),
        "unhealthy": lambda: sim.docker.set_health(one, "unhealthy"),
        "disconnect": lambda: sim.docker.disconnect(one, "bridge"),
        "another stop signal": lambda: sim.docker.kill(one, 3),
    }
    happen[how]()
    sim.decide()
    assert sim.nodes == set()
    assert sim.keys == {"foo.com"}


@pytest.mark.parametrize(("stop_signal", "signal"), [("", 1), ("", 10), ("SIGQUIT", 12), ("SIGQUIT", 1)])
def test_a_signal_that_stops_nothing_changes_nothing(sim: Simulation, stop_signal: str, signal: int) -> None:
    one = sim.docker.run("web-1", UNPROBED, stop_signal=stop_signal)
    sim.settle()
    before = len(sim.applied)
    sim.docker.kill(one, signal)
    sim.settle()
    assert sim.nodes
    assert len(sim.applied) == before


def test_leaving_a_network_that_is_not_used_changes_nothing(sim: Simulation) -> None:
    sim.docker.network("other")
    one = sim.docker.run("web-1", {**UNPROBED, "fastroute.network": "bridge"}, "bridge", "other")
    sim.settle()
    before = len(sim.applied)
    sim.docker.disconnect(one, "other")
    sim.settle()
    assert len(sim.applied) == before


def test_a_stop_in_progress_is_remembered_through_comparisons_until_the_process_ends(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.docker.kill(one, 15)
    sim.reconciler.handle(m.Resync(), sim.now)
    sim.pass_time(8)
    assert sim.state("web-1")[0] == "draining"
    assert not sim.nodes
    sim.docker.die(one)
    sim.settle()
    assert sim.state("web-1")[0] == "stopped"
    sim.docker.start_container(one)
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}


def test_a_stop_in_progress_is_remembered_by_a_controller_that_starts_meanwhile(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.kill(one, 15)
    sim.restart_controller()
    assert sim.state("web-1")[0] == "draining"
    assert all(not route.entry.address for routes in sim.applied for route in routes.values())


def test_a_stop_that_belongs_to_an_earlier_start_means_nothing(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.kill(one, 15)
    sim.docker.die(one)
    sim.docker.start_container(one)
    sim.restart_controller()
    assert sim.nodes == {("foo.com", "web-1")}


def test_a_lost_event_is_found_by_the_comparison_and_counted_as_drift(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.lost = True
    two = sim.docker.run("web-2", UNPROBED)
    sim.docker.die(one)
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    sim.pass_time(40)
    assert sim.nodes == {("foo.com", "web-2")}
    assert sim.drift == {"appeared": 1, "changed": 1}
    assert [order for order in sim.orders if isinstance(order, m.Reopen)]
    sim.docker.remove(one)
    sim.docker.remove(two)
    sim.pass_time(40)
    assert sim.drift == {"appeared": 1, "changed": 1, "gone": 2}
    assert sim.keys == set()


def test_a_restart_that_no_event_told_is_found_at_the_same_address(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED, address="172.99.0.77")
    sim.settle()
    (before,) = sim.reconciler.desired
    sim.lost = True
    sim.docker.die(one)
    sim.docker.start_container(one, "172.99.0.77")
    sim.pass_time(40)
    (after,) = sim.reconciler.desired
    assert (after[1], after[2] != before[2]) == (before[1], True)


def test_an_event_that_is_only_late_is_no_drift(sim: Simulation) -> None:
    sim.lost = True
    one = sim.docker.run("web-1", UNPROBED)
    sim.reconciler.handle(m.Resync(), sim.now)
    sim.settle()
    assert sim.nodes
    sim.lost = False
    sim.docker._publish("start", one)
    sim.settle()
    sim.pass_time(10)
    assert sim.drift == {}


@pytest.mark.parametrize("status", ["removing", "dead", "exited"])
@pytest.mark.parametrize("known", [True, False])
def test_a_container_that_cannot_be_removed_is_no_drift(sim: Simulation, status: str, known: bool) -> None:
    sim.docker.run("web-1", UNPROBED)
    one = sim.docker.run("web-2", UNPROBED | {"fastroute.key": "bar.com"})
    if known:
        sim.settle()
    sim.docker.die(one)
    sim.settle()
    assert sim.state("web-2")[0] == "stopped"
    sim.docker.get_stuck(one, status)
    if not known:
        sim.restart_controller()
    sim.pass_time(200)
    assert (sim.nodes, sim.state("web-2")[0]) == (
        {("foo.com", "web-1")},
        "stopped" if status == "exited" and known else "gone",
    )
    assert sim.drift == {}
    assert not [order for order in sim.orders if isinstance(order, m.Reopen)]


def test_a_container_that_dies_for_good_is_no_drift(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.die(one)
    sim.settle()
    one.status = "dead"
    sim.pass_time(200)
    assert (sim.state("web-1"), sim.drift) == (("stopped", "dead, exit code 0"), {})


def test_an_end_that_no_event_told_is_drift_although_its_container_cannot_be_removed(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.lost = True
    sim.docker.die(one)
    sim.docker.get_stuck(one)
    sim.pass_time(40)
    assert (sim.nodes, sim.drift) == (set(), {"changed": 1})


def test_a_quiet_engine_has_no_drift_and_costs_no_inspect(sim: Simulation) -> None:
    for at in range(5):
        sim.docker.run(f"web-{at}", UNPROBED, health="healthy" if at else "")
    sim.settle()
    sim.orders.clear()
    sim.pass_time(300)
    assert sim.drift == {}
    assert {type(order) for order in sim.orders} == {m.TakeList}


def test_a_list_that_fails_changes_nothing_and_an_empty_one_takes_everything(sim: Simulation) -> None:
    sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.failing.add("list")
    sim.docker.containers.clear()
    sim.pass_time(100)
    assert sim.nodes == {("foo.com", "web-1")}
    assert sim.reconciler.stats.list_failures > 10
    sim.failing.clear()
    sim.pass_time(5)
    assert sim.nodes == set()
    assert sim.keys == set()


def test_everything_stays_while_docker_is_away_and_is_compared_when_it_is_back(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    two = sim.docker.run("web-2", UNPROBED)
    sim.settle()
    sim.tell(m.Disconnected("as told"))
    sim.lost = True
    sim.docker.die(one)
    before = len(sim.applied)
    sim.pass_time(600)
    assert sim.nodes == {("foo.com", "web-1"), ("foo.com", "web-2")}
    assert len(sim.applied) == before
    sim.connect()
    assert sim.nodes == {("foo.com", "web-2")}
    assert sim.drift == {}
    assert two.status == "running"


def test_a_controller_that_starts_tells_nothing_before_it_has_seen_everything() -> None:
    sim = Simulation()
    for at in range(3):
        sim.docker.run(f"web-{at}", FOO)
    sim.events.clear()
    sim.connect()
    assert [len(routes) for routes in sim.applied] == [3]
    assert all(route.entry.address for route in sim.applied[0].values())


def test_a_container_that_cannot_be_probed_holds_up_the_first_announcement_only_so_long() -> None:
    sim = Simulation()
    sim.docker.run("web-1", UNPROBED)
    sim.docker.run("stuck", {**FOO, "fastroute.probe": "/up"})
    sim.events.clear()
    sim._probe = lambda target: None  # type: ignore[method-assign]  # an attempt without end
    sim.connect()
    assert sim.applied == []
    sim.pass_time(3)
    assert sim.nodes == {("foo.com", "web-1")}


def test_an_inspect_that_fails_is_asked_again_and_a_doubt_stays_meanwhile(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.failing.add("inspect")
    sim.docker.pause(one)
    sim.docker.unpause(one)
    sim.settle()
    sim.pass_time(5)
    assert not sim.nodes
    sim.failing.clear()
    sim.pass_time(20)
    assert sim.nodes


def test_an_inspect_from_before_an_event_does_not_end_the_doubt(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.docker._publish("rename", one)
    sim.tell(m.Happened("rename", one.id, 0, {}))
    (look,) = [order for order in sim.reconciler.decide(sim.now, "") if isinstance(order, m.Inspect)]
    answer = sim._inspect(look)
    sim.events.clear()
    sim.tell(m.Happened("pause", one.id, one.started + 1, {}))
    sim.tell(answer)
    sim.decide()
    assert not sim.nodes


def test_a_wrong_label_is_an_error_of_that_container_alone(sim: Simulation) -> None:
    sim.docker.run("web-1", UNPROBED)
    sim.docker.run("web-2", {**UNPROBED, "fastroute.wieght": "2"})
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    state, reason = sim.state("web-2")
    assert state == "error"
    assert "did you mean fastroute.weight?" in reason


def test_weight_zero_and_enable_false(sim: Simulation) -> None:
    sim.docker.run("web-1", {**UNPROBED, "fastroute.weight": "0"})
    sim.docker.run("web-2", {**UNPROBED, "fastroute.enable": "false"})
    sim.settle()
    (route,) = sim.reconciler.desired.values()
    assert (route.entry.drain, route.entry.options.weight, sim.state("web-1")[0]) == (True, 0, "draining")
    assert sim.state("web-2")[0] == "disabled"


def test_a_key_is_known_as_long_as_a_valid_labelled_container_has_it(sim: Simulation) -> None:
    one = sim.docker.create("web-1", FOO)
    sim.settle()
    assert (sim.keys, sim.state("web-1")[0]) == ({"foo.com"}, "pending")
    sim.docker.start_container(one)
    sim.docker.die(one)
    sim.settle()
    assert (sim.keys, sim.nodes, sim.state("web-1")[0]) == ({"foo.com"}, set(), "stopped")
    sim.docker.remove(one)
    sim.settle()
    assert (sim.keys, sim.state("web-1")[0]) == (set(), "gone")


def test_containers_of_compose_run_and_of_others_are_not_routed(sim: Simulation) -> None:
    sim.docker.run("job", {**UNPROBED, "com.docker.compose.oneoff": "True"})
    sim.docker.run("other", {"some": "label"})
    sim.settle()
    assert sim.state("job")[0] == "disabled"
    assert sim.state("other")[0] == "gone"
    assert sim.keys == set()


def test_a_network_joined_later_ends_the_error(sim: Simulation) -> None:
    sim.docker.network("front")
    sim.docker.network("back")
    sim.docker.run("router", {"fastroute.role": "router"}, "front")
    sim.connect(sim.docker.run("controller", {}, "back").id)
    one = sim.docker.run("web-1", UNPROBED, "back")
    sim.settle()
    state, reason = sim.state("web-1")
    assert state == "error"
    assert "network" in reason
    assert "front" in reason
    assert sim.keys == {"foo.com"}
    sim.docker.connect(one, "front")
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    assert sim.state("router")[0] == "gone"


@pytest.mark.parametrize("label", [{}, {"fastroute.network": "front2"}, {"fastroute.wieght": "1"}])
def test_another_stack_on_the_engine_deploys_and_nothing_of_it_is_an_error_of_ours(
    sim: Simulation, label: dict[str, str]
) -> None:
    ours, theirs = ({"com.docker.compose.project": name} for name in ("one", "two"))
    for network in ("front1", "front2"):
        sim.docker.network(network)
    sim.docker.run("router-1", {**ours, "fastroute.role": "router"}, "front1")
    router = sim.docker.run("router-2", {**theirs, "fastroute.role": "router"}, "front2")
    sim.connect(sim.docker.run("controller-1", ours, "front1").id)
    sim.docker.run("web-1", {**UNPROBED, **ours}, "front1")
    for number in range(3):
        name = f"web-2-{number}"
        one = sim.docker.run(name, {**UNPROBED, **theirs, **label}, "front2")
        sim.settle()
        state, reason = sim.state(name)
        assert state == "disabled"
        assert "network front2 with router container router-2 of compose project two" in reason
        sim.docker.die(one)
        sim.settle()
        assert sim.state(name)[0] == "disabled"
        sim.docker.remove(one)
        sim.settle()
        if number == 1:
            sim.docker.die(router)
            sim.docker.remove(router)
            sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    notes = [note for note in sim.log.recent() if note.kind == "warning" or "error" in note.text]
    assert notes == []


def test_a_router_that_is_recreated_moves_nobody(sim: Simulation) -> None:
    sim.docker.network("front")
    router = sim.docker.run("router", {"fastroute.role": "router"}, "front")
    sim.docker.run("web-1", UNPROBED, "bridge", "front")
    sim.settle()
    before = len(sim.applied)
    sim.docker.die(router)
    sim.docker.remove(router)
    sim.settle()
    sim.docker.run("router", {"fastroute.role": "router"}, "front")
    sim.settle()
    assert len(sim.applied) == before


def test_a_network_that_nobody_had_heard_of_is_looked_up_at_once(sim: Simulation) -> None:
    sim.pass_time(5)
    sim.docker.network("brandnew")
    sim.docker.run("web-1", UNPROBED, "brandnew")
    sim.settle()
    sim.pass_time(0.5)
    assert sim.nodes == {("foo.com", "web-1")}


def test_a_borrowed_network_follows_its_owner(sim: Simulation) -> None:
    owner = sim.docker.run("owner", {})
    sim.docker.run("web-1", UNPROBED, network_mode=f"container:{owner.id}")
    sim.settle()
    ((_, address, _),) = sim.reconciler.desired
    assert address == f"{owner.networks['bridge']}:8000"
    sim.docker.die(owner)
    sim.settle()
    assert sim.state("web-1")[0] == "error"
    assert not sim.nodes


def test_a_reused_address_never_brings_one_keys_traffic_to_another(sim: Simulation) -> None:
    sim.docker.run("web-1", UNPROBED, address="172.99.0.77")
    sim.settle()
    sim.lost = True
    sim.docker.die(sim.docker.containers["web-1"])
    sim.lost = False
    sim.docker.run("bar-1", {"fastroute.key": "bar.com", "fastroute.probe": "none"}, address="172.99.0.77")
    sim.settle()
    assert sim.nodes == {("bar.com", "bar-1")}
    assert sim.state("web-1")[0] == "stopped"


def test_warnings_are_said_once(sim: Simulation) -> None:
    for at, algorithm in enumerate(("wrr", "lrc")):
        sim.docker.run(f"web-{at}", {**UNPROBED, "fastroute.algorithm": algorithm})
        sim.settle()
    sim.docker.run("other", {**UNPROBED, "fastroute.key": "bar.com"})
    sim.settle()
    sim.pass_time(100)
    notes = [note for note in sim.log.recent() if note.kind == "warning"]
    assert len(notes) == 1
    assert "web-0" in sim.state("web-1")[1]
    assert sim.state("web-1")[0] == "ready"


def _owner(sim: Simulation, name: str) -> str:
    one = sim.docker.containers[name]
    return f"{one.id}@{one.inspect()['State']['StartedAt']}"


def test_an_event_about_an_earlier_start_takes_nothing_away(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.tell(m.Happened("die", one.id, one.started - 1, {}))
    sim.decide()
    assert sim.nodes


def test_what_happened_after_the_list_was_asked_for_is_newer_than_the_list(sim: Simulation) -> None:
    sim.docker.run("web-1", UNPROBED)
    sim.settle()
    sim.tell(m.Resync())
    (ask,) = [order for order in sim.reconciler.decide(sim.now, "") if isinstance(order, m.TakeList)]
    old = sim._list(ask)
    sim.docker.run("web-2", UNPROBED)
    sim.docker.set_health(sim.docker.containers["web-1"], "healthy")
    sim.settle()
    sim.tell(old)
    sim.settle()
    sim.pass_time(5)
    assert sim.nodes == {("foo.com", "web-1"), ("foo.com", "web-2")}
    assert sim.drift == {}


def test_of_two_containers_with_one_address_and_port_the_second_is_an_error_with_a_reason(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.run("web-2", UNPROBED, network_mode=f"container:{one.id}")
    sim.settle()
    state, reason = sim.state("web-2")
    assert (state, "container web-1's already" in reason) == ("error", True)
    assert sim.nodes == {("foo.com", "web-1")}
    view = next(view for view in sim.reconciler.statuses.views().values() if view.offer.name == "web-2")
    assert [step.state for step in view.history] == ["error"]
    sim.docker.die(one)
    sim.settle()
    assert sim.state("web-1")[0] == "stopped"
    assert sim.nodes == set()


def test_exclusive_keys_refuse_a_second_project_and_say_so() -> None:
    sim = Simulation()
    sim.reconciler = Reconciler(Scope(), 30.0, middle, exclusive=True)
    sim.connect()
    sim.docker.run("shop-web-1", UNPROBED | {"com.docker.compose.project": "shop"})
    sim.settle()
    sim.docker.run("staging-web-1", UNPROBED | {"com.docker.compose.project": "staging"})
    sim.settle()
    state, reason = sim.state("staging-web-1")
    assert (state, sim.nodes) == ("error", {("foo.com", "shop-web-1")})
    for word in ("shop", "shop-web-1", "--exclusive-keys"):
        assert word in reason
    sim.docker.remove(sim.docker.find("shop-web-1"))  # type: ignore[arg-type]
    sim.settle()
    assert sim.nodes == set()
    sim.pass_time(61)
    assert sim.nodes == {("foo.com", "staging-web-1")}
    assert sim.state("staging-web-1")[0] == "ready"


def test_a_crash_loop_is_routed_only_once_it_has_been_up_for_longer_and_longer(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.docker.run("web-2", UNPROBED)
    sim.settle()

    def crash() -> None:
        sim.docker.die(one, 1)
        sim.settle()
        sim.docker.start_container(one)
        sim.settle()

    for _ in range(2):
        crash()
        assert sim.state("web-1")[0] == "ready"
    for held in (2, 4, 8, 16, 30, 30):
        crash()
        assert sim.state("web-1")[0] == "pending"
        assert f"up for {held} s" in sim.state("web-1")[1]
        sim.pass_time(held - 0.1)
        assert sim.nodes == {("foo.com", "web-2")}
        sim.pass_time(0.2)
        assert sim.nodes == {("foo.com", "web-1"), ("foo.com", "web-2")}
    # One that somebody asked for is none.
    sim.docker.kill(one, 15)
    crash()
    assert sim.state("web-1")[0] == "ready"


def test_an_end_after_a_long_life_is_no_crash(sim: Simulation) -> None:
    one = sim.docker.run("web-1", UNPROBED)
    sim.settle()
    for _ in range(5):
        one.started -= 61 * 10**9
        sim.docker._publish("update", one)
        sim.settle()
        sim.docker.die(one)
        sim.docker.start_container(one)
        sim.settle()
        assert sim.state("web-1")[0] == "ready"


def test_a_list_that_fails_again_and_again_is_said_once(sim: Simulation) -> None:
    def said() -> int:
        return sum("list failed" in event.text for event in sim.log.recent())

    for times in (1, 2):
        sim.failing.add("list")
        sim.reconciler.handle(m.Resync(), sim.now)
        sim.pass_time(10)
        assert said() == times
        assert sim.reconciler.stats.list_failures > 3 * times
        sim.failing.clear()
        sim.pass_time(10)


def test_another_prefix_another_filter_and_another_interval_count_at_once_and_are_no_drift(sim: Simulation) -> None:
    sim.docker.run("web-1", UNPROBED)
    sim.docker.run("web-2", {"com.example.key": "bar.com", "com.example.probe": "none", "team": "red"})
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    sim.tell(m.Configure(ControllerSettings(label_prefix="com.example", resync=5.0)))
    sim.settle()
    assert sim.nodes == {("bar.com", "web-2")}
    assert sim.state("web-1")[0] == "gone"
    sim.tell(m.Configure(ControllerSettings(filter=("team",))))
    sim.settle()
    assert (sim.nodes, sim.keys) == (set(), set())
    sim.tell(m.Configure(ControllerSettings()))
    sim.settle()
    assert sim.nodes == {("foo.com", "web-1")}
    assert sim.drift == {}
