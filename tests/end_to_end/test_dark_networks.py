"""A router in a network of its own, in which addresses swallow packets or cannot be reached at all."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
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
        --connect-timeout 0.4 --timeout 5
"""


class DarkRouter(Program):
    """Our router behind unix sockets, which work across networks."""

    def __init__(self, directory: Path) -> None:
        self.front, self._subscriptions = str(directory / "front"), str(directory / "subscriptions")
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}
        super().__init__("unshare", "--net", *user, "sh", "-c", NETWORK, str(directory), env=path)
        self.wait_for(lambda: os.path.exists(self.front) and os.path.exists(self._subscriptions), "it listens")

    def join(self, key: str, address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(subscription_packet(key, address), self._subscriptions)
        self.wait_line(f"{key} => new node: {address}")

    def ask(self, key: str, **rest: str | bytes) -> Answer:
        return ask(self.front, key, **rest)


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
        assert slow == ("no connection within 0.4 s" in router.output())


def test_every_node_in_the_dark_is_502_and_then_503(router: DarkRouter) -> None:
    router.join("foo.com", "10.77.0.2:80")
    router.join("foo.com", "10.78.0.2:80")
    first = wait_for(lambda: (answer := router.ask("foo.com")).status != 404 and answer, "it serves")
    assert isinstance(first, Answer)
    assert (first.status, first.headers["x-fastroute-error"]) == (502, "bad-gateway")
    assert router.ask("foo.com").status == 503
