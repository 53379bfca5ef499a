"""A controller that is started anew while a source is silent: what that source wanted stays, the others change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry
from support.nginx_states import desired, route
from support.waiting import wait_for

from fastroute.controller.desired import Desired, Route
from fastroute.controller.events import ControllerEvents
from fastroute.controller.nginx_mode import applier
from fastroute.controller.nginx_mode.applier import NginxApplier
from fastroute.controller.nginx_mode.stored_routes import routes_from_json, routes_to_json
from fastroute.controller.settings import ControllerSettings
from fastroute.router.runtime.json_text import read_json

CONTAINER, OTHER, STATIC = (
    route(f"{key}.com", f"10.0.0.1:{port}", key) for key, port in (("a", 1), ("b", 2), ("c", 3))
)


class Nginx:
    """Takes everything over at once."""

    def __init__(self) -> None:
        self.hash = ""

    def test(self, generation: str) -> str:
        return ""

    def reload(self, generation: str) -> str:
        self.hash = generation
        return ""

    def running(self) -> str:
        return self.hash


@contextmanager
def life(folder: Path, nginx: Nginx) -> Iterator[NginxApplier]:
    """One life of a controller with an engine (source 0) and a static file (source 1)."""
    settings = ControllerSettings(mode="nginx", nginx_conf_dir=str(folder), nginx_min_interval=0.0)
    running = NginxApplier(settings, ControllerEvents(), tuple, nginx)
    assert (running.add_source(), running.add_source()) == (0, 1)
    running.start()
    try:
        yield running
    finally:
        running.close()


def serves(running: NginxApplier, *routes: Route) -> None:
    wait_for(
        lambda: {at for served, _ in running.served for at, r in served.items() if at[1]} == desired(*routes).keys(),
        f"nginx serves {[wanted.id for wanted in routes]}",
    )


@pytest.fixture
def nginx() -> Nginx:
    return Nginx()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier, "FIRST_CONFIG_TIMEOUT", 0.1)


def test_an_engine_that_is_silent_at_the_start_loses_nothing_and_holds_up_no_static_node(
    tmp_path: Path, nginx: Nginx
) -> None:
    with life(tmp_path, nginx) as first:
        first.put(0, "docker", desired(CONTAINER, OTHER))
        first.put(1, "static", {})
        serves(first, CONTAINER, OTHER)
    with life(tmp_path, nginx) as second:
        second.put(1, "static", desired(STATIC))
        serves(second, CONTAINER, OTHER, STATIC)
        assert [source for _, source in second.served] == ["docker", "static"]
    with life(tmp_path, nginx) as third:
        third.put(1, "static", {})
        serves(third, CONTAINER, OTHER)
        third.put(0, "docker", desired(OTHER))
        serves(third, OTHER)


def test_at_the_first_start_static_nodes_do_not_wait_for_an_engine_that_is_down(tmp_path: Path, nginx: Nginx) -> None:
    with life(tmp_path, nginx) as first:
        first.put(1, "static", desired(STATIC))
        serves(first, STATIC)


@pytest.mark.parametrize("content", [None, "[", "[]", '{"docker": [{}]}', '{"docker": 3}'])
def test_where_it_is_not_known_what_an_engine_wanted_nothing_changes_until_it_is_heard(
    tmp_path: Path, nginx: Nginx, content: str | None
) -> None:
    with life(tmp_path, nginx) as first:
        first.put(0, "docker", desired(CONTAINER))
        first.put(1, "static", {})
        serves(first, CONTAINER)
        before = nginx.hash
    (tmp_path / "routes.json").unlink()
    if content is not None:
        (tmp_path / "routes.json").write_text(content)
    with life(tmp_path, nginx) as second:
        second.put(1, "static", desired(STATIC))
        with pytest.raises(AssertionError):
            wait_for(lambda: nginx.hash != before, "a change that must not be", 0.5)
        second.put(0, "docker", desired(CONTAINER))
        serves(second, CONTAINER, STATIC)


def test_a_source_of_another_name_is_gone_once_all_are_heard(tmp_path: Path, nginx: Nginx) -> None:
    with life(tmp_path, nginx) as first:
        first.put(0, "docker", desired(CONTAINER))
        first.put(1, "static", {})
        serves(first, CONTAINER)
    with life(tmp_path, nginx) as second:
        second.put(1, "static", {})
        second.put(0, "docker-2", desired(OTHER))
        serves(second, OTHER)


@given(
    st.dictionaries(
        st.sampled_from(["docker", "static"]),
        st.lists(
            st.builds(
                lambda key, address, drain, weight, sticky: Route(
                    make_entry(key, address, owner="x@1", drain=drain, weight=weight, sticky=sticky), "web-1"
                ),
                st.sampled_from(["foo.com", "*.foo.com/api"]),
                st.sampled_from(["", "10.0.0.1:80", "[::1]:80", "/run/x.sock"]),
                st.booleans(),
                st.integers(0, 100),
                st.sampled_from(["", "cookie"]),
            )
        ),
    )
)
def test_routes_come_back_as_they_were(by_source: dict[str, list[Route]]) -> None:
    wanted: dict[str, Desired] = {source: desired(*routes) for source, routes in by_source.items()}
    assert routes_from_json(read_json(json.dumps(routes_to_json(wanted)).encode())) == wanted
