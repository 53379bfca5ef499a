"""Processes of the router killed one by one: what is lost is only what the killed one held."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.programs import DEADLINE, Program, Router, UwsgiWorker, listens, wait_for
from support.survival import Load, children, replaced
from support.uwsgi_client import ask, read_answer, request_packet, send_datagram, subscription_packet
from support.workers import Worker, answers


@pytest.fixture
def worker() -> Iterator[UwsgiWorker]:
    with UwsgiWorker("one") as worker:
        yield worker


def join(router: Router, worker: UwsgiWorker) -> None:
    send_datagram(router.port, subscription_packet("foo.com", worker.address))
    wait_for(lambda: ask(router.port, "foo.com").status == 200, "the worker answers")


def test_a_killed_relay_costs_only_what_it_held(worker: UwsgiWorker) -> None:
    with Router("--processes", "2") as router:
        join(router, worker)
        with Load(router.port, "foo.com") as load:
            load.more()
            victim = children(router, "relay.main")[0]
            os.kill(victim, signal.SIGKILL)
            replaced(router, "relay.main", victim)
            load.more(200)
        assert set(load.seen) <= {200, 0}
        assert load.seen[0] <= 4, "at most one request of each client was in flight"
        wait_for(lambda: len(children(router, "relay.main")) == 2, "two relays again")


def test_a_killed_control_costs_nothing_and_its_successor_knows_the_pools(worker: UwsgiWorker) -> None:
    with Router() as router:
        join(router, worker)
        with Load(router.port, "foo.com") as load:
            load.more()
            victim = children(router, "control.main")[0]
            os.kill(victim, signal.SIGKILL)
            replaced(router, "control.main", victim)
            router.wait_line("loaded: 1 nodes of 1 keys")
            url = f"http://127.0.0.1:{router.admin_port}/readyz"
            router.wait_for(lambda: httpx.get(url).status_code == 200, "it is ready: the relays that were there count")
            load.more(200)
        assert set(load.seen) == {200}
        send_datagram(router.port, subscription_packet("bar.com", worker.address))
        wait_for(lambda: ask(router.port, "bar.com").status == 200, "the successor takes subscriptions")


def test_a_killed_master_takes_everything_with_it() -> None:
    with Router() as router:
        wait_for(lambda: children(router, "relay.main") and children(router, "control.main"), "both children run")
        pids = children(router, "relay.main") + children(router, "control.main")
        router.process.kill()
        router.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the children end")
        assert not listens(router.port)


def test_a_restart_serves_at_once_from_the_snapshot(worker: UwsgiWorker, tmp_path: Path) -> None:
    options = ("--state-dir", str(tmp_path), "--tolerance", "1000")
    with Router(*options) as router:
        join(router, worker)
        wait_for((tmp_path / "pools.json").exists, "the snapshot is written")
        wait_for(lambda: b"foo.com" in (tmp_path / "pools.json").read_bytes(), "the snapshot has the key")
        router.process.kill()
        router.process.wait()
    with Router(*options) as router:
        wait_for(lambda: ask(router.port, "foo.com").status == 200, "the worker answers")


def test_while_draining_new_connections_are_refused_and_a_successor_can_take_the_port(worker: UwsgiWorker) -> None:
    with Router("--processes", "2") as router:
        join(router, worker)
        answers: list[int] = []
        slow = threading.Thread(target=lambda: answers.append(ask(router.port, "foo.com", path="/?sleep=3").status))
        slow.start()
        worker.wait_line("a request sleeps")
        router.send_signal(signal.SIGTERM)
        wait_for(lambda: not listens(router.port), "the front is closed", 2)
        with socket.create_server(("127.0.0.1", router.port)):
            assert router.process.poll() is None, "the slow request still runs"
        slow.join()
        assert answers == [200]
        assert router.ended() == 0


def test_a_second_sigterm_ends_at_once(worker: UwsgiWorker) -> None:
    with Router() as router:
        join(router, worker)
        slow = threading.Thread(target=ask, args=(router.port, "foo.com"), kwargs={"path": "/?sleep=5"})
        slow.start()
        worker.wait_line("a request sleeps")
        router.send_signal(signal.SIGTERM)
        router.wait_line("draining: 1 requests in flight")
        router.send_signal(signal.SIGTERM)
        assert router.ended(3) == 1
        slow.join()


def test_who_subscribed_before_we_read_is_served_by_the_first_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as front, socket.socket(type=socket.SOCK_DGRAM) as subscriptions:
        subscriptions.bind(("127.0.0.1", 0))
        for one in (front, subscriptions):
            one.set_inheritable(True)
        with Worker(answers(b"one")) as worker, socket.create_connection(front.getsockname()) as client:
            send_datagram(subscriptions.getsockname()[1], subscription_packet("foo.com", worker.address))
            client.settimeout(DEADLINE)
            client.sendall(request_packet("foo.com"))
            argv = (str(Path(sys.executable).with_name("fastroute-router")), "--admin", "none")
            sockets = ("--listen", f"fd://{front.fileno()}", "--subscription-server", f"fd://{subscriptions.fileno()}")
            with Program(*argv, *sockets, close_fds=False):
                assert read_answer(client).status == 200
