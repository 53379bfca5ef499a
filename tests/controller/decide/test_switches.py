"""A switch: a key is served by some of its containers alone, in one change, until the others are gone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.simulated_engine import Simulation

from fastroute.controller.decide import messages as m
from fastroute.controller.decide.route_override import RouteOverride
from fastroute.controller.decide.switches import Switch, SwitchStore

LABELS = {"fastroute.key": "foo.com, bar.com", "fastroute.probe": "none"}


@pytest.fixture
def sim() -> Simulation:
    simulation = Simulation()
    simulation.connect()
    for name in ("old-1", "old-2", "new-1", "new-2"):
        simulation.docker.run(name, LABELS)
    simulation.settle()
    return simulation


def switch(sim: Simulation, *names: str, hold: float = 0.0, key: str = "foo.com", **weights: int) -> m.OverrideAnswer:
    ids = {name: container(sim, name).id for name in names}
    by_id = {ids[name.replace("_", "-")]: weight for name, weight in weights.items()}
    answers: list[m.OverrideAnswer] = []
    sim.tell(m.SwitchRequest(key, frozenset(ids.values()), by_id, hold, answers.append))
    sim.settle()
    return answers[0]


def container(sim: Simulation, name: str):
    found = sim.docker.find(name)
    assert found is not None
    return found


def serving(sim: Simulation, key: str = "foo.com") -> dict[str, int]:
    """The containers that get requests, with their weights."""
    entries = [(route.container, route.entry) for route in sim.reconciler.desired.values() if route.entry.key == key]
    return {name: entry.options.weight for name, entry in entries if entry.address and not entry.drain}


def test_a_switch_is_one_change_of_this_key_alone_and_so_is_the_way_back(sim: Simulation) -> None:
    before = len(sim.applied)
    targets = switch(sim, "new-1", "new-2")
    assert len(sim.applied) == before + 1
    assert {(each.container, each.key) for each in targets} == {  # type: ignore[union-attr]
        (name, "foo.com") for name in ("old-1", "old-2", "new-1", "new-2")
    }
    assert serving(sim) == {"new-1": 1, "new-2": 1}
    assert len(serving(sim, "bar.com")) == 4
    assert "foo.com was switched to other containers" in sim.state("old-1")[1]
    switch(sim, "old-1", "old-2")
    assert (serving(sim), len(sim.applied)) == ({"old-1": 1, "old-2": 1}, before + 2)


def test_it_stays_through_restarts_of_all_and_ends_once_the_old_ones_are_gone(sim: Simulation) -> None:
    switch(sim, "new-1", "new-2")
    sim.restart_controller()
    assert serving(sim) == {"new-1": 1, "new-2": 1}
    sim.docker.restart_container(container(sim, "old-1"))
    sim.docker.restart_container(container(sim, "new-1"))
    sim.settle()
    assert serving(sim) == {"new-1": 1, "new-2": 1}
    sim.docker.run("later", LABELS)
    sim.settle()
    assert serving(sim) == {"new-1": 1, "new-2": 1, "later": 1}
    for name in ("old-1", "old-2"):
        sim.docker.stop_container(container(sim, name))
        sim.docker.remove(container(sim, name))
    sim.settle()
    assert sim.kept == {"version": 1, "overrides": []}


def test_no_key_is_left_without_a_container_by_it(sim: Simulation) -> None:
    switch(sim, "new-1", hold=60)
    sim.docker.stop_container(container(sim, "new-1"))
    sim.settle()
    assert serving(sim) == {}, "it may come back"
    sim.docker.remove(container(sim, "new-1"))
    sim.settle()
    assert serving(sim) == {"old-1": 1, "old-2": 1, "new-2": 1}


def test_those_that_come_later_wait_for_the_next_switch_or_the_end_of_the_hold(sim: Simulation) -> None:
    names = ("old-1", "old-2", "new-1", "new-2")
    switch(sim, *names, hold=60)
    sim.docker.run("later", LABELS)
    sim.settle()
    assert set(serving(sim)) == set(names)
    assert sim.state("later")[0] == "ready", "it serves its other key"
    assert "waits until foo.com is switched to it" in sim.state("later")[1]
    sim.pass_time(59)
    assert set(serving(sim)) == set(names)
    sim.restart_controller()
    sim.pass_time(59)
    assert set(serving(sim)) == set(names), "a restart begins it anew"
    sim.pass_time(2)
    assert set(serving(sim)) == {*names, "later"}
    assert sim.kept == {"version": 1, "overrides": []}


def test_weights_come_with_it_and_what_operators_had_asked_for_is_there_again_after_it(sim: Simulation) -> None:
    sim.steer("old-1", weight=7)
    switch(sim, "old-1", "old-2", "new-1", old_1=90, new_1=10)
    assert serving(sim) == {"old-1": 90, "old-2": 1, "new-1": 10}
    switch(sim, "old-1", "old-2")
    assert serving(sim) == {"old-1": 7, "old-2": 1}
    switch(sim, "old-1", "new-1", old_1=90)
    sim.steer("old-1", weight=3)
    assert serving(sim)["old-1"] == 3, "asked for later"


def test_who_is_switched_to_serves_although_it_was_drained_and_undrain_undoes_a_switch(sim: Simulation) -> None:
    sim.steer("new-1", drain=True)
    switch(sim, "new-1")
    assert serving(sim) == {"new-1": 1}
    sim.steer("old-1", drain=False)
    assert serving(sim) == {"new-1": 1, "old-1": 1}
    sim.steer("new-1", drain=True)
    assert serving(sim) == {"old-1": 1}
    sim.steer("bar.com", drain=False)
    sim.steer("foo.com", drain=False)
    assert len(serving(sim)) == 4
    assert sim.kept == {"version": 1, "overrides": []}


def test_with_off_others_of_the_key_are_left_alone_ready_or_not(sim: Simulation) -> None:
    sim.docker.stop_container(container(sim, "new-2"))
    sim.settle()
    to, off = (frozenset({container(sim, name).id}) for name in ("new-1", "old-1"))
    sim.tell(m.SwitchRequest("foo.com", to, {}, 60, lambda targets: None, off))
    sim.docker.start_container(container(sim, "new-2"))
    sim.settle()
    assert set(serving(sim)) == {"new-1", "new-2", "old-2"}


def test_clients_may_stay_with_the_old_ones_for_a_while(sim: Simulation) -> None:
    to = frozenset({container(sim, "new-1").id})
    sim.tell(m.SwitchRequest("foo.com", to, {}, 0, lambda targets: None, None, 5))
    sim.settle()

    def sessions() -> dict[str, float]:
        entries = [(route.container, route.entry) for route in sim.reconciler.desired.values()]
        return {name: entry.sessions for name, entry in entries if entry.key == "foo.com" and entry.sessions}

    assert sessions() == dict.fromkeys(("old-1", "old-2", "new-2"), 5.0)
    sim.restart_controller()
    assert sessions() == dict.fromkeys(("old-1", "old-2", "new-2"), 5.0)
    sim.pass_time(5.5)
    assert (sessions(), serving(sim)) == ({}, {"new-1": 1})


_ids = st.sampled_from("abcde")
_switches = st.builds(
    Switch,
    st.sampled_from(["foo.com", "bar.com"]),
    st.sets(_ids),
    st.sets(_ids),
    st.dictionaries(_ids, st.integers(1, 9)),
    st.booleans(),
    st.integers(0, 9).map(float),
    sessions=st.integers(0, 9).map(float),
)


@given(st.lists(_switches, max_size=4), st.lists(_ids))
def test_what_is_kept_is_what_stands(switches: list[Switch], gone: list[str]) -> None:
    store = SwitchStore()
    for each in switches:
        store.put(each)
    for id in gone:
        store.gone(id)
    again = SwitchStore(json.loads(json.dumps(store.as_json())))
    assert again.as_json() == store.as_json()
    places = [("foo.com", 80), ("bar.com", 80)]
    overrides = {("foo.com", 80): RouteOverride(drain=True)}
    for id in "abcdef":
        assert again.over(id, places, overrides) == store.over(id, places, overrides)
        assert not any(switch.over for key, _ in places if (switch := store.get(key)))


@pytest.mark.parametrize("kept", [None, {}, [1], [{}], [{"key": "a", "to": "b", "off": [], "weights": {}, "hold": 1}]])
def test_what_can_not_be_read_is_nothing(kept: object) -> None:
    assert SwitchStore(kept).as_json() == []
