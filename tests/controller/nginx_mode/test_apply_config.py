"""From a desired state to what nginx serves, whatever nginx says on the way."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.nginx_states import custom, desired, route

from fastroute.controller.nginx_mode.apply_config import (  # type: ignore[attr-defined]
    MAX_BLAMED_FILES,
    NOT_RUNNING,
    Outcome,
    Reload,
    Swap,
    apply_config,
)
from fastroute.controller.nginx_mode.isolate import MAX_TESTS, Check
from fastroute.controller.nginx_mode.nginx_config import ConfigState, NginxOptions, Rendered
from fastroute.controller.nginx_mode.user_templates import UserTemplates
from fastroute.router.protocol.node_options import NodeOptions

OPTIONS, OURS = NginxOptions(), custom({})
FOO, BAR, BAZ = (route(f"{name}.com", f"10.1.0.{number}:80", name) for number, name in enumerate(("foo", "bar", "baz")))


class FakeNginx:
    """Refuses files in which ``bad`` finds something (its answer is the reason), and reloads as ``reloads`` says."""

    def __init__(
        self, bad: Callable[[str, str], str] = lambda name, text: "", reloads: Iterable[str] = (), named: bool = True
    ) -> None:
        self.bad, self.reloads, self.named = bad, list(reloads), named
        self.live: Rendered | None = None
        self.running = ""
        self.steps: list[str] = []

    def carry_out(self, state: ConfigState, fresh: UserTemplates, good: UserTemplates | None = None) -> Outcome:
        steps = apply_config(state, fresh, good, OPTIONS, self.live, self.running)
        try:
            step = next(steps)
            while True:
                self.steps.append(type(step).__name__)
                step = steps.send(self.answer(step))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def answer(self, step: object) -> str:
        match step:
            case Check(rendered):
                return self.problem(rendered)
            case Swap(rendered):
                assert not self.problem(rendered), "what nginx can't start with is never swapped in"
                self.live = rendered
            case Reload(rendered):
                problem = self.reloads.pop(0) if self.reloads else ""
                self.running = self.running if problem else rendered.hash
                return problem
        return ""

    def problem(self, rendered: Rendered) -> str:
        for name, text in rendered.files.items():
            meant = "".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
            if said := self.bad(name, meant):
                where = f" in /etc/nginx/fastroute/generations/{rendered.hash}/{name}:3" if self.named else ""
                return f"2026/01/01 00:00:00 [emerg] 7#7: {said}{where}\nnginx: configuration file x test failed"
        return ""


def has(what: str) -> Callable[[str, str], str]:
    return lambda name, text: f'"{what}" is bad' if what in text else ""


def test_the_usual_way_and_nothing_when_nothing_changed() -> None:
    nginx = FakeNginx()
    outcome = nginx.carry_out(ConfigState(desired(FOO)), custom({}))
    assert nginx.steps == ["Check", "Swap", "Reload"]
    assert outcome.proven
    assert outcome.reloaded
    assert not outcome.error
    nginx.steps.clear()
    outcome = nginx.carry_out(ConfigState(desired(FOO)), custom({}), outcome.user_templates)
    assert nginx.steps == []
    assert outcome.proven
    assert not outcome.reloaded


def test_nginx_runs_something_else_than_what_is_on_disk() -> None:
    nginx = FakeNginx()
    nginx.carry_out(ConfigState(desired(FOO)), custom({}))
    nginx.steps.clear()
    nginx.running = ""
    assert nginx.carry_out(ConfigState(desired(FOO)), custom({})).proven
    assert nginx.steps == ["Swap", "Reload"]


def test_a_reload_without_proof_goes_back() -> None:
    nginx = FakeNginx()
    nginx.carry_out(ConfigState(desired(FOO)), custom({}))
    before, nginx.reloads = nginx.live, ["it still answers the old one"]
    outcome = nginx.carry_out(ConfigState(desired(FOO, BAR)), custom({}))
    assert outcome.error == "it still answers the old one; back to the configuration before"
    assert not outcome.proven
    assert outcome.rendered is None
    assert nginx.live == before


def test_without_nginx_the_tested_configuration_is_what_it_will_start_with() -> None:
    nginx = FakeNginx(reloads=[f"{NOT_RUNNING}: no pid"])
    outcome = nginx.carry_out(ConfigState(desired(FOO)), custom({}))
    assert outcome.error.startswith(NOT_RUNNING)
    assert not outcome.proven
    assert nginx.live == outcome.rendered


def test_a_key_that_nginx_refuses_is_set_aside_alone() -> None:
    nginx = FakeNginx(has("10.1.0.1:80"))
    outcome = nginx.carry_out(ConfigState(desired(FOO, BAR, BAZ)), custom({}))
    assert list(outcome.quarantined) == ["bar.com"]
    assert outcome.quarantined["bar.com"].startswith('"10.1.0.1:80" is bad in /etc/nginx/')
    assert outcome.proven
    assert not outcome.error
    assert outcome.rendered
    assert {address for _, address, _ in outcome.rendered.served} == {"", "10.1.0.0:80", "10.1.0.2:80"}


def test_without_a_file_to_blame_the_key_is_found_by_halves() -> None:
    routes = [route(f"k{number}.com", f"10.2.0.{number}:80") for number in range(1, 60)]
    nginx = FakeNginx(has("10.2.0.37:80"), named=False)
    outcome = nginx.carry_out(ConfigState(desired(*routes)), custom({}))
    assert list(outcome.quarantined) == ["k37.com"]
    assert outcome.proven
    assert nginx.steps.count("Check") <= MAX_TESTS


#: All tests of one trial: what is wanted, keys one by one, without those in doubt, the search, and what it found.
MOST_IN_ALL = 1 + MAX_BLAMED_FILES + 1 + MAX_TESTS + 1


@pytest.mark.parametrize("named", [True, False])
def test_many_refused_keys_hold_nobody_up(named: bool) -> None:
    good = [route(f"good{number}.com", f"10.1.1.{number}:80", f"good{number}") for number in range(20)]
    evil = [route(f"evil{number}.com", f"10.6.{number}.6:666", f"evil{number % 3}") for number in range(50)]
    nginx = FakeNginx(has(":666"), named=named)
    nginx.carry_out(ConfigState(desired(*good)), OURS)
    for number, one in enumerate(good):
        good[number] = replace(one, entry=replace(one.entry, options=NodeOptions(weight=7)))
    quarantined: dict[str, str] = {}
    for trials in range(60):
        nginx.steps.clear()
        new = route("new.com", f"10.1.2.{trials}:80", "new")
        outcome = nginx.carry_out(ConfigState(desired(*good, *evil, new), quarantined=quarantined), OURS, OURS)
        assert nginx.steps.count("Check") <= MOST_IN_ALL
        assert outcome.proven
        assert not outcome.error
        assert outcome.rendered
        served = {at for at in outcome.rendered.served if at[1]}
        assert served >= {one.id for one in good}, "they are served before, and are what they were but for a weight"
        assert new.id in served
        quarantined = {key: why for key, why in outcome.quarantined.items() if key not in outcome.untried}
        assert quarantined.keys() <= {one.entry.key for one in evil}
        if not outcome.untried:
            break
    assert quarantined.keys() == {one.entry.key for one in evil}


def test_a_key_that_is_refused_even_without_a_node_is_dropped() -> None:
    """A container claims paths that an include of the user has, too: their locations are doubled, whatever is in
    them."""
    evil = [route(f"foo.com/p{number}", "10.6.0.6:80", "evil") for number in range(10)]
    nginx = FakeNginx(lambda name, text: 'duplicate location "/p"' if 'location = "/p' in text else "")
    outcome = nginx.carry_out(ConfigState(desired(FOO, BAR, *evil)), OURS)
    assert outcome.proven
    assert outcome.dropped == outcome.quarantined.keys() == {one.entry.key for one in evil}
    assert outcome.rendered
    assert {at for at in outcome.rendered.served if at[1]} == {FOO.id, BAR.id}
    nginx.steps.clear()
    again = ConfigState(desired(FOO, BAR, BAZ, *evil), quarantined=outcome.quarantined, dropped=outcome.dropped)
    assert nginx.carry_out(again, OURS, outcome.user_templates).proven
    assert nginx.steps == ["Check", "Swap", "Reload"]


def test_what_is_wrong_outside_changes_nothing() -> None:
    nginx = FakeNginx(lambda name, text: "host not found in nginx.conf", named=False)
    outcome = nginx.carry_out(ConfigState(desired(FOO)), custom({}))
    assert outcome.error.startswith("nginx refuses the configuration, nothing changes: host not found")
    assert nginx.live is None
    assert not outcome.quarantined


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_include_is_not_taken(known: bool) -> None:
    nginx = FakeNginx(has("BROKEN"))
    good = custom({"foo.com.conf": "# fine\n"}) if known else None
    outcome = nginx.carry_out(ConfigState(desired(FOO, BAR)), custom({"foo.com.conf": "BROKEN\n"}), good)
    assert outcome.proven
    assert outcome.rendered
    if known:
        assert outcome.rendered.files["includes/foo.com.conf"] == "# fine\n"
        assert outcome.error == '/mine/foo.com.conf:3: "BROKEN" is bad; the include before stays'
        assert not outcome.quarantined
    else:
        assert outcome.quarantined == {"foo.com": '/mine/foo.com.conf:3: "BROKEN" is bad'}
        assert outcome.user_templates
        assert "foo.com.conf" not in outcome.user_templates.includes


def test_broken_templates_stay_out_and_nodes_still_change() -> None:
    for bad in ("BROKEN {{ nobody }}", "BROKEN {% if %}", "BROKEN"):
        nginx = FakeNginx(has("BROKEN"))
        good = custom({})
        nginx.carry_out(ConfigState(desired(FOO, BAR)), good)
        outcome = nginx.carry_out(ConfigState(desired(FOO)), custom({}, errors=bad), good)
        assert outcome.proven
        assert outcome.rendered
        assert set(outcome.rendered.served) == {FOO.id}
        assert "/mine/errors.conf.j2" in outcome.error
        assert outcome.error.endswith("the templates before stay")


def test_broken_templates_at_first_change_nothing() -> None:
    nginx = FakeNginx()
    outcome = nginx.carry_out(ConfigState(desired(FOO)), custom({}, errors="{{ nobody }}"))
    assert outcome.error.startswith("template /mine/errors.conf.j2:1: ")
    assert nginx.steps == []


def test_many_broken_includes_and_many_refused_keys_at_once() -> None:
    """Whose include passed once keeps it, and the others are set aside."""
    names = [f"k{number}.com" for number in range(12)]
    routes = [route(name, f"10.4.0.{number}:80", name) for number, name in enumerate(names)]
    evil = [route(f"a{number}.com", "10.6.0.1:666", f"a{number}") for number in range(9)]
    nginx = FakeNginx(lambda name, text: "it is bad" if ":666" in text or "BROKEN" in text else "")
    good = custom({f"{name}.conf": "# fine\n" for name in names})
    assert nginx.carry_out(ConfigState(desired(*routes)), good).proven
    outcome = nginx.carry_out(
        ConfigState(desired(*routes, *evil)), custom({f"{name}.conf": "BROKEN\n" for name in names}), good
    )
    assert outcome.proven
    assert outcome.rendered
    assert {at for at in outcome.rendered.served if at[1]} == {one.id for one in routes}
    assert outcome.quarantined.keys() == {one.entry.key for one in evil}
    assert outcome.error.count("the include before stays") == len(names)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sets(st.integers(1, 24), max_size=20), st.booleans())
def test_whatever_nginx_refuses_what_is_live_passes(seed: int, bad: set[int], named: bool) -> None:
    """``FakeNginx`` asserts at each swap; here: it ends, and what is not refused is served."""
    chance = random.Random(seed)
    nginx = FakeNginx(
        lambda name, text: next((f"n{one}" for one in bad if f"10.3.0.{one}:80" in text), ""), named=named
    )
    user_templates: UserTemplates | None = None
    for _ in range(3):
        routes = [route(f"k{number}.com", f"10.3.0.{number}:80") for number in chance.sample(range(1, 25), 16)]
        nginx.reloads = [chance.choice(["", "", "no proof"])]
        outcome = nginx.carry_out(ConfigState(desired(*routes)), OURS, user_templates)
        user_templates = outcome.user_templates
        if outcome.proven:
            assert outcome.rendered
            refused = {f"k{number}.com" for number in bad} & {one.entry.key for one in routes}
            assert outcome.quarantined.keys() - outcome.untried <= refused <= outcome.quarantined.keys()
            assert outcome.untried or outcome.quarantined.keys() == refused
