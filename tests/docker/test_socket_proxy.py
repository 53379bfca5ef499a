"""The controller's door to Docker passes the listed reads and nothing else, whatever the spelling."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.stack import ROOT, Stack
from support.waiting import wait_for

ASK = """
import json, socket, sys
answers = []
for line in json.load(sys.stdin):
    with socket.create_connection(("socket-proxy", 2375), timeout=10) as link:
        link.sendall(line.encode("latin-1"))
        answers.append(link.makefile("rb").readline().decode("latin-1").strip())
json.dump(answers, sys.stdout)
"""

PASSED = [
    "/_ping",
    "/version",
    "/info",
    "/containers/json",
    "/v1.41/containers/json?all=1",
    "/containers/SELF/json",
    "/networks",
    "/v1.41/networks/bridge",
]

REFUSED = [
    "/",
    "/images/json",
    "/volumes",
    "/secrets",
    "/services",
    "/nodes",
    "/tasks",
    "/swarm",
    "/system/df",
    "/containers/SELF/archive?path=/etc",
    "/containers/SELF/export",
    "/containers/SELF/logs?stdout=1",
    "/containers/SELF/top",
    "/containers/SELF/attach/ws",
    "/containers/SELF/attach/ws?stream=1",
    "/containers/SELF/exec",
    "/containers/SELF/changes",
    "/containers/SELF/stats?stream=0",
    "/v1.41/containers/SELF/archive?path=/",
    "/exec/SELF/json",
    "/containers/json/",
    "//containers/json",
    "/containers//json",
    "/containers/../images/json",
    "/containers/%2e%2e/json",
    "/%2e%2e/images/json",
    "/containers/json/../../images/json",
    "/containers/json%2f..%2f..%2fimages%2fjson",
    "/containers/json;/../../images/json",
    "/containers/SELF/json/../logs?stdout=1",
    "/containers/%6ason",
    "/v1.41/v1.41/version",
    "/v1.41/../images/json",
    "/_ping%00",
    "/networks/a/b",
    "/plugins?/_ping",
]


def ask(stack: Stack, requests: list[str]) -> list[int]:
    """The status of each raw request, sent from the controller's container (the only one that reaches the proxy)."""
    name = stack.containers("controller")[0]
    raw = [request.replace("SELF", name) for request in requests]
    script = f"import io, sys; sys.stdin = io.StringIO({json.dumps(json.dumps(raw))})\n{ASK}"
    answers: list[str] = json.loads(stack.docker("exec", name, "python3", "-c", script))
    return [int(answer.split()[1]) for answer in answers]


def line(path: str, method: str = "GET", *headers: str) -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: docker", "Connection: close", *headers, "", ""])


def test_the_listed_reads_are_passed(stack: Stack) -> None:
    assert dict(zip(PASSED, ask(stack, [line(path) for path in PASSED]), strict=True)) == dict.fromkeys(PASSED, 200)


def test_head_is_passed_where_get_is(stack: Stack) -> None:
    # Docker itself answers a HEAD of anything but /_ping with 404.
    assert set(ask(stack, [line(path, "HEAD") for path in PASSED])) == {200, 404}
    assert ask(stack, [line("/_ping", "HEAD")]) == [200]


def test_every_other_path_is_refused_however_it_is_spelt(stack: Stack) -> None:
    requests = [line(path) for path in REFUSED]
    assert dict(zip(REFUSED, ask(stack, requests), strict=True)) == dict.fromkeys(REFUSED, 403)


# Whatever of Docker's API changes something, and what is a read elsewhere.
POSTS = [
    *("auth", "build", "build/prune", "commit?container=SELF", "configs/create", "containers/create"),
    *("containers/prune", "distribution/x/json", "exec/SELF/start", "exec/SELF/resize", "grpc", "images/create"),
    *("images/load", "images/prune", "networks/create", "networks/prune", "networks/bridge/connect"),
    *("networks/bridge/disconnect", "plugins/pull", "secrets/create", "services/create", "session", "swarm/init"),
    *("swarm/join", "volumes/create", "volumes/prune", "_ping", "version", "info", "events", "containers/json"),
    *("containers/SELF/json", "networks", "networks/bridge"),
    *(f"containers/SELF/{verb}" for verb in (
        "attach", "attach/ws", "exec", "kill", "pause", "rename", "resize", "restart", "start", "stop", "unpause",
        "update", "wait", "copy",
    )),
]  # fmt: skip


def test_every_post_is_refused(stack: Stack) -> None:
    paths = [f"{version}/{path}" for version in ("", "/v1.41") for path in POSTS]
    answers = ask(stack, [line(path, "POST", "Content-Length: 0") for path in paths])
    assert dict(zip(paths, answers, strict=True)) == dict.fromkeys(paths, 405)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X-NEW"])
