"""Router and worker on two networks, as two hosts: names that come later, interfaces by name, addresses that change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.announcing import CTL, listener
from support.programs import Program, wait_for

#: The router is 10.99.7.1 on "front"; the worker's network has "back". Names come from a file of ours.
NETWORK = """
    cd "$0" && mount --bind hosts /etc/hosts && mount --bind nsswitch.conf /etc/nsswitch.conf &&
    ip link set lo up && ip link add front type veth peer name back &&
    ip address add 10.99.7.1/24 dev front && ip link set front up &&
    unshare --net sh -c 'echo $$ > worker.pid; until ip link show back >/dev/null 2>&1; do sleep 0.05; done
        ip link set lo up; ip address add 10.99.7.2/24 dev back; ip link set back up; exec "$0" "$@"' "$@" &
    until [ -s "$0/worker.pid" ]; do sleep 0.05; done
    ip link set back netns "$(cat "$0/worker.pid")" &&
    exec fastroute-router --listen "$0/front.sock" --subscription-server 0.0.0.0:3031 --log-format text \\
        --subscription-allow 10.99.7.0/24 --admin none
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    yield tmp_path
    if (tmp_path / "worker.pid").exists():
        subprocess.run(["kill", "-9", (tmp_path / "worker.pid").read_text().strip()], capture_output=True)


def start(host: Path, address: str) -> Program:
    command = [*listener(host)]
    script = Path(command[1])
    script.write_text(script.read_text().replace('"127.0.0.1"', '"0.0.0.0"'))
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}
    return Program(
        "unshare", "--net", "--mount", *user, "sh", "-c", NETWORK, str(host), CTL, "announce", "--log-format", "text",
        "--router", "router.internal:3031", "--key", "foo.com", "--address", address, "--", *command, env=path,
    )  # fmt: skip


def in_workers_network(host: Path, *command: str) -> None:
    pid = (host / "worker.pid").read_text().strip()
    subprocess.run(["nsenter", "--target", pid, "--net", *command], check=True, capture_output=True)


def name(host: Path) -> None:
    with (host / "hosts").open("a") as hosts:
        hosts.write("10.99.7.1 router.internal\n")


def test_a_router_by_a_name_that_comes_later_and_an_address_that_changes(host: Path) -> None:
    with start(host, "back:0") as program:
        program.wait_line("router router.internal does not resolve")
        assert "new node" not in program.output()
        name(host)
        program.wait_line("foo.com => new node: 10.99.7.2:")
        program.wait_line("router.internal:3031 (10.99.7.1:3031): announced and acked")
        in_workers_network(host, "ip", "address", "del", "10.99.7.2/24", "dev", "back")
        in_workers_network(host, "ip", "address", "add", "10.99.7.3/24", "dev", "back")
        program.wait_line("foo.com => new node: 10.99.7.3:")


def test_port_alone_is_the_ip_that_the_router_sees(host: Path) -> None:
    name(host)
    with start(host, ":8000") as program:
        program.wait_line("foo.com => new node: 10.99.7.2:8000")
        subprocess.run(["kill", (host / "worker.pid").read_text().strip()], check=True)
        program.wait_line("node removed: 10.99.7.2:8000 (withdrawn)")
        wait_for(lambda: "the command ended with 7" in program.output(), "the command ended")
