"""--run-dir: a new router takes over from the one that runs and nobody notices; if it can not, nothing changed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.programs import Nginx, Program, Router, UwsgiWorker, free_port, listens, wait_for
from support.survival import Held, HttpLoad, Load, children, children_of
from support.uwsgi_client import ask, send_datagram, subscription_packet


@pytest.fixture(scope="module")
def worker() -> Iterator[UwsgiWorker]:
    with UwsgiWorker("one") as worker:
        yield worker


class Place:
    """One set of addresses, and the routers that serve there one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.admin_port = folder, free_port(), free_port()
        self.unix = str(folder / "front.sock")
        self.listen: tuple[str, ...] = (f"127.0.0.1:{self.port}", self.unix)
        self.door = folder / "takeover.sock"
        self.routers: list[Router] = []

    def start(self, *options: str, wait: bool = True) -> Router:
        router = Router.at(
            self.port, self.admin_port, *(word for one in self.listen for word in ("--listen", one)),
            "--run-dir", str(self.folder), "--processes", "2", "--listen-mode", "0666", *options,
        )  # fmt: skip
        self.routers.append(router)
        if wait:
            router.wait_line("serves on")
        return router

    def upgrade(self, *options: str) -> Router:
        old = self.routers[-1]
        new = self.start(*options)
        old.wait_line("handed over to the router with pid")
        return new

    def ready(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self.admin_port}/readyz").status_code == 200

    def join(self, worker: UwsgiWorker, key: str = "foo.com") -> None:
        send_datagram(self.port, subscription_packet(key, worker.address))
        wait_for(lambda: ask(self.port, key).status == 200, f"{key} is served")


@pytest.fixture
def place(worker: UwsgiWorker) -> Iterator[Place]:
    # nginx's workers, another user, have to get there.
    folder = Path(tempfile.mkdtemp(prefix="fastroute-place-"))
    folder.chmod(0o755)
    place = Place(folder)
    place.start("--tolerance", "1000")
    place.join(worker)
    yield place
    for router in place.routers:
        router.__exit__()
    shutil.rmtree(folder)


def test_one_router_after_the_other_without_a_failed_request(place: Place) -> None:
    with (
        Nginx(f"127.0.0.1:{place.port}") as tcp, Nginx(f"unix:{place.unix}") as unix,
        HttpLoad(tcp.port, "foo.com", rate=100) as by_tcp, HttpLoad(unix.port, "foo.com", rate=100) as by_unix,
    ):  # fmt: skip
        for _ in range(3):
            old = place.routers[-1]
            new = place.upgrade("--tolerance", "1000")
            assert old.ended() == 0
            by_tcp.more(20)
            by_unix.more(20)
            assert len(children(new, "relay.main")) == 2
        status = httpx.get(f"http://127.0.0.1:{place.admin_port}/v1/status").json()
        assert status["keys"][0]["ready"] == 1
    assert set(by_tcp.seen) | set(by_unix.seen) == {200}
    assert stat.S_IMODE(place.door.stat().st_mode) == 0o600
    assert place.routers[-1].stop() == 0
    assert not place.door.exists()
    assert not Path(place.unix).exists()


def test_the_old_one_finishes_what_it_has_as_long_as_it_may(place: Place) -> None:
    brief, endless = Held(), Held()
    nodes = ("--node", f"brief.com={brief.address}", "--node", f"endless.com={endless.address}")
    old = place.upgrade("--drain-timeout", "5", "--tolerance", "1000", *nodes)
    brief.ask(place.port, "brief.com")
    endless.ask(place.port, "endless.com")
    place.upgrade("--tolerance", "1000")
    assert ask(place.port, "foo.com").status == 200
    brief.release()
    assert brief.ended() == [200]
    assert endless.ended() == [0], "cut off when the old one's time is over"
    assert old.ended() == 0
    brief.close()
    endless.close()


def test_addresses_may_come_and_go(place: Place, worker: UwsgiWorker) -> None:
    port, path, gone = free_port(), str(place.folder / "new.sock"), place.unix
    place.listen = (f"localhost:{place.port}", path, f"127.0.0.1:{port}")
    place.upgrade("--listen-mode", "0600", "--tolerance", "1000")
    for address in (place.port, port, path):
        assert ask(address, "foo.com").status == 200
    assert not Path(gone).exists()
    place.listen = (f"127.0.0.1:{place.port}", path)
    place.upgrade()
    wait_for(lambda: not listens(port), "the address that is gone is closed")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o666
    place.join(worker, "bar.com")


