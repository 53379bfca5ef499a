"""What nginx mode does not have: the containers whose labels ask for it are routed all the same, and say so."""

from __future__ import annotations

from support.simulated_engine import Simulation

from fastroute.controller.route_sources import RouteSources

LABELS = {"fastroute.port": "80"}


def reasons(nginx: bool, **labels: dict[str, str]) -> dict[str, tuple[str, str]]:
    """State and warnings of a container with each of ``labels``, by name."""
    sim = Simulation()
    for name, more in labels.items():
        sim.docker.run(name, LABELS | more)
    sim.connect()
    views = RouteSources([sim.reconciler], nginx=nginx).views().values()
    return {view.offer.name: (view.offer.state, "; ".join(view.warnings)) for view in views}


def test_a_wait_is_warned_of_by_the_label_that_says_it() -> None:
    effect = "has no effect in nginx mode: nginx has no queue, and answers at once where no node is free"
    found = reasons(
        True,
        web={"fastroute.key": "foo.com", "fastroute.wait": "15s", "fastroute.max": "4"},
        named={"fastroute.wait": "1", "fastroute.a.key": "a.com", "fastroute.b.key": "b.com", "fastroute.b.wait": "2"},
        none={"fastroute.key": "bar.com", "fastroute.wait": "0", "fastroute.max": "4"},
    )
    assert found["web"] == ("ready", f"label fastroute.wait: wait 15 s {effect}")
    assert found["named"] == (
        "ready", f"label fastroute.wait: wait 1 s {effect}; label fastroute.b.wait: wait 2 s {effect}",
    )  # fmt: skip
    assert found["none"] == ("ready", "")


def test_each_label_without_effect_is_warned_of_and_those_that_ask_for_nothing_are_not() -> None:
    found = reasons(
        True,
        web={"fastroute.key": "foo.com/api", "fastroute.sticky": "cookie", "fastroute.mount": "script-name",
             "fastroute.ramp": "30s"},
        none={"fastroute.key": "bar.com", "fastroute.sticky": "off", "fastroute.eject": "errors",
              "fastroute.mount": "keep", "fastroute.ramp": "0"},
    )  # fmt: skip
    state, warnings = found["web"]
    assert state == "ready"
    for words in (
        "sticky: sticky cookie:fastroute",
        "mount: mount script-name",
        "ramp: ramp 30 s",
    ):
        assert f"label fastroute.{words} has no effect in nginx mode: " in warnings
    assert found["none"] == ("ready", "")


def test_in_router_mode_it_is_as_it_should_be() -> None:
    assert reasons(False, web={"fastroute.key": "foo.com", "fastroute.wait": "15s"}) == {"web": ("ready", "")}
