"""``drain``, ``undrain``, ``weight``, ``describe``: who is asked, what is shown, when waiting ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

Ctl = Callable[..., Any]
Serve = Callable[[dict[str, Any]], Any]

TARGET = {"key": "foo.com", "address": "10.0.0.1:80", "container": "foo-1", "in_flight": 2}
CHANGED = {"targets": [TARGET]}
UNKNOWN = (404, '{"error": "nothing is called that"}')


def key(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"key": "foo.com", "algorithm": "wrr", "ready": 1, "total": len(nodes), "requests": 9, "nodes": [*nodes]}


def node(address: str, state: str = "ready", in_flight: int = 0, container: str | None = "abc123") -> dict[str, Any]:
    return {"address": address, "state": state, "source": "c", "container": container, "weight": 1, "backup": 0,
            "requests": 5, "in_flight": in_flight, "failures": 0, "tx": 0, "rx": 0, "last_seen": None}  # fmt: skip


@pytest.fixture
def both(serve: Serve) -> tuple[Any, Any, tuple[str, ...]]:
    """Router, controller, and the options that name them."""
    router, controller = serve({}), serve({})
    return router, controller, ("--router-url", router.url, "--controller-url", controller.url)


def test_the_controller_is_asked_first_and_the_router_only_for_what_it_does_not_know(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/drain"] = CHANGED
    ran = ctl("drain", "foo-1", *urls)
    assert (ran.code, ran.err) == (0, "")
    assert "foo.com" in ran.out
    assert "draining" in ran.out
    assert (controller.asked, router.asked) == ([("POST", "/v1/drain", b'{"target":"foo-1"}')], [])
    controller.answers["/v1/weight"] = UNKNOWN
    router.answers["/v1/weight"] = CHANGED
    assert ctl("weight", "10.0.0.1:80", "7", *urls).code == 0
    assert json.loads(router.asked[-1][2]) == {"target": "10.0.0.1:80", "weight": 7}
    router.answers["/v1/undrain"] = CHANGED
    assert ctl("undrain", "foo.com", "--router-url", router.url, "-o", "name").out == "foo.com@10.0.0.1:80\n"


def test_nodes_of_a_key_that_are_not_the_controllers_are_drained_at_the_router(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/drain"] = CHANGED
    router.answers["/v1/keys/foo.com"] = key(node("10.0.0.1:80"), node("10.0.0.9:80", container=None))
    router.answers["/v1/drain"] = {"targets": [TARGET | {"address": "10.0.0.9:80", "container": None}]}
    assert ctl("drain", "foo.com", *urls, "-o", "name").out == "foo.com@10.0.0.1:80\nfoo.com@10.0.0.9:80\n"
    assert json.loads(router.asked[-1][2]) == {"target": "foo.com@10.0.0.9:80"}


def test_what_nobody_knows_is_exit_1_an_ambiguous_name_lists_what_fits_and_nobody_there_is_exit_3(
    ctl: Ctl, both: Any
) -> None:
    router, controller, urls = both
    router.answers["/v1/drain"] = controller.answers["/v1/drain"] = UNKNOWN
    ran = ctl("drain", "nobody", *urls)
    assert ran.code == 1
    assert "'nobody'" in ran.err
    controller.answers["/v1/drain"] = (409, '{"error": "ambiguous", "candidates": ["foo-1", "foo-2"]}')
    ran = ctl("drain", "foo", *urls)
    assert ran.code == 1
    assert "foo-1" in ran.err
    assert "foo-2" in ran.err
    assert ctl("drain", "foo").code == 3
    assert ctl("weight", "foo", "-1").code == 2


def test_waiting_ends_when_no_request_runs_there_and_none_can_come(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/drain"] = CHANGED
    router.answers["/v1/keys/foo.com"] = key(node("10.0.0.1:80", "draining", 2))
    ran = ctl("drain", "foo-1", "--wait", "--timeout", "0.3", *urls)
    assert ran.code == 6
    assert "2 requests on foo.com@10.0.0.1:80" in ran.err
    router.answers["/v1/keys/foo.com"] = key(node("10.0.0.1:80", "ready", 0))
    assert ctl("drain", "foo-1", "--wait", "--timeout", "0.3", *urls).code == 6
    done = {"/v1/keys/foo.com": key(node("10.0.0.1:80", "draining", 0))}
    threading.Timer(0.2, router.answers.update, [done]).start()
    ran = ctl("drain", "foo-1", "--wait", "--timeout", "20", *urls)
    assert ran.code == 0
    assert "drained" in ran.out


DETAILS = {
    "id": "abc123def456aa", "name": "foo-1", "state": "ready", "reason": "healthy", "health": "healthy",
    "since": "2026-01-01T00:00:00Z", "project": "shop", "labels": {"fastroute.key": "foo.com"},
    "routes": [{"key": "foo.com", "address": "10.0.0.1:80", "why": "on network web: shared with the router"}],
    "parsed": [{"name": "", "keys": ["foo.com"], "port": 80, "network": "", "weight": 1}], "warnings": ["shared key"],
    "transitions": [
        {"time": "2026-01-01T00:00:00Z", "state": "probing", "reason": "waiting for GET /", "cause": "event start"},
    ],
}  # fmt: skip


def test_describe_shows_a_container_with_address_and_why_and_its_last_transitions(ctl: Ctl, both: Any) -> None:
    _, controller, urls = both
    controller.answers["/v1/containers/foo-1"] = DETAILS
    note = {"time": "2026-01-01T00:00:00.000Z", "kind": "event", "id": DETAILS["id"], "text": "start"}
    controller.answers["/v1/events?follow=0"] = (200, f"data: {json.dumps(note)}\n\n")
    ran = ctl("describe", "foo-1", *urls)
    assert (ran.code, ran.err) == (0, "")
    told = ("waiting for GET /", "shop", "event start", "shared key", "foo.com: port 80, weight 1")
    for said in ("shared with the router", "fastroute.key = foo.com", *told):
        assert said in ran.out
    found = json.loads(ctl("describe", "foo-1", *urls, "-o", "json").out)
    assert (found["schema"], found["container"], found["key"]) == ("fastroute.describe/v1", DETAILS, None)


def test_describe_shows_a_key_with_its_nodes_and_those_that_want_to_serve_it(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    router.answers["/v1/keys/foo.com"] = key(node("10.0.0.1:80"))
    broken = {"id": "fff", "name": "foo-2", "state": "error", "reason": "no network", "health": None,
              "since": "2026-01-01T00:00:00Z", "routes": [{"key": "foo.com", "address": None}]}  # fmt: skip
    controller.answers["/v1/containers"] = {"containers": [broken]}
    ran = ctl("describe", "FOO.com", *urls)
    assert ran.code == 0
    for said in ("10.0.0.1:80", "foo-2", "no network"):
        assert said in ran.out
    assert ctl("describe", "foo.com", *urls, "-o", "name").out == "foo.com\n"


def test_describe_of_an_ambiguous_id_lists_the_containers_and_of_nothing_is_exit_1(ctl: Ctl, both: Any) -> None:
    _, controller, urls = both
    rows = [{"id": f"abcd{n}", "name": f"foo-{n}", "routes": []} for n in (1, 2)]
    controller.answers |= {"/v1/containers/abcd": (409, '{"error": "2"}'), "/v1/containers": {"containers": rows}}
    ran = ctl("describe", "abcd", *urls)
    assert ran.code == 1
    assert "foo-1 (abcd1)" in ran.err
    assert "foo-2 (abcd2)" in ran.err
    assert ctl("describe", "nothing", *urls).code == 1
    assert ctl("describe", "nothing").code == 3


def test_in_nginx_mode_the_controller_knows_what_is_served(ctl: Ctl, serve: Serve) -> None:
    block: dict[str, Any] = {"connected": True, "last_event": None, "last_sync": None, "sources": [], "mode": "nginx"}
    row = key(node("10.0.0.1:80"))
    whole = {"schema": "fastroute.status/v1", "router": None, "controller": block, "keys": [row]}
    controller = serve({"/v1/status": whole, "/v1/keys/foo.com": row, "/v1/containers": {"containers": []}})
    url = ("--controller-url", controller.url)
    ran = ctl("status", *url, "-o", "json")
    assert (ran.code, json.loads(ran.out)) == (0, whole)
    assert ctl("status", "foo.com", "--check", *url).code == 0
    assert ctl("wait", "foo.com", "--ready", "1", *url).code == 0
    controller.answers["/v1/events?follow=0"] = (200, "")
    ran = ctl("events", *url)
    assert (ran.code, ran.err) == (0, "")