def failed(place: Place, router: Program, code: int, said: str) -> None:
    assert router.ended() == code
    assert said in router.output()
    old = place.routers[0]
    assert old.process.poll() is None
    wait_for(place.ready, "the old one is ready")
    assert ask(place.port, "foo.com").status == ask(place.unix, "foo.com").status == 200


def test_one_that_can_not_serve_leaves_the_old_one_alone(place: Place) -> None:
    with Load(place.port, "foo.com", threads=1) as load:
        failed(place, place.start("--timeot", "3", wait=False), 2, "did you mean --timeout?")
        with Router() as other:
            taken = f"127.0.0.1:{other.port}"
            failed(place, place.start("--listen", taken, wait=False), 1, f"cannot listen on {taken}")
        nowhere = str(place.folder / "missing" / "stats.sock")
        failed(place, place.start("--stats", nowhere, wait=False), 1, f"cannot listen on {nowhere}")
        load.more(20)
    assert set(load.seen) == {200}


def test_in_another_network_it_opens_ports_of_its_own(place: Place) -> None:
    options = ("--listen", f"127.0.0.1:{place.port}", "--listen", place.unix, "--listen-mode", "0666",
               "--subscription-server", "none", "--admin", "none", "--run-dir", str(place.folder))  # fmt: skip
    words = shlex.join([str(Path(sys.executable).with_name("fastroute-router")), *options, "--log-format", "text"])
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    with Program("unshare", "--net", *user, "sh", "-c", f"ip link set lo up && exec {words}") as new:
        new.wait_line("serves on")
        assert place.routers[0].ended() == 0
        assert ask(place.unix, "foo.com").status in (502, 504), "the pools are there, the worker is in another network"
        assert not listens(place.port), "the port is not that of this network"


def test_who_speaks_otherwise_is_told_so(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.settimeout(10)
        other.connect(str(place.door))
        other.send(json.dumps({"hello": 99, "version": "9.9"}).encode())
        assert "version 9.9 has another hand-over protocol" in json.loads(other.recv(1000))["error"]
    for message in (b"", b"{", b"[1]", b'{"word": "ready"}', b'{"word": 7}', b'{"hello": null}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.connect(str(place.door))
            other.send(message)
    assert place.upgrade() is place.routers[-1]


def test_who_knocks_and_says_nothing_keeps_nobody_out(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(place.door))
        assert place.upgrade() is place.routers[-1]


def test_a_socket_that_nobody_listens_on_is_no_router(place: Place, worker: UwsgiWorker) -> None:
    place.routers[-1].process.kill()
    place.routers[-1].process.wait()
    assert place.door.exists()
    place.start()
    place.join(worker)


@pytest.mark.parametrize("victim", ["new", "its control", "its relay"])
@pytest.mark.parametrize("after", [0.03, 0.1])
def test_a_new_one_that_is_killed_on_the_way_costs_what_it_held(place: Place, victim: str, after: float) -> None:
    with Load(place.port, "foo.com", threads=3) as load:
        new = place.start("--tolerance", "1000", wait=False)
        new.wait_line("taking over")
        threading.Event().wait(after)
        pids = {"new": [new.process.pid], "its control": children_of(new.process.pid, "control.main"),
                "its relay": children_of(new.process.pid, "relay.main")}[victim]  # fmt: skip
        for pid in pids[:1]:
            os.kill(pid, signal.SIGKILL)
        old = place.routers[0]
        wait_for(lambda: "serves on" in new.output() or "did not take over" in old.output(), "it is decided")
        if "serves on" in new.output() and victim == "new":
            assert new.ended() == -signal.SIGKILL
            load.end()
            return
        load.more(50)
        wait_for(place.ready, "one is ready")
    assert set(load.seen) <= {200, 0}
    assert load.seen[0] <= 3, "at most one request of each client was in flight"


@pytest.mark.parametrize("after", [0.1, 0.3])
def test_an_old_one_that_is_killed_on_the_way_costs_what_it_held(place: Place, after: float) -> None:
    with Load(place.port, "foo.com", threads=3) as load:
        new = place.start("--tolerance", "1000", wait=False)
        new.wait_line("taking over")
        threading.Event().wait(after)
        place.routers[0].process.kill()
        new.wait_line("serves on")
        load.more(50)
    assert set(load.seen) <= {200, 0}
    assert load.seen[0] <= 3 * 2, "at most one request of each client was in flight, in each of the two old relays"
    assert place.ready()
