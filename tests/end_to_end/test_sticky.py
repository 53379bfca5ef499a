"""Clients that stay with their node: the same cookie at every router and relay, after restarts, and through a drain."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.programs import Router, UwsgiWorker
from support.uwsgi_client import Answer, ask

HOST = "shop.test"
COOKIE = re.compile(r"fastroute=([A-Za-z0-9_-]{16}); Path=/; HttpOnly; SameSite=Lax(; Secure)?")


@pytest.fixture(scope="module")
def workers() -> Iterator[list[UwsgiWorker]]:
    with ExitStack() as stack:
        yield [stack.enter_context(UwsgiWorker(name)) for name in ("one", "two", "three")]


def router(workers: list[UwsgiWorker], *options: str) -> Router:
    nodes = [word for worker in workers for word in ("--node", f"{HOST}={worker.address},sticky=cookie")]
    return Router(*nodes, *options)


def visit(at: Router, cookie: str = "", **more: str) -> Answer:
    return ask(at.port, HOST, HTTP_COOKIE=f"a=b; fastroute={cookie}", **more)


def cookies(at: Router) -> dict[str, str]:
    """By node, the value that its clients get."""
    found = {}
    for _ in range(12):
        answer = visit(at)
        match = COOKIE.fullmatch(answer.headers["set-cookie"])
        assert match is not None
        assert match[2] is None
        found[answer.node] = match[1]
    return found


def test_the_values_are_the_same_at_every_router_and_after_a_restart(workers: list[UwsgiWorker]) -> None:
    with router(workers) as first, router(workers[::-1], "--processes", "2", "--algorithm", "lrc") as second:
        values = cookies(first)
        assert set(values) == {"one", "two", "three"}
        assert len(set(values.values())) == 3
        assert cookies(second).items() <= values.items()
        for at in (first, second):
            for name, value in values.items():
                for _ in range(3):
                    answer = visit(at, value)
                    assert answer.node == name
                    assert "set-cookie" not in answer.headers
        secure = COOKIE.fullmatch(visit(first, HTTPS="on").headers["set-cookie"])
        assert secure is not None
        assert secure[2] == "; Secure"
    with router(workers) as again:
        assert cookies(again) == values


def test_no_value_tells_an_address_and_a_secret_changes_it(workers: list[UwsgiWorker], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of many characters\n")
    secret.chmod(0o600)
    with router(workers) as plain, router(workers, "--subscription-secret-file", str(secret)) as keyed:
        ours, theirs = cookies(plain), cookies(keyed)
        assert not set(ours.values()) & set(theirs.values())
        assert not any(str(worker.port) in value for worker in workers for value in ours.values())


def test_a_drained_node_keeps_its_sessions_for_as_long_as_it_was_given(workers: list[UwsgiWorker]) -> None:
    with router(workers) as at:
        values = cookies(at)
        ctl = str(Path(sys.executable).with_name("fastroute-ctl"))

        def change(*words: str) -> None:
            urls = ("--router-url", f"http://127.0.0.1:{at.admin_port}", "--controller-url", "http://127.0.0.1:1")
            subprocess.run([ctl, *words, workers[0].address, *urls], check=True, capture_output=True, timeout=20)

        change("drain", "--sessions", "60s")
        assert [visit(at, values["one"]).node for _ in range(3)] == ["one"] * 3
        assert "one" not in {visit(at).node for _ in range(8)}
        change("drain")
        moved = visit(at, values["one"])
        assert moved.node != "one"
        assert f"fastroute={values[moved.node]};" in moved.headers["set-cookie"]
        change("undrain")
        assert visit(at, values["one"]).node == "one"
