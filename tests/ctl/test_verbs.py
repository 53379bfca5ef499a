"""What each verb shows, and the exit codes of docs/reference/ctl.md."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.table_server import TableServer

from fastroute.ctl import healthcheck, running
from fastroute.ctl.main import VERBS

Ctl = Callable[..., Any]
Serve = Callable[[dict[str, Any]], Any]


def node(address: str = "10.0.0.1:80", state: str = "ready", container: str | None = None) -> dict[str, Any]:
    return {"address": address, "state": state, "source": "c", "container": container, "weight": 1, "backup": 0,
            "requests": 5, "in_flight": 0, "failures": 0, "tx": 2048, "rx": 10, "last_seen": None}  # fmt: skip


def status(*keys: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    rows = [
        {"key": key, "algorithm": "wrr", "ready": sum(one["state"] in ("ready", "stale") for one in nodes),
         "total": len(nodes), "requests": 5, "nodes": nodes}
        for key, nodes in keys
    ]  # fmt: skip
    return {"schema": "fastroute.status/v1", "router": {"version": "9"}, "controller": None, "keys": rows}


CONTROLLER = {"connected": True, "last_event": None, "last_sync": None, "sources": ["docker-1"]}
CONTAINERS = {
    "schema": "fastroute.containers/v1",
    "containers": [
        {"id": "abc123", "name": "foo-1", "state": "ready", "reason": "", "health": None,
         "since": "2026-01-01T00:00:00Z", "routes": [{"key": "foo.com", "address": "10.0.0.1:80"}]},
        {"id": "def456", "name": "bad-1", "state": "error", "reason": "fastroute.prot: did you mean fastroute.port?",
         "health": None, "since": "2026-01-01T00:00:00Z", "routes": []},
    ],
}  # fmt: skip


def test_status_shows_ready_nodes_containers_by_name_and_the_controller(ctl: Ctl, serve: Serve) -> None:
    router = serve({"/v1/status": status(("foo.com", [node(container="abc123"), node("10.0.0.2:80", "ejected")]))})
    controller = serve({"/v1/status": {"controller": CONTROLLER}, "/v1/containers": CONTAINERS})
    ran = ctl("--router-url", router.url, "--controller-url", controller.url, "status")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["foo.com", "1/2", "5"] in lines
    assert ["10.0.0.1:80", "ready", "1", "5", "0", "0", "-", "foo-1"] in lines
    assert "controller: connected to Docker, last event never" in ran.out


def test_status_says_which_engine_is_away_and_which_file_is_wrong(ctl: Ctl, serve: Serve) -> None:
    router = serve({"/v1/status": status(("foo.com", [node()]))})
    engines = [{"url": "tcp://a:2376", "trouble": "refused"}, {"url": "tcp://b:2376", "trouble": None}]
    files = [{"file": "s.yaml", "ok": False, "problem": "s.yaml:3: no key"}]
    block = CONTROLLER | {"connected": False, "engines": engines, "files": files}
    controller = serve({"/v1/status": {"controller": block}, "/v1/containers": CONTAINERS})
    out = ctl("--router-url", router.url, "--controller-url", controller.url, "status").out
    assert "controller: tcp://a:2376: refused" in out
    assert "tcp://b" not in out
    assert "controller: s.yaml:3: no key (the last good one stays)" in out


@pytest.mark.parametrize(("trouble", "code"), [(None, 0), ("the list of containers fails: 500 no", 4)])
def test_check_is_degraded_where_an_engine_does_not_tell_all(
    ctl: Ctl, serve: Serve, trouble: str | None, code: int
) -> None:
    router = serve({"/v1/status": status(("foo.com", [node()]))}).url
    block = CONTROLLER | {"engines": [{"url": "unix:///d.sock", "trouble": trouble}]}
    controller = serve({"/v1/status": {"controller": block}, "/v1/containers": CONTAINERS}).url
    assert ctl("--router-url", router, "--controller-url", controller, "status", "--check").code == code


def test_status_as_json_is_the_routers_object_with_the_controllers_block(ctl: Ctl, serve: Serve) -> None:
    answer = status(("foo.com", [node()]))
    url = serve({"/v1/status": answer}).url
    assert json.loads(ctl("status", "-o", "json", "--router-url", url).out) == answer
    controller = serve({"/v1/status": {"controller": CONTROLLER}}).url
    found = yaml.safe_load(ctl("status", "-o", "yaml", "--router-url", url, "--controller-url", controller).out)
    assert found == answer | {"controller": CONTROLLER}
    assert ctl("-o", "name", "--router-url", url, "status").out == "foo.com\n"


@pytest.mark.parametrize(
    ("states", "code"),
    [(["ready"], 0), (["ready", "draining"], 4), (["stale"], 4), (["ejected"], 5), ([], 5)],
)
def test_check_exits_4_when_degraded_and_5_when_a_key_is_down(
    ctl: Ctl, serve: Serve, states: list[str], code: int
) -> None:
    nodes = [node(f"10.0.0.{n}:80", state) for n, state in enumerate(states)]
    url = serve({"/v1/status": status(("foo.com", nodes), ("bar.com", [node()]))}).url
    assert ctl("status", "--check", "--router-url", url).code == code
    assert ctl("status", "bar.com", "--check", "--router-url", url).code == 0


def test_a_key_that_is_not_there_is_an_error_and_counts_as_down(ctl: Ctl, serve: Serve) -> None:
    url = serve({"/v1/status": status()}).url
    ran = ctl("status", "foo.com", "--router-url", url)
    assert ran.code == 1
    assert "no such key: foo.com" in ran.err
    assert ctl("status", "foo.com", "--check", "--router-url", url).code == 5


def test_ps_says_why_containers_may_be_missing(ctl, serve) -> None:
    engines = [{"url": "unix:///d.sock", "trouble": "the list of containers fails: 500 no"}]
    url = serve({"/v1/containers": {"schema": "fastroute.containers/v1", "containers": [], "engines": engines}}).url
    shown = ctl("ps", "--controller-url", url)
    assert shown.code == 0
    assert "controller: unix:///d.sock: the list of containers fails: 500 no" in shown.out.replace("\n", " ")


def test_ps_shows_why_a_container_is_not_routed(ctl: Ctl, serve: Serve) -> None:
    url = serve({"/v1/containers": CONTAINERS}).url
    ran = ctl("ps", "--controller-url", url)
    assert ran.code == 0
    assert "did you mean fastroute.port?" in ran.out
    assert json.loads(ctl("ps", "-o", "json", "--controller-url", url).out) == CONTAINERS
    assert ctl("ps", "-o", "name", "--controller-url", url).out == "foo-1\nbad-1\n"


# Errors


# httpcore leaves the socket of a failed connect to a unix path to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http+unix:///nowhere/admin.sock", "http+unix://%2Fnowhere%2Fadmin.sock"]
)
def test_who_can_not_be_reached_is_exit_3_and_one_line_that_says_what_to_do(ctl: Ctl, url: str) -> None:
    ran = ctl("status", "--router-url", url)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    assert "--router-url" in ran.err


def test_something_else_than_fastroute_at_the_address_is_said(ctl: Ctl, serve: Serve) -> None:
    for text in ("<html>", "[" * 100_000, "[]"):
        other = serve({"/v1/status": (200, text), "/v1/events?follow=0": (200, f"data: {text}\n\n")})
        for verb in ("status", "events"):
            ran = ctl(verb, "--router-url", other.url, "--controller-url", "http://127.0.0.1:1")
            assert ran.code != 0
            assert "is not a fastroute router" in ran.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["statsu"], "did you mean status?"),
        (["status", "--chek"], "--check"),
        (["status", "-o", "xml"], "'xml'"),
        (["status", "--router-url", "127.0.0.1:3033"], "http://HOST:PORT"),
        (["status", "--timeout", "0"], "x>0"),
        (["subscribe", "foo.com"], "ADDR"),
        (["subscribe", "foo bar", "1.2.3.4:80"], "no key"),
        (["subscribe", "foo.com", "1.2.3.4"], "host:port"),
        (["subscribe", "foo.com", "1.2.3.4:0"], "name:port"),
        (["subscribe", "foo.com", "1.2.3.4:80", "--weight", "0"], "0"),
        (["subscribe", "foo.com", "1.2.3.4:80", "--server", "fd://3"], "socket path"),
    ],
)
def test_bad_usage_is_exit_2_and_one_line(ctl: Ctl, arguments: list[str], expected: str) -> None:
    ran = ctl(*arguments)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert expected in ran.err


def test_no_arguments_show_the_verbs_and_only_those_that_work(ctl: Ctl) -> None:
    ran = ctl()
    assert ran.code == 0
    assert "subscribe" in ran.out
    for verb in VERBS:
        assert verb in ran.out
        assert ctl(verb, "--help").code == 0


def test_version_names_itself_and_the_router_and_never_fails(ctl: Ctl, serve: Serve) -> None:
    assert ctl("version").code == 0
    assert "fastroute-router 9" in ctl("version", "--router-url", serve({"/v1/status": status()}).url).out
    assert ctl("--version").out.startswith("fastroute-ctl ")


# Events, wait, resync, completion


def sse(*events: dict[str, Any]) -> tuple[int, str]:
    return 200, ": hello\n\n" + "".join(f"id: 1\ndata: {json.dumps(event)}\n\n" for event in events)


def test_events_of_controller_and_router_come_by_time(ctl: Ctl, serve: Serve) -> None:
    router = serve({"/v1/events?follow=0": sse({"time": 1_800_000_000.5, "kind": "node-new", "key": "foo.com"})})
    note = {"time": "2027-01-15T08:00:00.100Z", "kind": "event", "container": "foo-1", "text": "start"}
    controller = serve({"/v1/events?follow=0": sse(note)})
    urls = ("--router-url", router.url, "--controller-url", controller.url)
    ran = ctl("events", *urls)
    assert [line.split() for line in ran.out.splitlines()] == [
        ["2027-01-15T08:00:00.100Z", "controller", "event", "foo-1", "start"],
        ["2027-01-15T08:00:00.500Z", "router", "node-new", "foo.com"],
    ]
    followed = serve({"/v1/events": sse(note)}).url
    ran = ctl("events", "-f", "-o", "json", "--controller-url", followed)
    event = json.loads(ran.out)
    assert (next(iter(event)), event["schema"], event["program"]) == ("schema", "fastroute.event/v1", "controller")
    assert "can't reach the router" in ran.err


def test_events_of_nobody_are_exit_3(ctl: Ctl) -> None:
    assert ctl("events").code == 3
    assert ctl("events", "-f").code == 3


def test_wait_ends_when_enough_nodes_are_ready_and_exits_6_when_not(ctl: Ctl, serve: Serve) -> None:
    server = serve({"/v1/keys/foo.com/api": {"ready": 1}})
    url = ("--router-url", server.url)
    assert ctl("wait", "Foo.com/api", "--ready", "1", *url).code == 0
    ran = ctl("wait", "foo.com/api", "--ready", "2", "--timeout", "0.1", *url)
    assert ran.code == 6
    assert "has 1" in ran.err
    later = threading.Timer(0.2, server.answers.update, [{"/v1/keys/foo.com/api": {"ready": 2}}])
    later.start()
    assert ctl("wait", "foo.com/api", "--ready", "2", "--timeout", "20", *url).code == 0
    assert ctl("wait", "foo.com", "--ready", "1", "--timeout", "0").code == 3


def test_resync_is_a_json_post_with_the_token(ctl: Ctl, serve: Serve, tmp_path: Path) -> None:
    controller = serve({"/v1/resync": (202, '{"result": "begun"}')})
    (tmp_path / "token").write_text("secret\n")
    ran = ctl("--token-file", str(tmp_path / "token"), "resync", "--controller-url", controller.url)
    assert (ran.code, ran.out) == (0, "begun\n")
    assert controller.asked == [("POST", "/v1/resync", b"{}")]
    controller.answers["/v1/resync"] = (403, '{"error": "not you"}')
    ran = ctl("resync", "--controller-url", controller.url)
    assert (ran.code, ran.err) == (1, "fastroute-ctl: the controller says: not you\n")


def test_shells_complete_verbs(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "_FASTROUTE_CTL_COMPLETE=bash_complete" in ctl("completion", "bash").out
    monkeypatch.setenv("_FASTROUTE_CTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "fastroute-ctl sta")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert ctl().out == "plain,status\n"


def test_shells_complete_keys_containers_and_nodes_and_silence_completes_nothing(
    ctl: Ctl, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def completed(words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        return [line.removeprefix("plain,") for line in ctl().out.split()]

    monkeypatch.setenv("_FASTROUTE_CTL_COMPLETE", "bash_complete")
    assert completed("fastroute-ctl status f") == []
    monkeypatch.setenv(
        "FASTROUTE_ROUTER_URL", serve({"/v1/status": status(("foo.com", [node()]), ("bar.com", []))}).url
    )
    monkeypatch.setenv("FASTROUTE_CONTROLLER_URL", serve({"/v1/containers": CONTAINERS}).url)
    assert completed("fastroute-ctl status f") == ["foo.com"]
    assert completed("fastroute-ctl drain foo") == ["foo-1", "foo.com"]
    assert completed("fastroute-ctl drain foo.com@") == ["foo.com@10.0.0.1:80"]


# Subscribing


@pytest.fixture
def routers() -> Iterator[list[TableServer]]:
    first = TableServer(("127.0.0.1", 0))
    both = [first, TableServer(("127.0.0.2", first.address[1]))]
    yield both
    for one in both:
        one.close()


def test_subscribe_and_unsubscribe_tell_every_address_behind_a_name(
    ctl: Ctl, routers: list[TableServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (f"127.0.0.{n}", routers[0].address[1])) for n in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    server = f"router.internal:{routers[0].address[1]}"
    ran = ctl("subscribe", "Foo.com", "10.0.0.1:80", "--server", server, "--weight", "3")
    assert (ran.code, ran.out.count("subscribed")) == (0, 2)
    assert [one.held for one in routers] == [{("foo.com", "10.0.0.1:80", "", 3, False)}] * 2
    assert ctl("unsubscribe", "foo.com", "10.0.0.1:80", "--server", server).code == 0
    assert [one.held for one in routers] == [set(), set()]


def test_subscribe_by_unix_socket_leaves_nothing_behind(ctl: Ctl, tmp_path: Path) -> None:
    server = TableServer(str(tmp_path / "subscribe.sock"))
    try:
        assert "subscribed" in ctl("subscribe", "foo.com", "10.0.0.1:80", "--server", server.address).out
    finally:
        server.close()
    assert [path.name for path in tmp_path.iterdir()] == ["subscribe.sock"]


def test_subscribe_without_server_tells_the_routers_of_the_controller_beside_it(
    ctl: Ctl, routers: list[TableServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTROUTE_ROUTER", ",".join(f"{one.address[0]}:{one.address[1]}" for one in routers))
    assert ctl("subscribe", "foo.com", "10.0.0.1:80").code == 0
    assert [len(one.held) for one in routers] == [1, 1]


def test_subscribe_exits_0_without_an_ack_and_3_when_nobody_listens(ctl: Ctl) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{mute.getsockname()[1]}"
        ran = ctl("subscribe", "foo.com", "10.0.0.1:80", "--server", server)
        assert ran.code == 0
        assert "no ack" in ran.out
        assert b"foo.com" in mute.recv(2000)
    assert ctl("subscribe", "foo.com", "10.0.0.1:80", "--server", server).code == 3


# Health check


def test_healthcheck_is_0_when_ready_and_1_when_not(ctl: Ctl, serve: Serve) -> None:
    server = serve({"/readyz": (200, "ok\n")})
    assert ctl("healthcheck", "--router-url", server.url).code == 0
    assert ctl("healthcheck", "controller", "--controller-url", server.url).code == 0
    server.answers["/readyz"] = (503, "not ready: draining\n")
    ran = ctl("healthcheck", "--router-url", server.url)
    assert ran.code == 1
    assert "draining" in ran.err
    assert ctl("healthcheck", "router").code == 1


@pytest.mark.parametrize(
    ("words", "admin", "url"),
    [
        (["/opt/bin/python", "/opt/bin/fastroute-controller"], "", "http://127.0.0.1:3034"),
        (["/sbin/docker-init", "--", "fastroute-router"], "/run/admin.sock", "http+unix:///run/admin.sock"),
        (["python3", "-m", "fastroute.router.main", "--admin", ":4000"], "/run/admin.sock", "http://127.0.0.1:4000"),
        (["python3", "/usr/bin/fastroute-router", "--admin=none"], "", None),
        (["python3", "/usr/bin/fastroute-page"], "/run/admin.sock", "http://127.0.0.1:3036"),
        (["python3", "/usr/bin/fastroute-page", "--listen", "0.0.0.0:8081"], "", "http://127.0.0.1:8081"),
    ],
)
def test_healthcheck_finds_the_program_that_runs_here_and_where_its_admin_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], admin: str, url: str | None
) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(b"sleep\0infinity\0")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    monkeypatch.setattr(running, "PROC", tmp_path)
    monkeypatch.setenv("FASTROUTE_ADMIN", admin)
    monkeypatch.setenv("FASTROUTE_ROUTER_URL", "http://elsewhere:1")
    assert healthcheck.find_url(healthcheck.CtlSettings(), None) == url  # type: ignore[attr-defined]


def test_healthcheck_asks_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert healthcheck.ask(f"http+unix://{path}", 2) == ""
        thread.join()
