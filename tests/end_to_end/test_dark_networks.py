"""A router in a network of its own, in which addresses swallow packets or cannot be reached at all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.programs import Program, wait_for
from support.uwsgi_client import Answer, ask, subscription_packet
from support.workers import Worker, answers

#: 10.77.0.0/24 swallows what is sent there; 10.78.0.0/24 has no route.
NETWORK = """
    ip link set lo up &&
    ip link add dark type veth peer name deaf && ip link set deaf up &&
    ip address add 10.77.0.1/24 dev dark && ip link set dark up &&
    ip neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev dark &&
    ip route add unreachable 10.78.0.0/24 &&
    exec fastroute-router --listen "$0/front" --subscription-server "$0/subscriptions" --admin none --log-format text \\
        --connect-timeout 0.4 --timeout "$1"
"""
#: Run in a network of its own, with the other end of a pair of interfaces: accepts connections and answers none, until
#: it loses its address.
SILENT_WORKER = """
import socket, subprocess, sys
def step(done, *commands):
    for command in commands:
        subprocess.run(command, shell=True, check=True)
    print(done, flush=True)
    sys.stdin.readline()
step("is here")
subprocess.run("ip link set lo up && ip address add 10.79.0.2/24 dev silent && ip link set silent up", shell=True)
listener = socket.create_server(("10.79.0.2", 80))
step("listens")
connections = [listener.accept() for _ in range(2)]
step("has two")
step("is deaf", "ip address flush dev silent")
"""
#: With its other end, which knows where to send packets whether somebody is there or not.
LINK = """
    ip link add here type veth peer name silent address 02:00:00:00:00:03 netns "$0" &&
    ip address add 10.79.0.1/24 dev here && ip link set here up &&
    ip neigh replace 10.79.0.2 lladdr 02:00:00:00:00:03 dev here
"""
SILENT = "10.79.0.2:80"


class DarkRouter(Program):
    """Our router behind unix sockets, which work across networks."""

    def __init__(self, directory: Path, timeout: int = 5) -> None:
        self.front, self._subscriptions = str(directory / "front"), str(directory / "subscriptions")
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}
        super().__init__("unshare", "--net", *user, "sh", "-c", NETWORK, str(directory), str(timeout), env=path)
        self.wait_for(lambda: os.path.exists(self.front) and os.path.exists(self._subscriptions), "it listens")

    def join(self, key: str, address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(subscription_packet(key, address), self._subscriptions)
        self.wait_line(f"{key} => new node: {address}")

    def leave(self, key: str, address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(subscription_packet(key, address, leave=True), self._subscriptions)
        self.wait_line(f"{key} => node removed: {address}")

    def ask(self, key: str, **rest: str | bytes) -> Answer:
        return ask(self.front, key, **rest)


class SilentWorker:
    """A worker that answers nobody, in a network of its own beside that of ``router``."""

    def __init__(self, router: DarkRouter) -> None:
        self._enter = ["nsenter", "--target", f"{router.process.pid}", "--net"]
        if os.geteuid() != 0:
            self._enter += ["--user", "--preserve-credentials"]
        self._env = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        self._process = subprocess.Popen(
            [*self._enter, "unshare", "--net", sys.executable, "-c", SILENT_WORKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._env,
        )  # fmt: skip
        self.expect("is here")
        subprocess.run([*self._enter, "sh", "-c", LINK, f"{self._process.pid}"], check=True, env=self._env)
        self.next("listens")

    def __enter__(self) -> SilentWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def expect(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{line}\n"

    def next(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.expect(line)


@pytest.fixture
def router(tmp_path: Path) -> Iterator[DarkRouter]:
    with DarkRouter(tmp_path) as router:
        yield router


@pytest.mark.parametrize(
    ("dark", "slow"), [("10.77.0.2:80", True), ("10.78.0.2:80", False), ("[2001:db8::1]:80", False)],
    ids=["swallows", "no route", "no IPv6"],
)  # fmt: skip
def test_a_node_in_the_dark_costs_time_and_no_request(
    router: DarkRouter, tmp_path: Path, dark: str, slow: bool
) -> None:
    with Worker(answers(), path=tmp_path / "good") as good:
        router.join("foo.com", dark)
        router.join("foo.com", good.address)
        wait_for(lambda: router.ask("foo.com").status == 200, "it serves")
        seconds = []
        for _ in range(10):
            start = time.monotonic()
            assert router.ask("foo.com", method="POST", body=b"body").status == 200
            seconds.append(time.monotonic() - start)
        router.wait_line(f"foo.com => {dark} ejected")
        assert sum(second > 0.3 for second in seconds) <= 2, "ejected: only trials wait for it"
        # Less than --connect-timeout: another node is there.
        assert slow == ("which is more than is normal there" in router.output())


def test_every_node_in_the_dark_is_502_and_then_503(router: DarkRouter) -> None:
    router.join("foo.com", "10.77.0.2:80")
    router.join("foo.com", "10.78.0.2:80")
    first = wait_for(lambda: (answer := router.ask("foo.com")).status != 404 and answer, "it serves")
    assert isinstance(first, Answer)
    assert (first.status, first.headers["x-fastroute-error"]) == (502, "bad-gateway")
    assert router.ask("foo.com").status == 503


def test_requests_at_a_node_whose_network_is_gone_end_soon_after_it_has_left(tmp_path: Path) -> None:
    """Their connections stand, but nobody answers there any more, and no reset comes."""
    with (
        DarkRouter(tmp_path, timeout=60) as router, SilentWorker(router) as silent,
        Worker(answers(), path=tmp_path / "good") as good, ThreadPoolExecutor(2) as clients,
    ):  # fmt: skip
        router.join("foo.com", SILENT)
        get = clients.submit(router.ask, "foo.com")
        post = clients.submit(router.ask, "foo.com", method="POST", body=b"body")
        silent.next("has two")
        router.join("foo.com", good.address)
        silent.next("is deaf")
        router.leave("foo.com", SILENT)
        start = time.monotonic()
        assert get.result().status == 200, "tried elsewhere"
        assert post.result().status == 502
        assert time.monotonic() - start < 20, "not the 60 s of --timeout"
