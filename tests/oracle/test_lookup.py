"""Which key a request asks for, and whether it is found."""

from __future__ import annotations

from oracle.differences import differs
from oracle.subjects import Named, Pair
from support.programs import wait_for
from support.uwsgi_client import send_datagram, subscription_packet

from fastroute.router.protocol.key import parse_key

Workers = tuple[Named, Named, Named]


def test_the_explicit_key_beats_the_host_and_the_host_the_servers_name(plain: Pair, abc: Workers) -> None:
    a, b, c = abc
    for subject in plain:
        for key, worker in (("explicit.example", a), ("host.example", b), ("server.example", c)):
            subject.subscribe(key, worker.address)
        assert subject.ask("host.example", UWSGI_FASTROUTER_KEY="explicit.example").node == "a", subject.name
        assert subject.ask("host.example", SERVER_NAME="server.example").node == "b", subject.name
        assert subject.ask(None, SERVER_NAME="server.example").node == "c", subject.name


def test_a_key_that_is_not_there_finds_no_similar_one(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("exact.example", abc[0].address)
        for host in ("www.exact.example", "exact.exampl", "exact.example.com", ".exact.example", "example"):
            assert subject.ask(host).node == "", (subject.name, host)


def test_a_port_that_was_subscribed_is_part_of_the_key(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("port.example", abc[0].address)
        subject.subscribe("port.example:8080", abc[1].address)
        assert subject.ask("port.example").node == "a", subject.name
        assert subject.ask("port.example:8080").node == "b", subject.name


@differs("key lookup")
def test_case_port_and_trailing_dot_do_not_matter_here(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("case.example", abc[0].address)
        for host in ("CASE.Example", "case.example:8080", "case.example.", "AbC.example.:80".replace("AbC", "case")):
            assert subject.ask(host).node == ("a" if subject is plain.ours else ""), (subject.name, host)


@differs("key lookup")
def test_wildcards_match_here(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("*.wild.example", abc[0].address)
        assert subject.ask("a.b.wild.example").node == ("a" if subject is plain.ours else ""), subject.name
        assert subject.ask("wild.example").node == "", subject.name


@differs("an empty or overlong host")
def test_an_empty_host_behind_the_servers_name_counts_as_absent_only_here(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("empty.example", abc[0].address)
        answer = subject.ask("", SERVER_NAME="empty.example")
        assert answer.node == ("a" if subject is plain.ours else ""), subject.name


@differs("an empty or overlong host")
def test_a_host_over_255_bytes_is_nobodys_here_and_the_servers_there(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("long.example", abc[0].address)
        answer = subject.ask("x" * 256, SERVER_NAME="long.example")
        assert answer.node == ("" if subject is plain.ours else "a"), subject.name


@differs("key of a host beyond ASCII")
def test_a_host_beyond_ascii_is_found_by_what_browsers_ask_for_only_here(plain: Pair, abc: Workers) -> None:
    written = "bücher.example"
    plain.ours.subscribe(parse_key(written), abc[0].address)
    utf8 = written.encode().decode("latin-1")
    send_datagram(plain.original.port, subscription_packet(utf8, abc[0].address))
    wait_for(lambda: plain.original.nodes(written), "the original serves it")
    assert plain.ours.ask("xn--bcher-kva.example").node == "a"
    assert plain.original.ask("xn--bcher-kva.example").node == ""
