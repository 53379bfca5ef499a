"""Under systemd: sockets come from it, it is told when we serve, and the unit files are such that it takes them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.fake_docker import FakeDocker, socket_path
from support.programs import Program, UwsgiWorker, wait_for
from support.survival import children_of
from support.systemd import FakeSystemd
from support.uwsgi_client import ask, send_datagram, subscription_packet

UNITS = Path(__file__).parents[2] / "docs" / "systemd"
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    systemd = FakeSystemd(tmp_path)
    yield systemd
    systemd.close()


def router(systemd: FakeSystemd, *options: str, **environment: str) -> Program:
    return systemd.start_router(*options, NOTIFY_SOCKET=systemd.address, **environment)


def test_it_serves_on_systemds_sockets_and_says_how_it_is(systemd: FakeSystemd) -> None:
    with UwsgiWorker("one") as worker, router(systemd, WATCHDOG_USEC="900000") as first:
        ready = ["READY=1", f"STATUS=serves on 127.0.0.1:{systemd.port}, {systemd.unix}"]
        assert systemd.hears() == ready
        send_datagram(systemd.port, subscription_packet("foo.com", worker.address))
        wait_for(lambda: ask(systemd.port, "foo.com").status == 200, "it serves")
        first.send_signal(signal.SIGHUP)
        reloading, when = systemd.hears()
        assert reloading == "RELOADING=1"
        assert when.startswith("MONOTONIC_USEC=")
        assert systemd.hears() == ready
        first.send_signal(signal.SIGTERM)
        assert systemd.hears() == ["STOPPING=1", "STATUS=draining"]
        assert first.ended() == 0
        # Nobody serves now, and nobody is refused: the sockets are systemd's.
        send_datagram(systemd.port, subscription_packet("foo.com", worker.address))
        with socket.create_connection(("127.0.0.1", systemd.port)), router(systemd):
            assert systemd.hears() == ready
            wait_for(lambda: ask(systemd.port, "foo.com").status == 200, "what waited in the socket counts")


def test_a_unix_admin_socket_of_systemds_may_change_something(systemd: FakeSystemd) -> None:
    program = str(PROGRAMS / "fastroute-router")
    words = ("--listen", "fd://3", "--subscription-server", "fd://4", "--admin", "fd://6")
    with systemd.start(program, *words, "--node", "foo.com=10.0.0.1:80", NOTIFY_SOCKET=systemd.address):
        systemd.hears()
        with httpx.Client(transport=httpx.HTTPTransport(uds=systemd.unix), base_url="http://router") as admin:
            assert admin.post("/v1/drain", json={"target": "foo.com"}).status_code == 200


def test_a_control_that_hangs_is_replaced_and_systemd_sees_us_live(systemd: FakeSystemd) -> None:
    with router(systemd, WATCHDOG_USEC="900000") as one:
        systemd.hears()
        (control,) = children_of(one.process.pid, "control.main")
        os.kill(control, signal.SIGSTOP)
        one.wait_line("has been silent for")
        systemd.hears_life()
        wait_for(lambda: [pid for pid in children_of(one.process.pid, "control.main") if pid != control], "a new one")


def test_a_successor_is_the_main_process_from_then_on(systemd: FakeSystemd, tmp_path: Path) -> None:
    with router(systemd, "--run-dir", str(tmp_path), WATCHDOG_USEC="900000") as old:
        ready = systemd.hears()
        old.send_signal(signal.SIGUSR2)
        # Either may be first.
        (main,), again = sorted((systemd.hears(), systemd.hears()), key=len)
        assert again == ready
        pid = int(main.removeprefix("MAINPID="))
        assert old.ended() == 0
        wait_for(lambda: ask(systemd.port, "foo.com").status == 404, "the new one serves")
        systemd.hears_life()
        os.kill(pid, signal.SIGTERM)
        assert systemd.hears()[0] == "STOPPING=1"
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "it ends")


def test_the_controller_says_how_it_is(systemd: FakeSystemd, tmp_path: Path) -> None:
    docker = FakeDocker(socket_path(tmp_path))
    docker.start()
    argv = (str(PROGRAMS / "fastroute-controller"), "--admin", "fd://5", "--docker-host", f"unix://{docker.path}")
    with systemd.start(*argv, NOTIFY_SOCKET=systemd.address) as controller:
        assert systemd.hears() == ["READY=1", "STATUS=watches"]
        controller.send_signal(signal.SIGHUP)
        assert systemd.hears()[0] == "RELOADING=1"
        assert systemd.hears()[0] == "READY=1"
        controller.send_signal(signal.SIGTERM)
        assert systemd.hears()[0] == "STOPPING=1"
        assert controller.ended() == 0
    docker.stop()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt install systemd")
def test_systemd_takes_the_unit_files_and_finds_them_tight(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/local/bin/", f"{PROGRAMS}/"))
    units = sorted(map(str, tmp_path.glob("fastroute-*")))
    assert len(units) == 5
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    for unit in tmp_path.glob("*.service"):
        command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout[-300:]
