"""Is it serving, and what fails: the worst first, each in words, and no false alarm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.fleet import admin_state, container, controller_status, key, node, router_status

import fastroute.page
from fastroute.page.history import NumberHistory
from fastroute.page.merge import AdminState, merge, merge_containers
from fastroute.page.problems import BAD_SHARE, WARN_SHARE, FleetProblem, ProblemFinder, Verdict, verdict

GOOD = key("foo.com", node("a:1"), node("b:1"))


def found(
    states: Sequence[AdminState], history: NumberHistory | None = None, ages: dict[str, float] | None = None
) -> tuple[Verdict, list[FleetProblem]]:
    keys = merge(states)
    problems = ProblemFinder(states, keys, history or NumberHistory(), merge_containers(states), ages or {}).all()
    return verdict(states, keys, problems), problems


def levels(*states: AdminState, **rest: Any) -> tuple[str, dict[str, str]]:
    said, problems = found(states, **rest)
    return said.level, {problem.title: problem.level for problem in problems}


def test_all_is_well() -> None:
    said, problems = found([admin_state("router", router_status(GOOD))])
    assert (said.level, said.title, said.text, problems) == ("ok", "Serving", "1 key, 2 of 2 nodes ready", [])


def test_nobody_has_answered_yet_or_any_more() -> None:
    assert levels(admin_state("router", None)) == ("unknown", {"router": "bad"})
    said, problems = found([admin_state("router", router_status(GOOD), problem="nothing listens there")])
    assert (said.level, said.title) == ("unknown", "Not known")
    assert "No router has answered for 30 s" in said.text
    assert "nothing listens there" in problems[0].text


def test_one_of_two_routers_is_silent() -> None:
    one, two = admin_state("one", router_status(GOOD)), admin_state("two", router_status(GOOD), problem="refused")
    assert levels(one, two) == ("warn", {"two": "warn"})


def test_there_is_nothing_to_serve() -> None:
    assert levels(admin_state("router", router_status())) == ("off", {})


@pytest.mark.parametrize(
    ("row", "level", "text"),
    [
        (key("foo.com"), "bad", "nobody serves it"),
        (key("foo.com", node("a:1", state="ejected"), node("b:1", state="draining")), "bad", "1 ejected, 1 draining"),
        (key("foo.com", node("a:1"), node("b:1", state="ejected")), "warn", "1 of 2 ejected"),
        (key("foo.com", node("a:1", state="stale")), "warn", "1 of 1 stale"),
        (key("foo.com", node("a:1"), waiting=7), "warn", "7 requests wait for a container"),
        (key("foo.com", node("a:1"), state="maintenance"), "warn", "maintenance by an operator"),
        (key("foo.com", state="paused", until="2026-11-30T12:00:00Z"), "warn", "an operator until 12:00:00 UTC"),
        (key("foo.com", node("a:1"), node("b:1", state="draining")), "ok", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_key_is_said(row: dict[str, Any], level: str, text: str) -> None:
    said, problems = found([admin_state("router", router_status(row))])
    assert said.level == level
    assert [problem.name for problem in problems] == (["foo.com"] if text else [])
    assert all(text in problem.text for problem in problems)


@pytest.mark.parametrize(("errors", "level"), [(0.0, "ok"), (0.05, "ok"), (0.5, "warn"), (6.0, "bad")])
def test_errors_of_the_last_minute_count_by_their_share(errors: float, level: str) -> None:
    history = NumberHistory()
    for slot in range(1, 13):
        history.write(slot, {}, {"foo.com": {"2xx": 10 - errors, "3xx": 0, "4xx": 0, "5xx": errors}})
    now = key("foo.com", node("a:1", rate=10.0, error_rate=errors), node("b:1"), rate=10.0, error_rate=errors)
    assert levels(admin_state("router", router_status(now)), history=history)[0] == level
    healed = key("foo.com", node("a:1", rate=10.0, error_rate=0.0), rate=10.0, error_rate=0.0)
    said, problems = found([admin_state("router", router_status(healed))], history)
    assert said.level == ("ok" if level == "ok" else "warn")
    assert all("none of the last 10 s" in problem.text for problem in problems)


def test_a_key_without_nodes_says_what_its_containers_say() -> None:
    row = container("c1", ("foo.com", ""), state="unhealthy", reason="health check: 503")
    controller = admin_state("controller", controller_status(), (row,))
    _, problems = found([admin_state("router", router_status(key("foo.com"))), controller])
    assert (problems[0].level, problems[0].kind) == ("bad", "key")
    assert "c1-name: unhealthy: health check: 503" in problems[0].text


def test_a_wrong_label_is_a_warning_and_a_slow_start_becomes_one() -> None:
    router = admin_state("router", router_status(GOOD))
    rows = (container("c1", state="error", reason="unknown label"), container("c2", ("foo.com", ""), state="probing"))
    controller = admin_state("controller", controller_status(), rows)
    assert levels(router, controller, ages={"c2": 5.0}) == ("warn", {"c1-name": "warn"})
    assert levels(router, controller, ages={"c2": 90.0}) == ("warn", {"c1-name": "warn", "c2-name": "warn"})


def test_what_nginx_refused_is_said() -> None:
    sink = {"answers": True, "error": None, "aside": [{"key": "bad.com", "reason": "nginx -t says no"}]}
    said, problems = found([admin_state("controller", controller_status(GOOD, mode="nginx", **sink))])
    assert (said.level, problems[0].kind, problems[0].name) == ("bad", "nginx", "bad.com")
    assert "nginx -t says no" in problems[0].text
    assert levels(admin_state("controller", controller_status(GOOD, mode="nginx", answers=False)))[0] == "bad"


def test_routers_that_disagree_and_relays_that_do_not_run_are_said() -> None:
    one, two = router_status(GOOD), router_status(key("foo.com", node("a:1")))
    assert "one 2, two 1" in found([admin_state("one", one), admin_state("two", two)])[1][0].text
    down = router_status(GOOD, relays=[{"relay": 0, "alive": False}, {"relay": 1, "alive": True}], processes=2)
    assert levels(admin_state("router", down)) == ("warn", {"router": "warn"})


def test_the_browser_colours_shares_of_errors_by_the_same_limits() -> None:
    script = (Path(fastroute.page.__file__).parent / "web/format.js").read_text()
    limits = re.search(r'levelOfShare = \(share\) => \(share > ([\d.]+) \? "bad" : share > ([\d.]+) \? "warn"', script)
    assert limits is not None
    assert [float(limit) for limit in limits.groups()] == [BAD_SHARE, WARN_SHARE]
