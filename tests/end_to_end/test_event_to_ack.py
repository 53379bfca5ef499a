"""From Docker's event to the router's ack, drains and routers that were away: controller, router and a fake engine."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from support.fake_docker import FakeDocker, fake_engine
from support.programs import Program, Router, UwsgiFastRouter, free_port, listens, wait_for
from support.uwsgi_client import ask

LABELS = {"fastroute.key": "foo.com", "fastroute.probe": "none"}


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_engine(tmp_path) as engine:
        yield engine


@contextmanager
def controller(docker: FakeDocker, *routers: int, options: tuple[str, ...] = ()) -> Iterator[str]:
    """The URL of its admin, once it is ready."""
    port = free_port()
    told = [*options, *(word for router in routers for word in ("--router", f"127.0.0.1:{router}"))]
    program = str(Path(sys.executable).with_name("fastroute-controller"))
    with Program(program, "--docker-host", docker.url, "--admin", f"127.0.0.1:{port}", *told) as running:
        base = f"http://127.0.0.1:{port}"
        running.wait_for(lambda: listens(port) and httpx.get(f"{base}/readyz").status_code == 200, "ready")
        yield base


def journal(base: str) -> list[dict[str, str]]:
    lines = httpx.get(f"{base}/v1/events?follow=0").text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def nodes(router: Router) -> int:
    keys = httpx.get(f"http://127.0.0.1:{router.admin_port}/v1/status").json()["keys"]
    return sum(len(key["nodes"]) for key in keys)


def test_event_decision_packet_and_ack_stand_in_the_journal_in_this_order(docker: FakeDocker) -> None:
    with Router() as router, controller(docker, router.port) as base:
        wait_for(lambda: "acks" in str(httpx.get(f"{base}/v1/status").json()) and nodes(router) == 0, "first contact")
        one = docker.run("web-1", LABELS)
        wait_for(lambda: nodes(router) == 1, "the node")
        docker.kill(one, 15)
        wait_for(lambda: nodes(router) == 0, "its going")

        def steps() -> list[tuple[str, str]]:
            told = [note for note in journal(base) if note.get("id") == one.id]
            kill = next(number for number, note in enumerate(told) if note["text"] == "kill with signal 15")
            return [(note["kind"], note["text"]) for note in told[kill:]]

        wait_for(lambda: steps()[-1][0] == "ack", "the ack")
        kinds, texts = zip(*steps(), strict=True)
        # The second packet says that the key is still known.
        assert kinds == ("event", "state", "route", "packet", "packet", "ack", "ack")
        assert texts[1:3] == ("ready -> draining: it got its stop signal", f"foo.com => node removed: {address(one)}")
        assert f"router 127.0.0.1:{router.port}: packet " in texts[3]
        assert f": leave foo.com@{address(one)}" in texts[3]
        assert texts[4].endswith(": know foo.com")
        assert all(" applied after " in text for text in texts[5:])


def address(one) -> str:
    return f"{one.networks['bridge']}:8000"


def test_each_router_is_brought_to_the_full_state_and_one_that_comes_back_is_whole_again(docker: FakeDocker) -> None:
    containers = [docker.run(f"web-{number}", LABELS) for number in range(20)]
    with Router() as one, Router() as two, UwsgiFastRouter() as original:
        ports = one.port, two.port, original.port
        with controller(docker, *ports):
            wait_for(lambda: nodes(one) == nodes(two) == 20, "20 nodes at both")
            two.stop()
            docker.kill(containers[0], 15)
            wait_for(lambda: nodes(one) == 19, "19 nodes at the one that is there")
            again = Router("--listen", f"127.0.0.1:{two.port}", "--subscription-server", f"127.0.0.1:{two.port}")
            with again:
                wait_for(lambda: nodes(again) == 19, "the full state at the one that came back", 5)

            def originals() -> int:
                with socket.create_connection(("127.0.0.1", original.stats_port), 5) as stats:
                    data = b"".join(iter(lambda: stats.recv(65_536), b""))
                subscriptions = json.loads(data)["subscriptions"]
                return sum(len(each["nodes"]) for each in subscriptions if each["key"] == "foo.com")

            wait_for(lambda: originals() == 19, "19 nodes at uWSGI's own FastRouter")


class HeldWorker:
    """A worker that answers nobody before :meth:`answer`."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.asked, self._answering = threading.Event(), threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def answer(self) -> None:
        self._answering.set()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            if connection.recv(65_536):
                self.asked.set()
                self._answering.wait(30)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def test_a_drain_counts_what_runs_refuses_what_comes_and_survives_the_controller(
    docker: FakeDocker, tmp_path: Path
) -> None:
    worker, answers = HeldWorker(), []
    docker.run("web-1", LABELS | {"fastroute.port": str(worker.port)}, address="127.0.0.1")
    options = ("--state-dir", str(tmp_path))
    with Router() as router:

        def change(base: str, verb: str) -> list[int]:
            answer = httpx.post(f"{base}/v1/{verb}", json={"target": "web-1"}, timeout=30).raise_for_status()
            return [target["in_flight"] for target in answer.json()["targets"]]

        with controller(docker, router.port, options=options) as base:
            wait_for(lambda: nodes(router) == 1, "the node")
            running = threading.Thread(target=lambda: answers.append(ask(router.port, "foo.com").status))
            running.start()
            assert worker.asked.wait(20)
            assert change(base, "drain") == [1]
            assert ask(router.port, "foo.com").status == 503
            worker.answer()
            running.join(20)
            wait_for(lambda: change(base, "drain") == [0], "no request left")
            assert answers == [200]
        with controller(docker, router.port, options=options) as base:
            wait_for(lambda: change(base, "drain") == [0], "the new controller's own count")
            assert ask(router.port, "foo.com").status == 503
            change(base, "undrain")
            wait_for(lambda: ask(router.port, "foo.com").status == 200, "requests again")
    worker.close()
