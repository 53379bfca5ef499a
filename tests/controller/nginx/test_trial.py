"""From a desired state to what nginx serves, whatever nginx says on the way."""

import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.nginx_states import custom, desired, route

from fastroute.controller.nginx.customs import Customs
from fastroute.controller.nginx.nginx_config import Look, Rendered, State
from fastroute.controller.nginx.trial import NOT_RUNNING, Check, Outcome, Reload, Swap, trial

LOOK, OURS = Look(), custom({})
FOO, BAR, BAZ = (route(f"{name}.com", f"10.1.0.{number}:80", name) for number, name in enumerate(("foo", "bar", "baz")))


class FakeNginx:
    """Refuses files in which ``bad`` finds something (its answer is the reason), and reloads as ``reloads`` says."""

    def __init__(
        self, bad: Callable[[str, str], str] = lambda name, text: "", reloads: Iterable[str] = (), named: bool = True
    ):
        self.bad, self.reloads, self.named = bad, list(reloads), named
        self.live: Rendered | None = None
        self.running = ""
        self.steps: list[str] = []

    def carry_out(self, state: State, fresh: Customs, good: Customs | None = None) -> Outcome:
        steps = trial(state, fresh, good, LOOK, self.live, self.running)
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
    outcome = nginx.carry_out(State(desired(FOO)), custom({}))
    assert nginx.steps == ["Check", "Swap", "Reload"]
    assert outcome.proven
    assert outcome.reloaded
    assert not outcome.error
    nginx.steps.clear()
    outcome = nginx.carry_out(State(desired(FOO)), custom({}), outcome.customs)
    assert nginx.steps == []
    assert outcome.proven
    assert not outcome.reloaded


def test_nginx_runs_something_else_than_what_is_on_disk() -> None:
    nginx = FakeNginx()
    nginx.carry_out(State(desired(FOO)), custom({}))
    nginx.steps.clear()
    nginx.running = ""
    assert nginx.carry_out(State(desired(FOO)), custom({})).proven
    assert nginx.steps == ["Swap", "Reload"]


def test_a_reload_without_proof_goes_back() -> None:
    nginx = FakeNginx()
    nginx.carry_out(State(desired(FOO)), custom({}))
    before, nginx.reloads = nginx.live, ["it still answers the old one"]
    outcome = nginx.carry_out(State(desired(FOO, BAR)), custom({}))
    assert outcome.error == "it still answers the old one; back to the configuration before"
    assert not outcome.proven
    assert outcome.rendered is None
    assert nginx.live == before


def test_without_nginx_the_tested_configuration_is_what_it_will_start_with() -> None:
    nginx = FakeNginx(reloads=[f"{NOT_RUNNING}: no pid"])
    outcome = nginx.carry_out(State(desired(FOO)), custom({}))
    assert outcome.error.startswith(NOT_RUNNING)
    assert not outcome.proven
    assert nginx.live == outcome.rendered


def test_a_key_that_nginx_refuses_is_set_aside_alone() -> None:
    nginx = FakeNginx(has("10.1.0.1:80"))
    outcome = nginx.carry_out(State(desired(FOO, BAR, BAZ)), custom({}))
    assert list(outcome.aside) == ["bar.com"]
    assert outcome.aside["bar.com"].startswith('"10.1.0.1:80" is bad in /etc/nginx/')
    assert outcome.proven
    assert not outcome.error
    assert outcome.rendered
    assert {address for _, address, _ in outcome.rendered.served} == {"", "10.1.0.0:80", "10.1.0.2:80"}


def test_without_a_file_to_blame_the_key_is_found_by_halves() -> None:
    routes = [route(f"k{number}.com", f"10.2.0.{number}:80") for number in range(1, 60)]
    nginx = FakeNginx(has("10.2.0.37:80"), named=False)
    outcome = nginx.carry_out(State(desired(*routes)), custom({}))
    assert list(outcome.aside) == ["k37.com"]
    assert outcome.proven
    assert nginx.steps.count("Check") <= 10


def test_what_is_wrong_outside_changes_nothing() -> None:
    nginx = FakeNginx(lambda name, text: "host not found in nginx.conf", named=False)
    outcome = nginx.carry_out(State(desired(FOO)), custom({}))
    assert outcome.error.startswith("nginx refuses the configuration, nothing changes: host not found")
    assert nginx.live is None
    assert not outcome.aside


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_include_is_not_taken(known: bool) -> None:
    nginx = FakeNginx(has("BROKEN"))
    good = custom({"foo.com.conf": "# fine\n"}) if known else None
    outcome = nginx.carry_out(State(desired(FOO, BAR)), custom({"foo.com.conf": "BROKEN\n"}), good)
    assert outcome.proven
    assert outcome.rendered
    if known:
        assert outcome.rendered.files["includes/foo.com.conf"] == "# fine\n"
        assert outcome.error == '/mine/foo.com.conf:3: "BROKEN" is bad; the include before stays'
        assert not outcome.aside
    else:
        assert outcome.aside == {"foo.com": '/mine/foo.com.conf:3: "BROKEN" is bad'}
        assert outcome.customs
        assert "foo.com.conf" not in outcome.customs.includes


def test_broken_templates_stay_out_and_nodes_still_change() -> None:
    for bad in ("BROKEN {{ nobody }}", "BROKEN {% if %}", "BROKEN"):
        nginx = FakeNginx(has("BROKEN"))
        good = custom({})
        nginx.carry_out(State(desired(FOO, BAR)), good)
        outcome = nginx.carry_out(State(desired(FOO)), custom({}, errors=bad), good)
        assert outcome.proven
        assert outcome.rendered
        assert set(outcome.rendered.served) == {FOO.id}
        assert "/mine/errors.conf.j2" in outcome.error
        assert outcome.error.endswith("the templates before stay")


def test_broken_templates_at_first_change_nothing() -> None:
    nginx = FakeNginx()
    outcome = nginx.carry_out(State(desired(FOO)), custom({}, errors="{{ nobody }}"))
    assert outcome.error.startswith("template /mine/errors.conf.j2:1: ")
    assert nginx.steps == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sets(st.integers(1, 12), max_size=4), st.booleans())
def test_whatever_nginx_refuses_what_is_live_passes(seed: int, bad: set[int], named: bool) -> None:
    """``FakeNginx`` asserts at each swap; here: it ends, and what is not refused is served."""
    chance = random.Random(seed)
    nginx = FakeNginx(
        lambda name, text: next((f"n{one}" for one in bad if f"10.3.0.{one}:80" in text), ""), named=named
    )
    customs: Customs | None = None
    for _ in range(3):
        routes = [route(f"k{number}.com", f"10.3.0.{number}:80") for number in chance.sample(range(1, 13), 6)]
        nginx.reloads = [chance.choice(["", "", "no proof"])]
        outcome = nginx.carry_out(State(desired(*routes)), OURS, customs)
        customs = outcome.customs
        if outcome.proven and named:
            assert outcome.rendered
            assert set(outcome.aside) == {f"k{number}.com" for number in bad} & {one.entry.key for one in routes}
