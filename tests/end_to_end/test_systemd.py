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

import pytest
from support.fake_docker import FakeDocker, socket_path
from support.programs import Program, UwsgiWorker, wait_for
from support.survival import children_of
from support.uwsgi_client import ask, send_datagram, subscription_packet

UNITS = Path(__file__).parents[2] / "docs" / "systemd"
PROGRAMS = Path(sys.executable).parent
#: What systemd does between fork and exec: the sockets from 3 on, and whose they are.
BOOTSTRAP = """
import os, sys
fds, argv = list(map(int, sys.argv[1].split(","))), sys.argv[2:]
high = [os.dup2(fd, 100 + at) for at, fd in enumerate(fds)]
for at, fd in enumerate(high):
    os.dup2(fd, 3 + at, inheritable=True)
os.environ |= {"LISTEN_FDS": str(len(fds)), "LISTEN_PID": str(os.getpid())}
os.execv(argv[0], argv)
"""


class FakeSystemd:
    """Holds a service's sockets and hears what it says."""

    def __init__(self, folder: Path) -> None:
        self.front = socket.create_server(("127.0.0.1", 0))
        self.port = self.front.getsockname()[1]
        self.subscriptions = socket.socket(type=socket.SOCK_DGRAM)
        self.subscriptions.bind(("127.0.0.1", self.port))
        self.admin = socket.create_server(("127.0.0.1", 0))
        self.address = str(folder / "notify")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(self.address)
        self._notify.settimeout(20)

    def start(self, *argv: str, **environment: str) -> Program:
        fds = [one.fileno() for one in (self.front, self.subscriptions, self.admin)]
        for fd in fds:
            os.set_inheritable(fd, True)
        words = [sys.executable, "-c", BOOTSTRAP, ",".join(map(str, fds)), *argv]
        return Program(*words, env={"NOTIFY_SOCKET": self.address, **environment}, close_fds=False)

    def hears(self) -> list[str]:
        """Lines of the next message that is no mere sign of life."""
        while (lines := self._notify.recv(4096).decode().split("\n")) == ["WATCHDOG=1"]:
            pass
        return lines

    def hears_life(self) -> None:
        while self._notify.recv(4096) != b"WATCHDOG=1":
            pass

    def close(self) -> None:
        for one in (self.front, self.subscriptions, self.admin, self._notify):
            one.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    systemd = FakeSystemd(tmp_path)
    yield systemd
    systemd.close()


def router(systemd: FakeSystemd, *options: str, **environment: str) -> Program:
    argv = (str(PROGRAMS / "fastroute-router"), "--listen", "fd://3", "--subscription-server", "fd://4")
    return systemd.start(*argv, "--admin", "fd://5", "--log-format", "text", *options, **environment)


def test_it_serves_on_systemds_sockets_and_says_how_it_is(systemd: FakeSystemd) -> None:
    with UwsgiWorker("one") as worker, router(systemd, WATCHDOG_USEC="900000") as first:
        ready = ["READY=1", f"STATUS=serves on 127.0.0.1:{systemd.port}"]
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


def test_a_control_that_hangs_is_replaced_and_systemd_sees_us_live(systemd: FakeSystemd) -> None:
    with router(systemd, WATCHDOG_USEC="900000") as one:
        systemd.hears()
        (control,) = children_of(one.process.pid, "control.main")
        os.kill(control, signal.SIGSTOP)
        one.wait_line("has been silent for")
        systemd.hears_life()
        wait_for(lambda: [pid for pid in children_of(one.process.pid, "control.main") if pid != control], "a new one")


def test_the_controller_says_how_it_is(systemd: FakeSystemd, tmp_path: Path) -> None:
    docker = FakeDocker(socket_path(tmp_path))
    docker.start()
    argv = (str(PROGRAMS / "fastroute-controller"), "--admin", "fd://5", "--docker-host", f"unix://{docker.path}")
    with systemd.start(*argv) as controller:
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
    assert len(units) == 3
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    for unit in tmp_path.glob("*.service"):
        command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout[-300:]
