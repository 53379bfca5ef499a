"""``pause``, ``resume``, ``maintenance``: who is asked, what is shown, and how ``status`` shows a key that is held."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Ctl = Callable[..., Any]
Serve = Callable[[dict[str, Any]], Any]

UNTIL = "2999-01-01T00:00:00.000Z"
PAUSED = {"key": "foo.com", "state": "paused", "until": UNTIL, "message": "", "allow": []}
SERVING: dict[str, Any] = {"key": "foo.com", "state": "serving", "until": None, "message": "", "allow": []}
CLOSED = {"key": "foo.com", "state": "maintenance", "until": None, "message": "back at 9", "allow": ["10.0.0.0/8"]}
UNKNOWN = (404, '{"error": "no such key"}')


def key(state: dict[str, Any] = SERVING, waiting: int = 0, ready: int = 1) -> dict[str, Any]:
    nodes = [{"address": "10.0.0.1:80", "state": "ready", "source": "c", "container": None, "weight": 1, "backup": 0,
              "max": 4, "requests": 5, "in_flight": 1, "failures": 0, "tx": 0, "rx": 0, "last_seen": None}]  # fmt: skip
    return {"algorithm": "wrr", "ready": ready, "total": ready, "requests": 9, "nodes": nodes[:ready],
            "wait": 15.0, "waiting": waiting, **state}  # fmt: skip


def status(*keys: dict[str, Any]) -> dict[str, Any]:
    router = {
        "version": "1",
        "boot_id": "b",
        "uptime": 1.0,
        "cheap": False,
        "processes": 1,
        "requests": 0,
        "errors": {},
    }
    return {"schema": "fastroute.status/v1", "router": router, "controller": None, "keys": [*keys]}


@pytest.fixture
def both(serve: Serve) -> tuple[Any, Any, tuple[str, ...]]:
    """Router, controller, and the options that name them."""
    router, controller = serve({}), serve({})
    return router, controller, ("--router-url", router.url, "--controller-url", controller.url)


def test_the_controller_is_asked_first_and_the_router_where_there_is_none(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/pause"] = {**PAUSED, "routers": [{"router": "r", "problem": None}]}
    ran = ctl("pause", "foo.com", "--for", "1m", *urls)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.split()[:7] == ["KEY", "STATE", "LEFT", "MESSAGE", "foo.com", "paused", ran.out.split()[6]]
    assert (controller.asked, router.asked) == ([("POST", "/v1/pause", b'{"key":"foo.com","seconds":60.0}')], [])
    router.answers["/v1/maintenance"] = CLOSED
    options = ("--message", "back at 9", "--allow", "10.1.2.3/8", "--for", "2h")
    ran = ctl("maintenance", "foo.com", *options, "--router-url", router.url, "-o", "json")
    assert json.loads(ran.out) == {"schema": "fastroute.change/v1", "change": "maintenance", **CLOSED}
    asked = {"key": "foo.com", "message": "back at 9", "allow": ["10.0.0.0/8"], "seconds": 7200.0}
    assert json.loads(router.asked[-1][2]) == asked


def test_a_controller_that_knows_no_pause_leaves_it_to_the_router(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/pause"] = (404, "Not Found")
    router.answers["/v1/pause"] = PAUSED
    assert ctl("pause", "foo.com", *urls, "-o", "name").out == "foo.com\n"
    assert json.loads(router.asked[-1][2]) == {"key": "foo.com", "seconds": 30.0}
    router.answers["/v1/pause"] = (404, "Not Found")
    ran = ctl("pause", "foo.com", *urls)
    assert (ran.code, "older version" in ran.err) == (1, True)


def test_resume_looks_at_the_router_too_as_somebody_may_have_asked_there(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/resume"] = {**SERVING, "routers": []}
    router.answers["/v1/keys/foo.com"] = key(PAUSED)
    router.answers["/v1/resume"] = SERVING
    assert ctl("resume", "foo.com", *urls).code == 0
    assert [asked[:2] for asked in router.asked] == [("GET", "/v1/keys/foo.com"), ("POST", "/v1/resume")]
    router.asked.clear()
    router.answers["/v1/keys/foo.com"] = key()
    assert ctl("resume", "foo.com", *urls).code == 0
    assert [asked[:2] for asked in router.asked] == [("GET", "/v1/keys/foo.com")]
    controller.answers["/v1/resume"] = router.answers["/v1/resume"] = UNKNOWN
    ran = ctl("resume", "foo.com", *urls)
    assert (ran.code, "no key is called 'foo.com'" in ran.err) == (1, True)


def test_routers_that_have_not_taken_it_over_are_named_and_none_at_all_is_a_failure(ctl: Ctl, both: Any) -> None:
    _, controller, urls = both
    rows = [{"router": "one", "problem": None}, {"router": "two", "problem": "it does not answer"}]
    controller.answers["/v1/pause"] = {**PAUSED, "routers": rows}
    ran = ctl("pause", "foo.com", *urls)
    assert (ran.code, "router two has not taken it over: it does not answer" in ran.err) == (0, True)
    controller.answers["/v1/pause"] = {**PAUSED, "routers": rows[1:]}
    assert ctl("pause", "foo.com", *urls).code == 1


def test_nginx_mode_says_no_with_its_reason_and_no_router_is_asked(ctl: Ctl, both: Any) -> None:
    router, controller, urls = both
    controller.answers["/v1/pause"] = (409, '{"error": "nginx mode has no queue"}')
    ran = ctl("pause", "foo.com", *urls)
    assert (ran.code, "nginx mode has no queue" in ran.err, router.asked) == (1, True, [])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("pause", "foo.com", "--for", "601"), "at most 600 s expected"),
        (("pause", "foo.com", "--for", "0"), "a time above 0 expected"),
        (("pause", "foo.com", "--for", "x"), "a time expected"),
        (("pause",), "Missing argument"),
        (("maintenance", "foo.com", "--allow", "10.0.0.0/99"), "networks expected"),
        (("maintenance", "foo.com", "--message", "x" * 301), "at most 300"),
    ],
)
def test_bad_usage_is_2_before_anybody_is_asked(ctl: Ctl, both: Any, arguments: tuple[str, ...], why: str) -> None:
    router, controller, urls = both
    ran = ctl(*arguments, *urls)
    assert (ran.code, why in ran.err) == (2, True), ran.err
    assert not router.asked + controller.asked


def test_nobody_there_is_3(ctl: Ctl) -> None:
    nobody = "http://127.0.0.1:1"
    assert ctl("pause", "foo.com", "--router-url", nobody, "--controller-url", nobody).code == 3


def test_status_shows_a_state_with_what_is_left_and_those_who_wait(ctl: Ctl, serve: Serve) -> None:
    router = serve({"/v1/status": status(key(PAUSED, waiting=7), key({**CLOSED, "key": "bar.com"}, ready=0))})
    options = ("--router-url", router.url, "--controller-url", "http://127.0.0.1:1")
    head, *rows = ctl("status", *options).out.splitlines()
    assert head.split() == [
        "KEY",
        "/",
        "NODE",
        "READY",
        "STATE",
        "WEIGHT",
        "REQUESTS",
        "WAITING",
        "RUNNING",
        "FAILED",
        "AGE",
        "CONTAINER",
    ]
    assert rows[0].split()[:4] == ["foo.com", "1/1", "paused", "for"]
    assert rows[0].split()[-2:] == ["9", "7"]
    assert rows[2].split()[:5] == ["bar.com", "0/0", "maintenance", "until", "resumed"]
    wide = ctl("status", *options, "-o", "wide").out.splitlines()
    assert wide[0].split()[-2:] == ["ALGORITHM", "WAIT"]
    router.answers["/v1/status"] = status(key())
    assert "WAITING" not in ctl("status", *options).out


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ([key()], 0),
        ([key(PAUSED)], 4),
        ([key(CLOSED, ready=0)], 4),
        ([key(PAUSED), key({**SERVING, "key": "bar.com"}, ready=0)], 5),
    ],
)
def test_check_a_held_key_is_degraded_whatever_its_nodes(
    ctl: Ctl, serve: Serve, keys: list[dict[str, Any]], code: int
) -> None:
    router = serve({"/v1/status": status(*keys)})
    options = ("--router-url", router.url, "--controller-url", "http://127.0.0.1:1")
    assert ctl("status", "--check", *options).code == code


def test_describe_shows_the_message_who_is_let_through_and_the_queue(ctl: Ctl, serve: Serve) -> None:
    router = serve({"/v1/keys/foo.com": key(CLOSED, waiting=3)})
    out = ctl("describe", "foo.com", "--router-url", router.url, "--controller-url", "http://127.0.0.1:1").out
    assert 'State      maintenance until resumed: "back at 9"' in out
    assert "Allowed    10.0.0.0/8" in out
    assert "Wait       15 s, 3 waiting now" in out


def test_a_router_of_the_version_before_shows_as_ever(ctl: Ctl, serve: Serve) -> None:
    old = {name: value for name, value in key().items() if name not in ("state", "until", "message", "allow", "wait",
                                                                        "waiting")}  # fmt: skip
    del old["nodes"][0]["max"]
    router = serve({"/v1/status": status(old), "/v1/keys/foo.com": old})
    options = ("--router-url", router.url, "--controller-url", "http://127.0.0.1:1")
    for format in ("table", "wide"):
        assert ctl("status", "--check", *options, "-o", format).code == 0
    assert ctl("describe", "foo.com", *options, "-o", "wide").code == 0


@pytest.mark.parametrize("verb", ["pause", "maintenance", "resume"])
def test_what_can_be_no_key_is_a_mistake_of_usage(ctl: Ctl, both: Any, verb: str) -> None:
    router, controller, urls = both
    ran = ctl(verb, "foo bar", *urls)
    assert (ran.code, "'foo bar' is no key" in ran.err, controller.asked, router.asked) == (2, True, [], [])
