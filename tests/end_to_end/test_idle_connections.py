"""Strangers' idle connections: no process ends by them or stops serving others, and what gave way is counted."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.fake_docker import fake_engine
from support.programs import Controller, Program, Router, UwsgiWorker, free_port, listens, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet

DESCRIPTORS, CONNECTIONS = 300, 320


@pytest.fixture
def stats_port() -> int:
    return free_port()


@pytest.fixture
def router(stats_port: int) -> Iterator[Router]:
    """A router whose processes may have few descriptors."""
    router = Router.__new__(Router)
    router.port, router.admin_port = free_port(), free_port()
    program = str(Path(sys.executable).with_name("fastroute-router"))
    where = ("--listen", f"127.0.0.1:{router.port}", "--subscription-server", f"127.0.0.1:{router.port}",
             "--admin", f"127.0.0.1:{router.admin_port}", "--stats", f"127.0.0.1:{stats_port}")  # fmt: skip
    Program.__init__(router, "prlimit", f"--nofile={DESCRIPTORS}", program, *where, "--log-format=text")
    with router:
        wait_for(lambda: listens(router.port) and listens(router.admin_port), "it listens")
        yield router


def metrics(router: Router | Controller) -> dict[str, float]:
    lines = httpx.get(f"http://127.0.0.1:{router.admin_port}/metrics", timeout=10).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_idle_and_half_sent_connections_to_every_socket_cost_nobody_anything(router: Router, stats_port: int) -> None:
    wait_for(lambda: "serves on" in router.output(), "it serves")
    with UwsgiWorker(["a"]) as worker, contextlib.ExitStack() as stack:  # type: ignore[arg-type]
        for number in range(CONNECTIONS):
            for port, half in ((router.admin_port, b"GET / HTTP/1.1\r\nX: "), (router.port, b"\0"), (stats_port, b"")):
                connection = stack.enter_context(socket.socket())
                connection.settimeout(10)
                connection.connect(("127.0.0.1", port))
                if number % 2:
                    connection.sendall(half)
        send_datagram(router.port, subscription_packet("foo.com", worker.address))
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "a new worker is served")
        found = metrics(router)
        assert found['fastroute_server_connections_ended_total{reason="limit",server="admin"}'] > 100
        wait_for(lambda: metrics(router).get('fastroute_errors_total{kind="gave-way"}'), "it is counted")
        with socket.create_connection(("127.0.0.1", stats_port), 10) as stats:
            assert stats.recv(1) == b"{"
    assert "started again" not in router.output()
    assert "Traceback" not in router.output()


def test_the_controller_goes_on_too(router: Router, tmp_path: Path) -> None:
    with fake_engine(tmp_path) as docker:
        controller = Controller.__new__(Controller)
        controller.admin_port = free_port()
        program = str(Path(sys.executable).with_name("fastroute-controller"))
        where = ("--docker-host", docker.url, "--router", f"127.0.0.1:{router.port}",
                 "--admin", f"127.0.0.1:{controller.admin_port}")  # fmt: skip
        Program.__init__(controller, "prlimit", f"--nofile={DESCRIPTORS}", program, *where, "--log-format=text")
        with controller, contextlib.ExitStack() as stack:
            controller.wait_for(lambda: listens(controller.admin_port), "its admin answers")
            for number in range(CONNECTIONS):
                connection = stack.enter_context(socket.socket())
                connection.settimeout(10)
                connection.connect(("127.0.0.1", controller.admin_port))
                if number % 2:
                    connection.sendall(b"GET / HTTP/1.1\r\nX: ")
            found = metrics(controller)
            assert found['fastroute_server_connections_ended_total{reason="limit",server="admin"}'] > 100
            assert controller.process.poll() is None
            assert "Traceback" not in controller.output()
