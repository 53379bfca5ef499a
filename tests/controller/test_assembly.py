"""Offers of all containers, brought together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastroute.controller.assembly import Assembly
from fastroute.controller.desired import Offer, Route
from fastroute.controller.plan import plan
from fastroute.router.subscription import Entry


def offer(name: str, *entries: Entry, created: int = 1, started: int = 1, project: str = "") -> Offer:
    routes = tuple(Route(entry, name) for entry in entries)
    return Offer(name, name, f"{name}@1", project, created, started, "ready", "", "", routes)


def entry(key: str, address: str = "", owner: str = "o", algorithm: str = "") -> Entry:
    return Entry(key, address, owner=owner, algorithm=algorithm)


def assemble(offers: list[Offer]) -> Assembly:
    assembly = Assembly()
    assembly.update({one.id: one for one in offers})
    return assembly


def seen(assembly: Assembly) -> tuple[object, ...]:
    return assembly.routes, assembly.warnings, assembly.displaced


def test_the_oldest_containers_algorithm_is_the_keys_and_both_are_told():
    old = offer("old", entry("foo.com", "1.1.1.1:1", "a", "lrc"), created=1)
    new = offer("new", entry("foo.com", "1.1.1.2:1", "b", "wrr"), created=2)
    plain = offer("plain", entry("foo.com", "1.1.1.3:1", "c"), created=0)
    outcome = assemble([new, old, plain])
    assert {route.entry.algorithm for route in outcome.routes.values()} == {"lrc"}
    for name in ("old", "new"):
        (warning,) = outcome.warnings[name]
        assert "old" in warning
        assert "new" in warning
        assert "foo.com" in warning
    assert "plain" not in outcome.warnings


def test_a_container_that_does_not_serve_gives_way_in_the_settings_of_a_key():
    stopped = offer("stopped", entry("foo.com", "", "a", "lrc"), created=1)
    serving = offer("serving", entry("foo.com", "1.1.1.2:1", "b", "wrr"), created=2)
    assert {route.entry.algorithm for route in assemble([stopped, serving]).routes.values()} == {"wrr"}


def test_an_address_belongs_to_the_container_started_last_and_the_other_keeps_its_key():
    old = offer("old", entry("foo.com", "1.1.1.1:1", "a"), started=1)
    new = offer("new", entry("bar.com", "1.1.1.1:1", "b"), started=2)
    outcome = assemble([old, new])
    assert set(outcome.routes) == {("foo.com", "", "a"), ("bar.com", "1.1.1.1:1", "b")}
    assert outcome.displaced == {"old"}
    assert "new" in outcome.warnings["old"][0]


def test_two_projects_that_serve_one_key_are_both_named():
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
_OFFERS = st.lists(st.tuples(st.lists(_ENTRIES, max_size=3), st.integers(0, 3), st.integers(0, 3)), max_size=5).map(
    lambda rows: [offer(f"c{at}", *row[0], created=row[1], started=row[2]) for at, row in enumerate(rows)]
)


@given(_OFFERS, st.randoms())
def test_the_outcome_depends_on_the_offers_alone_not_on_their_order(offers, random):
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert seen(assemble(offers)) == seen(assemble(shuffled))


@given(st.lists(_OFFERS, max_size=4))
def test_however_it_came_to_the_offers_the_outcome_is_that_of_a_fresh_start(generations):
    assembly, offers = Assembly(), {}
    for generation in generations:
        changes = {one.id: one if one.routes else None for one in generation}
        before = dict(assembly.routes)
        steps = assembly.update(changes)
        offers = {id: one for id, one in {**offers, **changes}.items() if one}
        assert seen(assembly) == seen(assemble(list(offers.values())))
        assert steps == plan(before, assembly.routes)


@given(_OFFERS)
def test_no_address_has_two_containers_and_no_key_two_algorithms(offers):
    holders, algorithms = {}, {}
    for route in assemble(offers).routes.values():
        if route.entry.address:
            assert holders.setdefault(route.entry.address, route.container) == route.container
        assert algorithms.setdefault(route.entry.key, route.entry.algorithm) == route.entry.algorithm


@given(_OFFERS, _OFFERS)
def test_a_plan_leads_from_one_state_to_the_other(before, after):
    applied, desired = assemble(before).routes, assemble(after).routes
    steps, state = plan(applied, desired), dict(applied)
    for route in steps.leave:
        del state[route.id]
    for route in (*steps.change, *steps.join):
        state[route.id] = route
    assert {at: route.entry for at, route in state.items()} == {at: route.entry for at, route in desired.items()}
    assert not plan(desired, desired)
