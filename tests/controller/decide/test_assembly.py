"""Offers of all containers, brought together."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry

from fastroute.controller.decide.assembly import KEY_HOLD_TIME, Assembly
from fastroute.controller.desired import ContainerRoutes, Route, RouteDiff
from fastroute.router.protocol.subscription import Entry


def offer(name: str, *entries: Entry, created: int = 1, started: int = 1, project: str = "") -> ContainerRoutes:
    routes = tuple(Route(entry, name) for entry in entries)
    return ContainerRoutes(name, name, f"{name}@1", project, created, started, "ready", "", "", routes)


def entry(key: str, address: str = "", owner: str = "o", algorithm: str = "") -> Entry:
    return make_entry(key, address, owner=owner, algorithm=algorithm)


def assemble(offers: list[ContainerRoutes]) -> Assembly:
    assembly = Assembly()
    assembly.update({one.id: one for one in offers})
    return assembly


def seen(assembly: Assembly) -> tuple[object, ...]:
    return assembly.routes, assembly.warnings, assembly.displaced, assembly.refused


def test_the_oldest_containers_algorithm_is_the_keys_and_both_are_told() -> None:
    old = offer("old", entry("foo.com", "1.1.1.1:1", "a", "lrc"), created=1)
    new = offer("new", entry("foo.com", "1.1.1.2:1", "b", "wrr"), created=2)
    plain = offer("plain", entry("foo.com", "1.1.1.3:1", "c"), created=0)
    outcome = assemble([new, old, plain])
    assert {route.entry.options.algorithm for route in outcome.routes.values()} == {"lrc"}
    for name in ("old", "new"):
        (warning,) = outcome.warnings[name]
        assert "old" in warning
        assert "new" in warning
        assert "foo.com" in warning
    assert "plain" not in outcome.warnings


def test_the_oldest_containers_wait_is_the_keys_and_a_wait_of_0_is_one() -> None:
    old = offer("old", make_entry("foo.com", "1.1.1.1:1", owner="a", wait=0.0), created=1)
    new = offer("new", make_entry("foo.com", "1.1.1.2:1", owner="b", wait=2.5, algorithm="lrc"), created=2)
    outcome = assemble([new, old])
    assert {(route.entry.options.wait, route.entry.options.algorithm) for route in outcome.routes.values()} == {
        (0.0, "lrc")
    }
    for name in ("old", "new"):
        assert outcome.warnings[name] == ("wait of foo.com: 0 by container old wins over 2.5 by container new",)


def test_a_container_that_does_not_serve_gives_way_in_the_settings_of_a_key() -> None:
    stopped = offer("stopped", entry("foo.com", "", "a", "lrc"), created=1)
    serving = offer("serving", entry("foo.com", "1.1.1.2:1", "b", "wrr"), created=2)
    assert {route.entry.options.algorithm for route in assemble([stopped, serving]).routes.values()} == {"wrr"}


def test_an_address_belongs_to_the_container_started_last_and_the_other_keeps_its_key() -> None:
    old = offer("old", entry("foo.com", "1.1.1.1:1", "a"), started=1)
    new = offer("new", entry("bar.com", "1.1.1.1:1", "b"), started=2)
    outcome = assemble([old, new])
    assert set(outcome.routes) == {("foo.com", "", "a"), ("bar.com", "1.1.1.1:1", "b")}
    assert outcome.displaced == {"old"}
    assert outcome.refused == {"old": {"foo.com": "its address 1.1.1.1:1 is container new's by now"}}


def test_of_containers_that_share_a_network_the_first_has_the_port() -> None:
    def shared(name: str, started: int) -> ContainerRoutes:
        one = offer(name, entry("foo.com", "1.1.1.1:1", name), started=started)
        return replace(one, port_namespaces={"1.1.1.1:1": "pause"})

    outcome = assemble([shared("one", 1), shared("two", 2)])
    assert set(outcome.routes) == {("foo.com", "1.1.1.1:1", "one"), ("foo.com", "", "two")}
    text = "1.1.1.1:1 is container one's already, which shares the network with it"
    assert outcome.refused == {"two": {"foo.com": text}}
    # All of them are from before the container that has the address now.
    outcome.update({"three": replace(offer("three", entry("foo.com", "1.1.1.1:1", "three"), started=3))})
    assert {address: owner for _, address, owner in outcome.routes if address} == {"1.1.1.1:1": "three"}
    assert set(outcome.refused) == {"one", "two"}


def test_with_exclusive_keys_a_key_stays_its_projects_through_a_redeploy() -> None:
    def of(project: str, created: int, number: int, serves: bool = True) -> ContainerRoutes:
        name = f"{project}-{number}"
        return offer(name, entry("foo.com", f"1.1.1.{number}:1" * serves, name), created=created, project=project)

    assembly = Assembly(exclusive=True)
    shop, staging = of("shop", 1, 1), of("staging", 2, 2)
    assembly.update({one.id: one for one in (staging, shop)}, 10.0)
    assert {owner for _, _, owner in assembly.routes} == {"shop-1"}
    reason = "foo.com is served by compose project shop (container shop-1); with --exclusive-keys by nobody else"
    assert assembly.refused == {"staging-2": {"foo.com": reason}}
    assert assembly.warnings == {}
    # Recreated: none of shop's for a while, and the next is younger than staging's.
    assembly.update({shop.id: None}, 20.0)
    assert (assembly.routes, assembly.due) == ({}, 20.0 + KEY_HOLD_TIME)
    assembly.update({"shop-3": of("shop", 5, 3)}, 30.0)
    assert ({owner for _, _, owner in assembly.routes}, assembly.due) == ({"shop-3"}, None)
    # Gone for good: then it is the other's.
    assembly.update({"shop-3": None}, 40.0)
    assembly.update({}, 40.0 + KEY_HOLD_TIME)
    assert {owner for _, _, owner in assembly.routes} == {"staging-2"}
    assert assembly.refused == {}


def test_two_projects_that_serve_one_key_are_both_named() -> None:
    one = offer("shop-web-1", entry("foo.com", "1.1.1.1:1", "a"), project="shop")
    two = offer("staging-web-1", entry("foo.com", "1.1.1.2:1", "b"), project="staging")
    more = offer("staging-web-2", entry("foo.com", "1.1.1.3:1", "c"), project="staging")
    idle = offer("old-web-1", entry("foo.com", "", "d"), project="old")
    outcome = assemble([one, two, more, idle])
    assert len(outcome.routes) == 4
    assert set(outcome.warnings) == {"shop-web-1", "staging-web-1"}
    for name in ("shop-web-1", "staging-web-1"):
        assert "shop" in outcome.warnings[name][0]
        assert "staging" in outcome.warnings[name][0]


_ENTRIES = st.builds(
    entry,
    st.sampled_from(["a.com", "b.com"]),
    st.sampled_from(["", "1.1.1.1:1", "1.1.1.2:1"]),
    st.sampled_from(["x", "y", "z"]),
    st.sampled_from(["", "wrr", "lrc"]),
)
_SPACES = st.sampled_from(["", "pause", "host"])
_ROWS = st.tuples(
    st.lists(_ENTRIES, max_size=3), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "shop", "dev"]), _SPACES
)


def _offer(at: int, row: tuple[list[Entry], int, int, str, str]) -> ContainerRoutes:
    entries, created, started, project, space = row
    port_namespaces = {one.address: space for one in entries if space}
    return replace(
        offer(f"c{at}", *entries, created=created, started=started, project=project), port_namespaces=port_namespaces
    )


_OFFERS = st.lists(_ROWS, max_size=5).map(lambda rows: [_offer(at, row) for at, row in enumerate(rows)])


@given(_OFFERS, st.randoms())
def test_the_outcome_depends_on_the_offers_alone_not_on_their_order(offers, random) -> None:
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert seen(assemble(offers)) == seen(assemble(shuffled))


@given(st.lists(_OFFERS, max_size=4))
def test_however_it_came_to_the_offers_the_outcome_is_that_of_a_fresh_start(generations) -> None:
    assembly, offers = Assembly(), {}  # type: ignore[var-annotated]
    for generation in generations:
        changes = {one.id: one if one.routes else None for one in generation}
        before = dict(assembly.routes)
        diff = assembly.update(changes)
        offers = {id: one for id, one in {**offers, **changes}.items() if one}
        assert seen(assembly) == seen(assemble(list(offers.values())))
        assert diff == RouteDiff.between(before, assembly.routes)


@given(_OFFERS)
def test_no_address_has_two_containers_and_no_key_two_algorithms(offers) -> None:
    holders, algorithms = {}, {}  # type: ignore[var-annotated]
    for route in assemble(offers).routes.values():
        if route.entry.address:
            assert holders.setdefault(route.entry.address, route.container) == route.container
        assert algorithms.setdefault(route.entry.key, route.entry.options.algorithm) == route.entry.options.algorithm


@given(_OFFERS, _OFFERS)
def test_a_difference_leads_from_one_state_to_the_other(before, after) -> None:
    applied, desired = assemble(before).routes, assemble(after).routes
    diff, state = RouteDiff.between(applied, desired), dict(applied)
    for route in diff.leave:
        del state[route.id]
    for route in (*diff.change, *diff.join):
        state[route.id] = route
    assert {at: route.entry for at, route in state.items()} == {at: route.entry for at, route in desired.items()}
    assert not RouteDiff.between(desired, desired)


@given(st.lists(st.tuples(_OFFERS, st.floats(0, 100)), max_size=5))
def test_with_exclusive_keys_no_key_is_ever_served_by_two_projects(generations) -> None:
    assembly, offers, now = Assembly(exclusive=True), {}, 0.0  # type: ignore[var-annotated]
    for generation, passed in generations:
        now += passed
        changes = {one.id: one if one.routes else None for one in generation}
        offers = {id: one for id, one in {**offers, **changes}.items() if one}
        assembly.update(changes, now)
        projects: dict[str, set[str]] = {}
        for route in assembly.routes.values():
            projects.setdefault(route.entry.key, set()).add(offers[route.container].project)
        assert all(len(each) == 1 for each in projects.values())
        for id, reasons in assembly.refused.items():
            assert all(any(route.entry.key == key for route in offers[id].routes) for key in reasons)
