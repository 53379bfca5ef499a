"""What browsers get of nodes and containers: what is wrong is said there, too, and no number is made up."""

from __future__ import annotations

from typing import Any

from support.fleet import admin_state, container, controller_status, key, node, router_status

from fastroute.page.merge import merge, merge_containers, nodes_by_container
from fastroute.page.rows import container_rows, node_row


def rows(*nodes: dict[str, Any], containers: tuple[dict[str, Any], ...] = (), **fields: Any) -> dict[str, Any]:
    states = [admin_state("router", router_status(key("foo.com", *nodes, **fields))),
              admin_state("controller", controller_status(), containers)]  # fmt: skip
    keys = merge(states)
    return container_rows(merge_containers(states), nodes_by_container(keys), keys)


def test_a_container_that_answers_errors_says_so() -> None:
    bad = node("a:1", container="c1", rate=10.0, error_rate=4.0)
    row = rows(bad, rate=10.0, containers=(container("c1", ("foo.com", "a:1")),))["c1"]
    assert (row["level"], row["rate"]) == ("bad", 10)
    assert row["why"] == "40% of its answers of the last 10 s are errors (5xx)"


def test_a_worker_without_a_container_has_a_row_of_its_own() -> None:
    row = rows(node("a:1", rate=1.0), rate=1.0)["@a:1"]
    assert (row["name"], row["keys"], row["state"], row["level"], row["why"]) == ("a:1", ["foo.com"], "ready", "ok", "")


def test_a_container_that_no_router_knows_is_a_warning() -> None:
    row = rows(containers=(container("c1", ("foo.com", "a:1")),))["c1"]
    assert (row["level"], row["rate"]) == ("warn", None)
    assert "no router that answers has a node of it" in row["why"]


def test_what_nginx_serves_has_no_numbers_and_no_complaint() -> None:
    status = controller_status(key("foo.com", node("a:1", container="c1")), mode="nginx")
    states = [admin_state("controller", status, (container("c1", ("foo.com", "a:1")),))]
    keys = merge(states)
    row = container_rows(merge_containers(states), nodes_by_container(keys), keys)["c1"]
    assert (row["level"], row["rate"], row["why"]) == ("ok", None, "")
    shown = node_row(keys["foo.com"].nodes["a:1"], keys["foo.com"], merge_containers(states))
    assert (shown["rate"], shown["why"], shown["name"]) == (None, "", "c1-name")
