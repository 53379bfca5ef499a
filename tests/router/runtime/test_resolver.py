"""Names: looked up at once and again, kept while they fail or hang, and none waits for another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.programs import wait_for

from fastroute.router.runtime import resolver as module
from fastroute.router.runtime.resolver import Resolver


class NameServer:
    """What ``getaddrinfo`` says; hosts in ``hangs`` wait until ``release`` is set."""

    def __init__(self) -> None:
        self.ips: dict[str, list[str]] = {}
        self.hangs: set[str] = set()
        self.release = threading.Event()
        self.asked: list[str] = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, host: str, port: object, **_: object) -> list[tuple[Any, ...]]:
        with self._lock:
            self.asked.append(host)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if host in self.hangs:
                self.release.wait(20)
            if host not in self.ips:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in self.ips[host]]
        finally:
            with self._lock:
                self.running -= 1


class Watching:
    """A resolver and what it told, in order."""

    def __init__(self, every: float = 0.01, keep: float = 1e9) -> None:
        self.told: list[tuple[str, tuple[str, ...]]] = []
        self.resolver = Resolver(self._changed, every=every, keep=keep)

    def _changed(self, host: str) -> None:
        self.told.append((host, self.resolver.addresses(host)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(module.socket, "getaddrinfo", server)  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "SLOW_AFTER", 0.02)
    monkeypatch.setattr(module, "SLOW_INTERVAL", 0.01)
    yield server
    server.release.set()


@pytest.fixture
def watching(server: NameServer) -> Iterator[Watching]:
    watching = Watching()
    yield watching
    watching.resolver.close()


def test_a_change_is_told_once_and_a_failure_keeps_the_last_addresses(server: NameServer, watching: Watching) -> None:
    server.ips["a"] = ["10.0.0.2", "10.0.0.1", "10.0.0.1"]
    watching.resolver.watch(["a"])
    wait_for(lambda: len(server.asked) > 5, "looked up again and again")
    assert watching.told == [("a", ("10.0.0.1", "10.0.0.2"))]
    del server.ips["a"]
    asked = len(server.asked)
    wait_for(lambda: len(server.asked) > asked + 5, "again and again")
    assert watching.resolver.addresses("a") == ("10.0.0.1", "10.0.0.2")
    server.ips["a"] = ["10.0.0.3"]
    wait_for(lambda: watching.told[1:] == [("a", ("10.0.0.3",))], "told of the change")


def test_a_name_that_never_came_back_is_given_up_and_so_is_one_that_hangs(server: NameServer) -> None:
    watching = Watching(keep=0.1)
    server.ips |= {"fails": ["10.0.0.1"], "hangs": ["10.0.0.2"], "fine": ["10.0.0.3"]}
    watching.resolver.watch(["fails", "hangs", "fine", "never"])
    wait_for(lambda: len(watching.told) >= 3, "three are known")
    server.hangs.add("hangs")
    del server.ips["fails"]
    gone = [("fails", ()), ("hangs", ()), ("never", ())]
    wait_for(lambda: {*gone} <= {*watching.told}, "given up")
    assert watching.resolver.addresses("fine") == ("10.0.0.3",)
    assert [watching.told.count(one) for one in gone] == [1, 1, 1], "told once"
    server.release.set()
    wait_for(lambda: watching.resolver.addresses("hangs") == ("10.0.0.2",), "it is back")
    watching.resolver.close()


def test_names_that_hang_hold_up_no_other_name(server: NameServer, watching: Watching) -> None:
    hanging = [f"hangs{number}" for number in range(40)]
    server.hangs.update(hanging)
    watching.resolver.watch(hanging)
    wait_for(lambda: server.running == 40, "all hang")
    server.ips |= {f"new{number}": ["10.0.0.1"] for number in range(100)}
    watching.resolver.watch([*hanging, *server.ips])
    wait_for(lambda: len(watching.told) == 100, "all others are looked up", 5)
    for _ in range(3):
        asked = server.asked.count("new99")
        wait_for(lambda: server.asked.count("new99") > asked, "and again")  # noqa: B023


def test_slow_names_have_a_share_of_the_threads_and_there_are_not_more(
    server: NameServer, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_THREADS", 8)
    monkeypatch.setattr(module, "MAX_UNSURE", 6)
    monkeypatch.setattr(module, "MAX_SLOW", 4)
    hanging = [f"hangs{number}" for number in range(30)]
    server.hangs.update(hanging)
    server.ips["fine"] = ["10.0.0.1"]
    watching.resolver.watch(["fine"])
    wait_for(lambda: watching.told, "it is known to be quick")

    def goes_on() -> None:
        asked = server.asked.count("fine")
        wait_for(lambda: server.asked.count("fine") > asked + 3, "one that is quick is looked up all the time", 5)

    watching.resolver.watch(["fine", *hanging])
    wait_for(lambda: server.running >= 6, "as many new ones as there may be")
    goes_on()
    server.release.set()
    wait_for(lambda: {*hanging} <= {*server.asked}, "each has had its turn")
    server.release.clear()
    wait_for(lambda: server.running >= 4, "they hang again")
    goes_on()
    assert server.most <= 8


def test_who_is_watched_no_more_is_looked_up_no_more(server: NameServer, watching: Watching) -> None:
    server.ips |= {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}
    watching.resolver.watch(["a", "b"])
    wait_for(lambda: len(watching.told) == 2, "both are known")
    watching.resolver.watch(["b"])
    assert watching.resolver.addresses("a") == ()
    a, b = server.asked.count("a"), server.asked.count("b")
    wait_for(lambda: server.asked.count("b") > b + 3, "the other is")
    assert server.asked.count("a") <= a + 1


def test_doubt_brings_the_next_look_forward(server: NameServer) -> None:
    watching = Watching(every=1e6)
    server.ips["a"] = ["10.0.0.1"]
    watching.resolver.watch(["a"])
    wait_for(lambda: watching.told, "it is known")
    server.ips["a"] = ["10.0.0.2"]

    for _ in range(3):
        watching.resolver.doubt()
    wait_for(lambda: watching.told[1:] == [("a", ("10.0.0.2",))], "looked up again")
    assert len(server.asked) <= 3
    watching.resolver.close()


def test_idle_names_cost_one_thread(server: NameServer) -> None:
    watching = Watching(every=1e6)
    server.ips |= {f"n{number}": ["10.0.0.1"] for number in range(200)}
    watching.resolver.watch(server.ips)
    wait_for(lambda: len(watching.told) == 200, "all are known")
    wait_for(lambda: watching.resolver._threads == 1, "one thread is left")
    watching.resolver.close()
    wait_for(lambda: watching.resolver._threads == 0, "none is")