def test_nothing_but_get_and_head_is_passed(stack: Stack, method: str) -> None:
    paths = ["/containers/json", "/containers/SELF/kill", "/containers/SELF/exec", "/containers/create", "/session"]
    assert set(ask(stack, [line(path, method) for path in paths])) == {405}


def test_what_is_no_request_is_refused_as_well(stack: Stack) -> None:
    raw = [
        line("/_ping", "get"),
        line("/_ping\1"),
        line("/_ping x"),
        line("*"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    assert ask(stack, raw) == [403] * len(raw)


def test_no_other_protocol_and_no_body_is_passed(stack: Stack) -> None:
    requests = [
        line("/containers/json", "GET", "Upgrade: tcp", "Connection: Upgrade"),
        line("/_ping", "GET", "Upgrade: tcp, h2c", "Connection: Upgrade"),
        line("/_ping", "GET", "Content-Length: 5") + "hello",
        line("/_ping", "GET", "Transfer-Encoding: chunked") + "0\r\n\r\n",
    ]
    assert ask(stack, requests) == [403] * 4


def test_the_controller_alone_shares_a_network_with_it(stack: Stack) -> None:
    networks = stack.inspect(stack.containers("socket-proxy")[0])["NetworkSettings"]["Networks"]
    assert len(networks) == 1
    network = json.loads(stack.docker("network", "inspect", next(iter(networks))))[0]
    assert network["Internal"] is True
    members = {member["Name"] for member in network["Containers"].values()}
    assert members == {*stack.containers("socket-proxy"), *stack.containers("controller")}


def test_it_stops_at_once_although_the_event_stream_is_open(stack: Stack) -> None:
    name = stack.containers("socket-proxy")[0]
    stack.docker("stop", "--time", "20", name)
    state = stack.inspect(name)["State"]
    stack.docker("start", name)
    assert state["ExitCode"] != 137, "it had to be killed"


def test_the_next_proxy_keeps_its_socket_when_the_one_before_it_ends(tmp_path: Path) -> None:
    """As in a swarm, where a node that returns starts the next one while this one lingers: nginx removes its socket."""
    path = tmp_path / "api.sock"
    with ExitStack() as stack:
        first = stack.enter_context(proxy_at(path, tmp_path, "first"))
        wait_for(lambda: answer_at(path) == b"first")
        second = stack.enter_context(proxy_at(path, tmp_path, "second"))
        wait_for(lambda: answer_at(path) == b"second")
        first.terminate()
        assert first.wait(20) == 0
        assert answer_at(path) == b"second"
        second.terminate()


@contextmanager
def proxy_at(path: Path, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """start-proxy with an nginx that answers with ``name`` instead of Docker, and without its check."""
    own = folder / name
    own.mkdir()
    (own / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {own}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; client_body_temp_path {own}/1; proxy_temp_path {own}/2; fastcgi_temp_path {own}/3;"
        f" uwsgi_temp_path {own}/4; scgi_temp_path {own}/5;"
        f' server {{ include {own}/listen.conf; return 200 "{name}"; }} }}'
    )
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    for program, script in {"nginx": f"exec {nginx} -e stderr -c {own}/nginx.conf", "engine-ok": "exit 0"}.items():
        (own / program).write_text(f"#!/bin/sh\n{script}\n")
        (own / program).chmod(0o755)
    environ = os.environ | {"PATH": f"{own}:{os.environ['PATH']}", "TMPDIR": f"{own}",
                            "FASTROUTE_PROXY_BIND": f"unix:{path}"}  # fmt: skip
    with subprocess.Popen([ROOT / "compose/socket-proxy/start-proxy"], env=environ) as proxy:
        try:
            yield proxy
        finally:
            proxy.terminate()


def answer_at(path: Path) -> bytes:
    """The body of the answer of whoever listens there; empty: nobody."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        if sock.connect_ex(str(path)):
            return b""
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return sock.makefile("rb").read().partition(b"\r\n\r\n")[2]


def test_it_ends_soon_after_nobody_listens_any_more_to_be_started_with_the_new_socket(tmp_path: Path) -> None:
    """With stand-ins for nginx and its check, as no engine here is restarted under containers."""
    state = tmp_path / "state"
    state.write_text("0")
    for name, script in {"nginx": "exec sleep 60", "engine-ok": f"exit $(cat {state})"}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([ROOT / "compose/socket-proxy/start-proxy"], env=environ, stdout=subprocess.DEVNULL) as proxy:
        try:
            state.write_text("3")
            begun = time.monotonic()
            assert proxy.wait(20) != 0
            assert time.monotonic() - begun < 6
        finally:
            proxy.kill()
