"""The program itself: a fake engine on one side, a plain datagram socket for a router on the other."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_docker import fake_engine
from support.programs import Program, free_port, listens, wait_for

from fastroute.controller.decide.messages import Engine
from fastroute.controller.engines import source_name
from fastroute.controller.settings import ControllerSettings
from fastroute.router.protocol.subscription import Announcement, decode

LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none"}


@contextmanager
def controller(*options: str) -> Iterator[tuple[Program, str]]:
    """The program with its admin on loopback: itself and the admin's URL."""
    port = free_port()
    program = [sys.executable, "-c", "from fastroute.controller.main import main; raise SystemExit(main())"]
    with Program(*program, *options, "--admin", f"127.0.0.1:{port}", "--log-format", "text") as running:
        wait_for(lambda: listens(port), "the admin socket")
        yield running, f"http://127.0.0.1:{port}"


@pytest.fixture
def router() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(10)
        yield one


def told(router: socket.socket) -> tuple[str, str, bool]:
    """Key, address and whether it leaves, of the next packet about a node."""
    while True:
        packet = decode(router.recv(65_536))
        if isinstance(packet, Announcement) and packet.entries and packet.entries[0].address:
            (entry,) = packet.entries
            return entry.key, entry.address, entry.gone


def test_a_container_is_announced_withdrawn_and_left_alone_when_the_controller_ends(docker, router) -> None:
    options = ["--docker-host", docker.url, "--router", f"127.0.0.1:{router.getsockname()[1]}"]
    with controller(*options) as (running, base):
        wait_for(lambda: httpx.get(f"{base}/readyz").status_code == 200, "ready")
        one, two = docker.run("web-1", LABELS), docker.run("web-2", LABELS)
        addresses = {f"{each.networks['bridge']}:8000" for each in (one, two)}
        seen: set[Any] = set()
        while seen != {("foo.com", address, False) for address in addresses}:
            seen.add(told(router))
        docker.kill(one, 15)
        while not (packet := told(router))[2]:
            pass
        assert packet == ("foo.com", f"{one.networks['bridge']}:8000", True)
        assert [row["state"] for row in httpx.get(f"{base}/v1/containers").json()["containers"]] == [
            "draining",
            "ready",
        ]
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        router.setblocking(False)
        last = []
        while True:
            try:
                last.append(told(router))
            except BlockingIOError:
                break
        assert ("foo.com", f"{two.networks['bridge']}:8000", True) not in last


def test_two_engines_are_two_sources_and_one_that_is_away_holds_up_no_other(docker, router, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "other").mkdir()
    with fake_engine(elsewhere, "OTHER") as other:
        one, two = docker.run("web-1", LABELS), other.run("web-2", LABELS, address="10.9.9.9")
        other.stop()
        hosts = ["--docker-host", docker.url, "--docker-host", other.url]
        with controller(*hosts, "--router", f"127.0.0.1:{router.getsockname()[1]}") as (_, base):
            assert told(router) == ("foo.com", f"{one.networks['bridge']}:8000", False)
            not_ready = httpx.get(f"{base}/readyz")
            assert (not_ready.status_code, other.url in not_ready.text) == (503, True)
            other.start()
            wait_for(lambda: httpx.get(f"{base}/readyz").status_code == 200, "both engines")
            while told(router) != ("foo.com", f"{two.networks['bridge']}:8000", False):
                pass
            shown = httpx.get(f"{base}/v1/status").json()
            assert [node["container"] for node in shown["keys"][0]["nodes"]] == ["web-2", "web-1"]
            assert len(set(shown["controller"]["sources"])) == 2
            assert [engine["connected"] for engine in shown["controller"]["engines"]] == [True, True]


def test_the_name_is_stable_and_differs_by_engine_and_selection() -> None:
    engine, other = Engine("A", "1", 0, ""), Engine("B", "1", 0, "")
    plain = ControllerSettings()
    names = {
        source_name(plain, engine),
        source_name(plain, other),
        source_name(ControllerSettings(label_prefix="frtest"), engine),
        source_name(ControllerSettings(filter=("a=b",)), engine),
    }
    assert len(names) == 4
    assert source_name(ControllerSettings(), Engine("A", "2", 9, "x")) in names
    named = ControllerSettings(name="me")
    assert source_name(named, engine) == source_name(named, other) == "me"
    assert source_name(named, other, 1).startswith("me-")
    assert source_name(named, other, 1) != source_name(named, engine, 1)
    assert len(source_name(ControllerSettings(name="n" * 64), other, 1)) <= 64


def test_two_urls_of_one_engine_are_warned_of_and_take_nothing_from_each_other(docker, router, tmp_path: Path) -> None:
    (tmp_path / "link.sock").symlink_to(docker.path)
    docker.run("web-1", LABELS)
    hosts = ["--docker-host", docker.url, "--docker-host", f"unix://{tmp_path}/link.sock"]
    with controller(*hosts, "--router", f"127.0.0.1:{router.getsockname()[1]}") as (running, base):
        running.wait_line("are the same Docker engine")
        wait_for(lambda: httpx.get(f"{base}/readyz").status_code == 200, "ready")
        assert len(set(httpx.get(f"{base}/v1/status").json()["controller"]["sources"])) == 2


def test_static_nodes_need_no_docker_and_files_are_read_again_when_they_change(docker, router, tmp_path: Path) -> None:
    file, config = tmp_path / "nodes.yaml", tmp_path / "fastroute.yaml"
    file.write_text("nodes:\n- {key: a.com, address: '10.0.0.1:80'}\n")
    config.write_text("controller:\n  filter: label=team=red\n")
    red, blue = docker.create("red", LABELS | {"team": "red"}), docker.create("blue", LABELS | {"team": "blue"})
    docker.stop()
    options = ["--docker-host", docker.url, "--router", f"127.0.0.1:{router.getsockname()[1]}", "--static", str(file)]
    with controller(str(config), *options) as (running, base):
        assert told(router) == ("a.com", "10.0.0.1:80", False)
        file.write_text("nodes:\n- {key: a.com, address: '10.0.0.2:80'}\n- {key: b.com}\n")
        running.wait_line(f"{file}:3: nodes: address is missing; the nodes of its last good content stay")
        assert f'fastroute_config_last_reload_successful{{file="{file}"}} 0.0' in httpx.get(f"{base}/metrics").text
        file.write_text("nodes:\n- {key: a.com, address: '10.0.0.2:80'}\n")
        seen: set[Any] = set()
        while not {("a.com", "10.0.0.1:80", True), ("a.com", "10.0.0.2:80", False)} <= seen:
            seen.add(told(router))
        docker.start()
        for one in (red, blue):
            docker.start_container(one)

        def containers() -> list[tuple[str, str]]:
            rows = httpx.get(f"{base}/v1/containers").json()["containers"]
            return [(row["name"], row["state"]) for row in rows]

        wait_for(lambda: containers() == [("red", "ready")], "the red one")
        config.write_text("controller:\n  filter: label=team=blue\n  name: other\n")
        wait_for(lambda: containers() == [("blue", "ready")], "the blue one")
        running.wait_line("name changed; that needs a restart")
        running.process.send_signal(signal.SIGHUP)
        wait_for(lambda: running.output().count(f"{file}: 1 nodes") == 3, "SIGHUP reads the file again")
        files = httpx.get(f"{base}/v1/status").json()["controller"]["files"]
        assert files == [{"file": str(one), "ok": True, "problem": None} for one in (file, config)]
