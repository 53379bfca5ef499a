"""SIGHUP: FILE is read again, what it says now counts, and no request notices."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.programs import Router, UwsgiWorker, free_port, listens, wait_for
from support.survival import Held, Load, children
from support.uwsgi_client import ask, send_datagram, subscription_packet


@pytest.fixture(scope="module")
def worker() -> Iterator[UwsgiWorker]:
    with UwsgiWorker("one") as worker:
        yield worker


class Reloading:
    """A router with a FILE that is written anew and read again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "router.yaml"
        self.port, self.admin_port = free_port(), free_port()
        self.options: dict[str, Any] = {
            "listen": [f"127.0.0.1:{self.port}", str(folder / "front.sock")],
            "subscription-server": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin_port}",
            "log-format": "text",
            # The worker announces itself once; a busy machine takes longer than 25 s.
            "tolerance": 1000,
        }
        self.times = 0
        self.write()
        # The flags of Router would win over FILE.
        self.router = Router.from_file(self.file, self.port, self.admin_port)

    def write(self, **changed: Any) -> None:
        self.options |= {name.replace("_", "-"): value for name, value in changed.items()}
        self.file.write_text(yaml.safe_dump({"router": self.options}))

    def reload(self, **changed: Any) -> None:
        self.write(**changed)
        self.router.send_signal(signal.SIGHUP)
        self.times += 1
        self.router.wait_for(lambda: self.router.output().count("reloaded: ") == self.times, "it is reloaded")

    def router_object(self) -> dict[str, Any]:
        router: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.admin_port}/v1/status").json()["router"]
        return router

    def ready(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self.admin_port}/readyz").status_code == 200


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.close()


@pytest.fixture
def reloading(tmp_path: Path, worker: UwsgiWorker) -> Iterator[Reloading]:
    one = Reloading(tmp_path)
    with one.router:
        send_datagram(one.port, subscription_packet("foo.com", worker.address))
        wait_for(lambda: ask(one.port, "foo.com").status == 200, "the worker answers")
        yield one


def test_no_request_notices_and_what_was_announced_stays(reloading: Reloading) -> None:
    router = reloading.router
    before = children(router, "relay.main") + children(router, "control.main")
    boot_id = reloading.router_object()["boot_id"]
    with Load(reloading.port, "foo.com") as tcp, Load(reloading.options["listen"][1], "foo.com") as unix:
        for processes in (2, 1, 2):
            reloading.reload(processes=processes)
            tcp.more(100)
            unix.more(100)
    assert set(tcp.seen) | set(unix.seen) == {200}
    wait_for(lambda: len(children(router, "relay.main")) == 2, "the old relays have ended")
    assert not set(before) & set(children(router, "relay.main") + children(router, "control.main"))
    assert reloading.ready()
    shown = reloading.router_object()
    assert shown["boot_id"] == boot_id
    wait_for(lambda: reloading.router_object()["requests"] >= sum(tcp.seen.values()) + sum(unix.seen.values()),
             "numbers go on from what they were")  # fmt: skip
    events = httpx.get(f"http://127.0.0.1:{reloading.admin_port}/v1/events?follow=0").text
    assert events.count("event: node-new") == 1, "what happened before is remembered, and nothing happened again"


def test_options_change_nodes_and_addresses_too(reloading: Reloading, worker: UwsgiWorker, tmp_path: Path) -> None:
    port, admin_port, stats = free_port(), free_port(), str(tmp_path / "stats.sock")
    relays = children(reloading.router, "relay.main")
    reloading.reload(node=f"fixed.com={worker.address}", stats=[stats])
    assert children(reloading.router, "relay.main") == relays, "nothing of a relay's own has changed"
    assert ask(reloading.port, "fixed.com").status == 200
    assert Path(stats).is_socket()
    front = reloading.options["listen"][0]
    reloading.reload(node="none", stats="none", listen=[front, f"127.0.0.1:{port}"], admin=f"127.0.0.1:{admin_port}")
    assert "reloaded: listen, admin, stats, node" in reloading.router.output()
    assert ask(port, "foo.com").status == ask(reloading.port, "foo.com").status == 200
    assert ask(port, "fixed.com").status in (404, 503)
    wait_for(lambda: not listens(reloading.admin_port), "the old admin address is closed")
    assert listens(admin_port)
    assert not Path(stats).exists()
    assert not (tmp_path / "front.sock").exists()


def test_a_request_in_flight_ends_however_long_it_takes(reloading: Reloading, held: Held) -> None:
    reloading.reload(drain_timeout="0", node=f"slow.com={held.address}")
    held.ask(reloading.port, "slow.com")
    # The relay before this one may still be ending.
    wait_for(lambda: len(children(reloading.router, "relay.main")) == 1, "only the relay with the request")
    old = children(reloading.router, "relay.main")
    reloading.reload(timeout="50s")
    reloading.reload(timeout="40s")
    assert ask(reloading.port, "foo.com").status == 200
    assert set(old) < set(children(reloading.router, "relay.main")), "the one with the request is still there"
    held.release()
    assert held.ended() == [200]
    wait_for(lambda: not set(old) & set(children(reloading.router, "relay.main")), "the old relay ends")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"timeot": 3}, r"not reloaded: \S+router.yaml:\d+: 'timeot': unknown option; did you mean timeout\?"),
        ({"listen": ["127.0.0.1:{taken}"]}, r"not reloaded: cannot listen on 127.0.0.1:\d+: .*another process"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(reloading: Reloading, change: dict[str, Any], said: str) -> None:
    taken = free_port()
    with Router("--listen", f"127.0.0.1:{taken}"), Load(reloading.port, "foo.com", threads=1) as load:
        pids = children(reloading.router, "relay.main") + children(reloading.router, "control.main")
        text = yaml.safe_dump({"router": reloading.options | change}).replace("{taken}", str(taken))
        reloading.file.write_text(text)
        reloading.router.send_signal(signal.SIGHUP)
        reloading.router.wait_for(lambda: re.search(said, reloading.router.output()), said)
        load.more(20)
        assert children(reloading.router, "relay.main") + children(reloading.router, "control.main") == pids
    assert set(load.seen) == {200}
    reloading.reload()


def test_what_a_process_has_for_life_is_said_and_kept(reloading: Reloading, tmp_path: Path) -> None:
    reloading.reload(run_dir=str(tmp_path), timeout="50s")
    output = reloading.router.output()
    assert "run-dir: changes only with a restart; stays as it was" in output
    assert "reloaded: timeout" in output


@pytest.mark.parametrize("victim", ["control.main", "relay.main"])
def test_a_child_killed_while_it_takes_over_costs_nothing(reloading: Reloading, victim: str) -> None:
    router = reloading.router
    with Load(reloading.port, "foo.com", threads=2) as load:
        old = children(router, victim)
        reloading.write(timeout="50s")
        router.send_signal(signal.SIGHUP)
        (new,) = wait_for(lambda: [pid for pid in children(router, victim) if pid not in old], "a new one starts")
        os.kill(new, signal.SIGKILL)
        router.wait_for(lambda: re.search(r"not reloaded: its .*killed by signal 9|reloaded: timeout", router.output()),
                        "it is said")  # fmt: skip
        load.more(50)
    assert set(load.seen) == {200}
    wait_for(lambda: len(children(router, "control.main")) == 1 and reloading.ready(), "one control, ready")
    send_datagram(reloading.port, subscription_packet("bar.com", "127.0.0.1:1"))
    wait_for(lambda: ask(reloading.port, "bar.com").status == 502, "control takes subscriptions")
