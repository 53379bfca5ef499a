"""What operators want: kept for one start of one container, until undone, through restarts of the controller."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.simulated_engine import Simulation

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.overrides import AS_LABELLED, OverrideStore
from fastroute.controller.decide.route_override import RouteOverride
from fastroute.controller.files.state_file import StateFile
from fastroute.router.protocol.override_target import AmbiguousTarget

LABELS = {"fastroute.key": "foo.com, bar.com", "fastroute.probe": "none"}

_ids = st.sampled_from(["a", "b", "c"])
_places = st.lists(st.tuples(st.sampled_from(["foo.com", "bar.com"]), st.sampled_from([80, 81])), max_size=3)
_wishes = st.tuples(
    _ids, st.sampled_from(["1", "2"]), _places, st.sampled_from([True, False, None]), st.none() | st.integers(0, 3)
)


@given(st.lists(_wishes, max_size=10))
def test_what_is_kept_is_what_was_wanted(wishes) -> None:
    overrides = OverrideStore()
    for id, start, places, drain, weight in wishes:
        overrides.change(id, f"{id}@{start}", places, drain, weight)
    again = OverrideStore(json.loads(json.dumps(overrides.as_json())))
    for id in "abc":
        for start in "12":
            assert again.of(id, f"{id}@{start}") == overrides.of(id, f"{id}@{start}")


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        "x",
        {},
        {"version": 2, "overrides": []},
        {"version": 1, "overrides": [{}, 1, {"owner": "a@1", "key": 1}]},
    ],
)
def test_what_can_not_be_read_is_nothing(kept: object) -> None:
    assert OverrideStore(kept).as_json()["overrides"] == []


def test_undraining_undoes_weight_zero_but_no_other_weight() -> None:
    overrides = OverrideStore()
    for weight, left in ((0, {}), (5, {("foo.com", 80): RouteOverride(weight=5)})):
        overrides.change("a", "a@1", [("foo.com", 80)], None, weight)
        overrides.change("a", "a@1", [("foo.com", 80)], True, None)
        overrides.change("a", "a@1", [("foo.com", 80)], False, None)
        assert overrides.of("a", "a@1") == left


def test_a_state_file_survives_and_a_broken_one_is_nothing(tmp_path: Path) -> None:
    one, other = StateFile.of_engine(str(tmp_path), "unix:///a"), StateFile.of_engine(str(tmp_path), "unix:///b")
    one.save({"version": 1})
    assert StateFile.of_engine(str(tmp_path), "unix:///a").load() == {"version": 1}
    assert other.load() is None
    for text in ("{", "[" * 100_000):
        for file in tmp_path.iterdir():
            file.write_text(text)
        assert one.load() is None
    one.save({"version": 1})
    (file,) = tmp_path.iterdir()
    file.chmod(0o666)
    assert one.load() is None, "others may have written it"
    file.symlink_to(file.rename(tmp_path / "elsewhere"))
    file.with_suffix(".new").symlink_to(tmp_path / "elsewhere")
    assert one.load() is None
    one.save({"version": 2})
    assert (tmp_path / "elsewhere").read_text() == '{"version": 1}'
    assert one.load() == {"version": 2}
    StateFile.of_engine(None, "x").save({})
    assert StateFile.of_engine(None, "x").load() is None


@pytest.fixture
def sim() -> Simulation:
    simulation = Simulation()
    simulation.connect()
    simulation.docker.run("web-1", LABELS)
    simulation.docker.run("web-2", {**LABELS, "fastroute.weight": "3"})
    simulation.settle()
    return simulation


def drained(sim: Simulation) -> set[tuple[str, str]]:
    return {(one.container, one.entry.key) for one in sim.reconciler.desired.values() if one.entry.drain}


ALL = {("web-1", "foo.com"), ("web-1", "bar.com")}


def address(sim: Simulation, name: str) -> str:
    one = sim.docker.find(name)
    assert one is not None
    return f"{one.networks['bridge']}:8000"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("web-1", ALL),
        ("ID", ALL),
        ("ADDRESS", ALL),
        ("FOO.com@ADDRESS", {("web-1", "foo.com")}),
        ("foo.com", {("web-1", "foo.com"), ("web-2", "foo.com")}),
        ("nobody", set()),
        ("other.com@ADDRESS", set()),
    ],
)
def test_a_target_is_a_container_an_address_or_a_key(
    sim: Simulation, target: str, expected: set[tuple[str, str]]
) -> None:
    one = sim.docker.find("web-1")
    assert one is not None
    target = target.replace("ADDRESS", address(sim, "web-1")).replace("ID", one.id[:10])
    steered = sim.steer(target, drain=True)
    assert {(each.container, each.key) for each in steered} == expected == drained(sim)  # type: ignore[union-attr]
    states = {name: sim.state(name) for name in ("web-1", "web-2")}
    assert (states["web-1"] == ("draining", "drained by an operator")) == (expected == ALL)
    if len(expected) == 1:
        assert states["web-1"] == ("ready", "not probed: its probe label says none; drained by an operator for foo.com")
    sim.steer(target, drain=False)
    assert drained(sim) == set()
    assert sim.state("web-1")[0] == "ready"


def test_the_beginning_of_two_ids_is_no_target(sim: Simulation) -> None:
    one, two = (sim.docker.find(name) for name in ("web-1", "web-2"))
    assert one is not None
    assert two is not None
    two.id = one.id[:20] + "0" * 44
    sim.restart_controller()
    answer = sim.steer(one.id[:8], drain=True)
    assert isinstance(answer, AmbiguousTarget)
    assert "web-1" in str(answer)
    assert "web-2" in str(answer)
    assert drained(sim) == set()


def test_a_drain_outlives_comparisons_and_restarts_and_ends_with_the_container(sim: Simulation) -> None:
    sim.steer("web-1", drain=True)
    sim.reconciler.handle(m.Resync(), sim.now)
    sim.pass_time(40)
    assert drained(sim) == ALL
    sim.restart_controller()
    assert drained(sim) == ALL
    assert all(next(iter(desired.values())).container for desired in sim.applied)
    one = sim.docker.find("web-1")
    assert one is not None
    sim.docker.die(one)
    sim.settle()
    assert sim.kept == {"version": 1, "overrides": []}
    sim.docker.start_container(one)
    sim.settle()
    assert (drained(sim), sim.state("web-1")[0]) == (set(), "ready")


def test_a_container_that_ended_while_no_controller_ran_takes_its_drain_along(sim: Simulation) -> None:
    sim.steer("web-1", drain=True)
    one = sim.docker.find("web-1")
    assert one is not None
    sim.docker.remove(one)
    sim.restart_controller()
    assert sim.kept == {"version": 1, "overrides": []}


def test_a_weight_of_an_operator_counts_instead_of_the_labels_and_zero_drains(sim: Simulation) -> None:
    sim.steer("web-2", weight=9)
    weights = {(one.container, one.entry.options.weight) for one in sim.reconciler.desired.values()}
    assert weights == {("web-1", 1), ("web-2", 9)}
    assert "weight set by an operator" in sim.state("web-2")[1]
    sim.steer("web-2", weight=AS_LABELLED)
    assert {(one.container, one.entry.options.weight) for one in sim.reconciler.desired.values()} == {
        ("web-1", 1),
        ("web-2", 3),
    }
    sim.steer("web-2", weight=0)
    assert {name for name, _ in drained(sim)} == {"web-2"}
    assert sim.state("web-2") == ("draining", "drained by an operator")


def test_a_drained_container_that_is_not_ready_yet_does_not_join(sim: Simulation) -> None:
    sim.accepts = False
    sim.docker.run("web-3", {"fastroute.key": "foo.com"})
    sim.settle()
    sim.steer("web-3", drain=True)
    sim.accepts = True
    sim.pass_time(1)
    assert ("web-3", "foo.com") in drained(sim)


def test_a_drain_for_new_clients_only_ends_for_all_in_time() -> None:
    sim = Simulation()
    sim.docker.run("foo-1", {"fastroute.key": "foo.com", "fastroute.probe": "none", "fastroute.port": "80"})
    sim.connect()
    sim.tell(m.OverrideRequest("foo-1", True, None, lambda _: None, 60.0))
    sim.settle()

    def told() -> tuple[bool, float]:
        (route,) = sim.reconciler.desired.values()
        return route.entry.drain, route.entry.sessions

    assert told() == (True, 60.0)
    sim.pass_time(59)
    assert told() == (True, 60.0)
    sim.pass_time(2)
    assert told() == (True, 0.0)
    sim.steer("foo-1", drain=False)
    assert told() == (False, 0.0)


def test_sessions_are_kept_for_the_next_controller() -> None:
    overrides = OverrideStore()
    overrides.change("a", "a@1", [("foo.com", 80)], True, None, 60.0)
    again = OverrideStore(json.loads(json.dumps(overrides.as_json())))
    assert again.of("a", "a@1") == {("foo.com", 80): RouteOverride(True, sessions=60.0)}
    assert again.due == -math.inf
    again.expire(10.0, list)
    assert again.due == 70.0
    assert again.expire(70.0, list) == {"a": "operator: the time of its sessions is over"}
    assert again.of("a", "a@1") == {("foo.com", 80): RouteOverride(True)}
