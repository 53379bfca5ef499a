"""docs/balancing.md in the stack, through nginx, with real workers: uWSGI, gunicorn in the uwsgi protocol and in HTTP.

Each of the three containers serves a key for each of the settings; a fourth one joins later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.load import Answer, Load
from support.programs import wait_for
from support.stack import ROOT, Stack

GUNICORN = ("--threads", "4", "--worker-tmp-dir", "/dev/shm", "--chdir", "/worker", "balanced:app")
UWSGI = ("--socket", ":3031", "--master", "--threads", "4", "--need-app", "--disable-logging", "--plugin", "python3",
         "--wsgi-file", "/worker/balanced.py")  # fmt: skip
BIND = ("--bind", "0.0.0.0:3031")
#: Worker -> image, program, what is behind it, and the protocol.
WORKERS = {
    "uwsgi": ("foo", "uwsgi", UWSGI, "uwsgi"),
    "gunicorn": ("bar", "/opt/bar/bin/gunicorn", (*BIND, "--protocol", "uwsgi", "--uwsgi-allow-from", "*", *GUNICORN),
                 "uwsgi"),
    "http": ("bar", "/opt/bar/bin/gunicorn", (*BIND, *GUNICORN), "http"),
}  # fmt: skip
#: Route -> key (NAME: that of the worker) and its settings.
ROUTES = {
    "sticky": ("sticky.test", {"sticky": "cookie"}),
    "path": ("sticky.test/shop", {"sticky": "cookie"}),
    "eject": ("eject.test", {"eject": "errors"}),
    "mount": ("mount.test/NAME", {"mount": "script-name"}),
    "ramp": ("ramp.test", {}),
}


def worker(stack: Stack, name: str, **routes: tuple[str, dict[str, str]]) -> list[str]:
    """The words of ``docker run`` for a container of worker ``name``."""
    image, program, words, protocol = WORKERS[name]
    labels = []
    for route, (key, settings) in routes.items():
        common = {"key": key.replace("NAME", name), "port": "3031", "protocol": protocol, "probe": "/"}
        labels += [f"fastroute.{route}.{setting}={value}" for setting, value in (common | settings).items()]
    options = [word for label in labels for word in ("--label", label)]
    folder = ROOT / "tests/docker/workers"
    # The images' own checks speak uwsgi.
    return [
        *options,
        "--no-healthcheck",
        "-v",
        f"{folder}:/worker:ro",
        "--entrypoint",
        program,
        stack.image(image),
        *words,
    ]


@pytest.fixture(scope="module")
def three(stack: Stack) -> Iterator[dict[str, str]]:
    """The three workers: host name -> container."""
    with ExitStack() as ends:
        names = [ends.enter_context(stack.container(*worker(stack, name, **ROUTES))) for name in WORKERS]
        found = {stack.host_name(name): name for name in names}
        for host in ("sticky.test", "eject.test", "ramp.test"):
            stack.wait_answered_by(host, set(found), 60)
        yield found


def visit(stack: Stack, cookie: str = "", path: str = "/") -> Answer:
    return stack.get("sticky.test", path, headers={"Cookie": cookie} if cookie else {})


def cookies(stack: Stack, path: str = "/") -> dict[str, str]:
    """Container's host name -> its cookie, of clients that come for the first time."""
    answers = [visit(stack, path=path) for _ in range(9)]
    return {answer.text: answer.headers["Set-Cookie"].partition(";")[0] for answer in answers}


def test_clients_stay_with_their_container(stack: Stack, three: dict[str, str]) -> None:
    first = visit(stack)
    assert first.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
    known = cookies(stack)
    assert set(known) == set(three)
    for host, cookie in known.items():
        answers = [visit(stack, cookie) for _ in range(6)]
        assert {answer.text for answer in answers} == {host}
        assert not [answer for answer in answers if "Set-Cookie" in answer.headers]
    assert {visit(stack, "fastroute=forged").text for _ in range(9)} == set(three)
    below = cookies(stack, "/shop/x")
    assert visit(stack, path="/shop/x").headers["Set-Cookie"].partition("; ")[2].startswith("Path=/shop;")
    assert {host: visit(stack, cookie, "/shop/x").text for host, cookie in below.items()} == {
        host: host for host in three
    }


def test_a_drain_with_sessions_keeps_those_who_are_there(stack: Stack, three: dict[str, str]) -> None:
    known = cookies(stack)
    host, container = next(iter(three.items()))
    stack.ctl("drain", container, "--sessions", "10m")
    try:
        assert {each: visit(stack, cookie).text for each, cookie in known.items()} == {each: each for each in three}
        assert {visit(stack).text for _ in range(9)} == set(three) - {host}
        stack.ctl("drain", container)
        moved = visit(stack, known[host])
        assert moved.text != host
        assert moved.headers["Set-Cookie"].startswith(known[moved.text])
    finally:
        stack.ctl("undrain", container)
    assert visit(stack, known[host]).text == host


def test_one_that_answers_errors_is_ejected_and_comes_back(stack: Stack, three: dict[str, str]) -> None:
    container = [*three.values()][-1]
    address = f"{stack.address(container)}:3031"

    def node() -> dict[str, Any]:
        nodes = stack.status("eject.test").get("nodes", ())
        return next((each for each in nodes if each["address"] == address), {"state": "not there"})

    with Load(lambda: stack.get("eject.test"), rate=80) as load:
        stack.docker("exec", container, "touch", "/tmp/broken")
        try:
            wait_for(lambda: node()["state"] == "ejected", "it is ejected", 30)
            assert "answers in " in node()["reason"]
            before, failed = load.sent, len(load.failures)
            wait_for(lambda: load.sent >= before + 80, "a second of requests", 30)
            assert len(load.failures) - failed <= 4, "its trials"
        finally:
            stack.docker("exec", container, "rm", "/tmp/broken")
        wait_for(lambda: node()["state"] == "ready", "it is back", 60)
    assert {text.split()[0] for _, text in load.failures} == {"500"}
    assert "node-ejected" in stack.ctl("events")
    assert set(stack.answered_by("eject.test")) == set(three)


@pytest.mark.parametrize("name", WORKERS)
def test_an_application_below_a_path_sees_its_own_part(stack: Stack, three: dict[str, str], name: str) -> None:
    seen = json.loads(stack.get("mount.test", f"/{name}/users?a=1", headers={"X-Forwarded-Prefix": "/evil"}).text)
    assert (seen["prefix"], seen["path"]) == (f"/{name}", "/users")
    # gunicorn ignores it in the uwsgi protocol, and HTTP has none.
    assert seen["script"] == (f"/{name}" if name == "uwsgi" else "")


def test_one_that_joins_gets_its_share_little_by_little(stack: Stack, three: dict[str, str]) -> None:
    with stack.container(*worker(stack, "http", ramp=("ramp.test", {"ramp": "5m"}))) as newcomer:
        wait_for(lambda: stack.status("ramp.test").get("ready") == 4, "it is there", 60)
        by = stack.answered_by("ramp.test", 100)
        # A quarter would be its share; a minute of its five would be a sixteenth.
        assert by[stack.host_name(newcomer)] <= 8
        assert set(by) >= set(three)
