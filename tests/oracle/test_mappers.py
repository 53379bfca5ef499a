"""What only a uWSGI INI can say: one file, read by both, with ports from the environment."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from oracle.differences import differs
from oracle.subjects import Named, Pair, Subject
from support.programs import Program, UwsgiFastRouter, free_port, listens, wait_for
from support.uwsgi_client import ask, read_answer, request_packet, send_datagram, subscription_packet
from support.workers import refused_address

pytestmark = pytest.mark.timeout(120)

HEAD = """
[uwsgi]
; Debian's uWSGI has the FastRouter as a plugin
plugins = fastrouter
master = true
shared-socket = 127.0.0.1:$(FRONT)
fastrouter = =0
fastrouter-stats = 127.0.0.1:$(STATS)
"""
SUBSCRIPTIONS = "fastrouter-subscription-server = 127.0.0.1:$(FRONT)\n"


@contextmanager
def started(directory: Path, *lines: str, **environ: str) -> Iterator[Pair]:
    """Both routers from the same file."""
    file = directory / "router.ini"
    file.write_text(HEAD + "\n".join(lines) + "\n")
    ports = [{"FRONT": str(free_port()), "STATS": str(free_port())} for _ in range(2)]
    ours = str(Path(sys.executable).with_name("fastroute-router"))
    with (
        Program(ours, str(file), env=environ | ports[0] | {"FASTROUTE_ADMIN": "none"}) as router,
        Program("uwsgi", "--ini", str(file), env=environ | ports[1]) as original,
    ):
        for program, port in zip((router, original), ports, strict=True):
            program.wait_for(lambda port=port: all(listens(int(one)) for one in port.values()), "it listens")  # type: ignore[misc]
        yield Pair(*(
            Subject(name, int(port["FRONT"]), int(port["STATS"]))
            for name, port in zip(("ours", "the original"), ports, strict=True)
        ))  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "fastrouter-use-base = %(apps)/",
        "fastrouter-use-pattern = %(apps)/%%s",
        "fastrouter-use-pattern = $(HOME_OF)%%s",
    ],
)
def test_a_key_is_the_name_of_a_socket(tmp_path: Path, line: str) -> None:
    home = tmp_path / "apps"
    home.mkdir()
    with (
        Named("a", path=home / "foo.com"),
        Named("b", path=home / "bar.com:8080"),
        Named("c", path=home / "Case.com"),
        started(tmp_path, f"set-placeholder = apps={home}", line, HOME_OF=f"{home}/") as pair,
    ):
        for subject in pair:
            assert subject.ask("foo.com").node == "a", subject.name
            if ":" not in subject.name:
                assert subject.ask("Case.com").node == "c", subject.name
            assert subject.ask("nobody.com").node == "", subject.name
            assert subject.ask(None, SERVER_NAME="foo.com").node == "a", subject.name


@differs("keys in paths")
def test_no_key_leaves_the_directory_here(tmp_path: Path) -> None:
    home = tmp_path / "apps"
    home.mkdir()
    with Named("secret", path=tmp_path / "secret"), started(tmp_path, f"fastrouter-use-base = {home}/") as pair:
        assert pair.ours.ask("../secret").status == 404
        assert pair.original.ask("../secret").node == "secret"


@differs("keys in paths")
def test_a_port_in_the_key_makes_no_address_of_a_path_here(tmp_path: Path) -> None:
    with (
        Named("a", path=tmp_path / "foo.com:8080"),
        Named("b", path=tmp_path / "bar.com"),
        started(tmp_path, f"fastrouter-use-base = {tmp_path}/") as pair,
    ):
        assert pair.ours.ask("foo.com:8080").node == "a"
        assert pair.ours.ask("BAR.com:8080").node == "b"
        assert pair.original.ask("foo.com:8080").node == ""
        assert pair.original.ask("BAR.com:8080").node == ""


def test_static_nodes_take_every_key_and_share_equally(tmp_path: Path) -> None:
    with (
        Named("a") as a,
        Named("b") as b,
        started(tmp_path, *(f"fastrouter-to = {one.address}" for one in (a, b))) as pair,
    ):
        for subject in pair:
            assert subject.spread("any.example", 10) == {"a": 5, "b": 5}, subject.name
            assert subject.ask("other.example").node, subject.name
            assert not subject.ask(None, SERVER_NAME="").node, subject.name


def test_a_static_node_that_refuses_costs_no_request(tmp_path: Path) -> None:
    with (
        Named("a") as a,
        started(tmp_path, f"fastrouter-to = {refused_address()}\nfastrouter-to = {a.address}") as pair,
    ):
        for subject in pair:
            assert subject.spread("any.example", 6) == {"a": 6}, subject.name


def test_dotsplit_finds_the_nearest_domain_in_five_look_ups(tmp_path: Path) -> None:
    with (
        Named("a") as a,
        Named("b") as b,
        Named("c") as c,
        started(tmp_path, SUBSCRIPTIONS + "subscription-dotsplit = true") as pair,
    ):
        for subject in pair:
            for key, worker in ((".example.com", a), (".b.example.com", b), ("plain.org", c), (".net", c)):
                subject.subscribe(key, worker.address)
            for host, node in {
                "x.example.com": "a", "a.b.example.com": "b", "b.example.com": "a", "example.com": "",
                "sub.plain.org": "", "plain.org": "c", "deep.er.example.com": "a",
                "1.2.3.4.net": "c", "1.2.3.4.5.net": "", ".example.com": "a",
            }.items():  # fmt: skip
                assert subject.ask(host).node == node, (subject.name, host)


def test_a_key_that_is_subscribed_here_is_known_at_the_next_router(tmp_path: Path) -> None:
    with (
        Named("a") as a,
        UwsgiFastRouter() as upstream,
        started(tmp_path, SUBSCRIPTIONS, f"fastrouter-resubscribe = 127.0.0.1:{upstream.port}") as pair,
    ):
        next_one = Subject("next", upstream.port, upstream.stats_port)
        for subject in pair:
            subject.subscribe("chain.example", a.address, modifier1=5)
            wait_for(lambda s=subject: next_one.nodes("chain.example") == [f"127.0.0.1:{s.port}"], subject.name)
            (node,) = next_one.pools()["chain.example"]
            assert (node["modifier1"], node["weight"]) == (5, 1), subject.name
            assert next_one.ask("chain.example").node == "a", subject.name
            subject.unsubscribe("chain.example", a.address)
            wait_for(lambda: not next_one.nodes("chain.example"), subject.name)


@differs("resubscription")
def test_one_workers_good_bye_takes_the_key_from_the_next_router_only_there(tmp_path: Path) -> None:
    with (
        Named("a") as a,
        Named("b") as b,
        UwsgiFastRouter() as upstream,
        started(tmp_path, SUBSCRIPTIONS, f"fastrouter-resubscribe = 127.0.0.1:{upstream.port}") as pair,
    ):
        next_one = Subject("next", upstream.port, upstream.stats_port)
        for subject in pair:
            key = f"{subject.port}.example"
            for worker in (a, b):
                subject.subscribe(key, worker.address)
            wait_for(lambda key=key: next_one.nodes(key), subject.name)
            subject.unsubscribe(key, a.address)
            # A datagram that comes after whatever the good-bye caused.
            subject.subscribe("later.example", b.address)
            wait_for(lambda s=subject: f"127.0.0.1:{s.port}" in next_one.nodes("later.example"), subject.name)
            assert next_one.ask(key).node == ("b" if subject is pair.ours else ""), subject.name


@pytest.mark.parametrize("size", [10, 5_000, 300_000])
def test_a_buffered_body_reaches_a_worker_whole_or_not_at_all(tmp_path: Path, size: int) -> None:
    packet = request_packet("post.example", method="POST", body=b"x" * size)
    with Named("a") as a, started(tmp_path, SUBSCRIPTIONS, "fastrouter-post-buffering = 1000") as pair:
        for subject in pair:
            subject.subscribe("post.example", a.address)
            before = len(a.requests)
            with subject.connect(packet[:-1]) as client:
                time.sleep(0.2)  # nothing must happen
                assert len(a.requests) == before, subject.name
                client.sendall(packet[-1:])
                assert read_answer(client).body == b"a %d" % size, subject.name
            with subject.connect(packet[:-1]):
                pass
            assert subject.ask("post.example", method="POST", body=b"").body == b"a 0", subject.name
            assert len(a.requests) == before + 2, subject.name


@differs("names of configured nodes")
def test_a_fallback_and_a_static_node_may_be_names_here(tmp_path: Path) -> None:
    with Named("a") as a:
        named = a.address.replace("127.0.0.1", "localhost")
        with started(tmp_path, f"fastrouter-to = {named}") as pair:
            wait_for(lambda: pair.ours.ask("any.example").node == "a", "the name resolves")
            assert pair.original.ask("any.example").node == ""
        lines = (SUBSCRIPTIONS, f"fastrouter-fallback = {named}", "fastrouter-fallback-on-no-key = true")
        with started(tmp_path, *lines) as pair:
            wait_for(lambda: pair.ours.ask("any.example").node == "a", "the name resolves")
            with pair.original.connect(request_packet("any.example")) as client:
                client.settimeout(0.5)
                # It tries again and again, and never answers.
                with pytest.raises(TimeoutError):
                    read_answer(client)


def test_a_fallback_serves_unknown_keys_when_asked_to(tmp_path: Path) -> None:
    with Named("a") as a, Named("b") as b:
        lines = [SUBSCRIPTIONS, f"fastrouter-fallback = {a.address}"]
        for more in ([], ["fastrouter-fallback-on-no-key = true"]):
            with started(tmp_path, *lines, *more) as pair:
                for subject in pair:
                    subject.subscribe("known.example", b.address)
                    assert subject.ask("unknown.example").node == ("a" if more else ""), subject.name
                    assert subject.ask("known.example").node == "b", subject.name
                    address = refused_address()
                    send_datagram(subject.port, subscription_packet("dead.example", address))
                    wait_for(lambda s=subject: s.nodes("dead.example"), subject.name)
                    assert ask(subject.port, "dead.example").node == "a", subject.name
