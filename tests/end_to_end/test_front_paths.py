"""Paths with several slashes: workers get them as they came, and they pass by no key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from support.fronts import SHOWS, WAYS, Node, Way
from support.nginx_mode import PROGRAMS
from support.workers import Worker


@dataclass
class Site:
    """nginx with keys for a.test, a path of it and a port of it; names of workers by address."""

    way: Way
    protocol: str
    names: dict[str, str]

    def served(self, target: str, host: str = "a.test") -> tuple[str, str]:
        """Whose worker got it, and the path that it saw."""
        seen = self.way.seen(target, f"Host: {host}")
        path = seen["PATH_INFO"] if self.protocol == "uwsgi" else seen["target"].partition("?")[0]
        assert seen["target"] == target
        return self.names[seen["by"]], path


@pytest.fixture(scope="module", params=[(*way, program) for way in WAYS for program in PROGRAMS], ids="-".join)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    mode, protocol, program = request.param
    with ExitStack() as stack:
        workers = {
            key: stack.enter_context(Worker(SHOWS[protocol]))
            for key in ("a.test", "a.test/admin", "a.test/admin/deep", "a.test:8080", "a.test:8080/admin")
        }
        nodes = [Node(key, worker.address, protocol) for key, worker in workers.items()]
        names = {worker.address: key for key, worker in workers.items()}
        yield Site(stack.enter_context(Way(mode, *nodes, program=program)), protocol, names)


@pytest.mark.parametrize("target", ["/x//y", "//x/y", "///", "/x/y//", "/x//y?u=//a//../b", "/http://x.org//y"])
def test_doubled_slashes_reach_the_worker(site: Site, target: str) -> None:
    assert site.served(target) == ("a.test", target.partition("?")[0])
    assert site.served(target, "a.test:8080") == ("a.test:8080", target.partition("?")[0])


@pytest.mark.parametrize("target", ["//admin/x", "//admin", "/admin//x", "///admin//", "/.//admin/x", "/x/..//admin"])
def test_doubled_slashes_pass_by_no_key(site: Site, target: str) -> None:
    if ".." in target:
        assert site.way.ask(f"GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())[0] == 400
        return
    path = target.replace("/./", "/") if site.protocol == "uwsgi" else target
    assert site.served(target) == ("a.test/admin", path)
    assert site.served(target, "a.test:8080") == ("a.test:8080/admin", path)


def test_doubled_slashes_lead_to_the_longest_key(site: Site) -> None:
    assert site.served("//admin///deep//x") == ("a.test/admin/deep", "//admin///deep//x")


def test_a_slash_in_percent_encoding_is_one_too(site: Site) -> None:
    assert site.served("/%2Fadmin/x")[0] == "a.test/admin"
    assert site.served("/%2F%61dmin%2fx")[0] == "a.test/admin"


@pytest.mark.parametrize("target", ["/x//../admin/y", "/x//%2e./admin", "/x/%2F../admin", "/x/%2e%2E//admin"])
def test_what_could_be_read_in_two_ways_reaches_nobody(site: Site, target: str) -> None:
    assert site.way.ask(f"GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())[0] == 400


def test_more_doubled_slashes_than_nginx_merges_reach_the_same_worker_or_nobody(site: Site) -> None:
    target = "//admin" + "//x" * 20
    status = site.way.ask(f"GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())[0]
    assert status == 400 if site.way.mode == "nginx" else site.served(target) == ("a.test/admin", target)


def test_an_include_that_rewrites_is_heard() -> None:
    with Worker(SHOWS["uwsgi"]) as one, Worker(SHOWS["http"]) as two:
        nodes = [Node("a.test", one.address, "uwsgi"), Node("b.test", two.address, "http")]
        rewrite = "rewrite ^/old/(.*) /new/$1 break;\n"
        includes = {f"{node.key}.location.conf": rewrite for node in nodes}
        with Way("nginx", *nodes, includes=includes) as way:
            assert way.seen("/old//x", "Host: a.test")["PATH_INFO"] == "/new/x"
            assert way.seen("/old//x", "Host: b.test")["target"] == "/new/x"
            assert way.seen("/x//x", "Host: a.test")["PATH_INFO"] == "/x//x"
            assert way.seen("/x//x", "Host: b.test")["target"] == "/x//x"


def test_the_port_in_the_target_finds_the_key_as_that_of_the_host_does(site: Site) -> None:
    for target, host, key in (
        ("http://a.test:8080/x", "a.test", "a.test:8080"),
        ("http://a.test/x", "a.test:8080", "a.test"),
        ("http://a.test:8080//admin", "x.org", "a.test:8080/admin"),
    ):
        assert site.names[site.way.seen(target, f"Host: {host}")["by"]] == key


def test_a_request_without_a_host_is_400(site: Site) -> None:
    assert site.way.ask(b"GET / HTTP/1.0\r\n\r\n")[0] == 400
    assert site.way.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")[0] == 400
