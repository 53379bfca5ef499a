"""Nodes that cannot be reached: marks, retries, fallbacks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle.differences import differs
from oracle.subjects import Named, Pair, both, gets_a_request
from support.programs import free_port
from support.uwsgi_client import request_packet
from support.workers import Worker, closes_early, refused_address, resets

Workers = tuple[Named, Named, Named]


@pytest.fixture(scope="module")
def fallback(abc: Workers) -> Iterator[Pair]:
    with both(["--fallback", abc[2].address], ["--fastrouter-fallback", abc[2].address]) as pair:
        yield pair


def test_a_refusing_node_costs_no_request(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe_in_turn("refusing.example", [refused_address(), abc[0].address])
        assert subject.spread("refusing.example", 10) == {"a": 10}, subject.name


def test_a_node_that_refused_is_marked_and_gets_nothing_until_it_announces_itself(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        port = free_port()
        address = f"127.0.0.1:{port}"
        subject.subscribe_in_turn("marked.example", [address, abc[0].address])
        assert subject.spread("marked.example", 4) == {"a": 4}, subject.name
        assert not any(
            node["name"] == address and not node["death_mark"] for node in subject.pools()["marked.example"]
        ), subject.name
        with socket.create_server(("127.0.0.1", port)) as late:
            for _ in range(4):  # ours would leave a node with many failures alone for a while, but for its announcement
                subject.announce("marked.example", address)
            assert gets_a_request(late, subject, "marked.example"), subject.name


@differs("failed connect")
def test_here_a_node_that_refused_once_is_tried_again_without_an_announcement(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        port = free_port()
        subject.subscribe_in_turn("again.example", [f"127.0.0.1:{port}", abc[0].address])
        assert subject.ask("again.example").node == "a"
        with socket.create_server(("127.0.0.1", port)) as late:
            found = False
            for _ in range(12):  # up to 0.6 s: the first pause is 0.25 s at most a quarter longer
                found = found or gets_a_request(late, subject, "again.example")
            assert found == (subject is plain.ours), subject.name


def test_three_refusing_nodes_and_a_good_one_cost_nothing(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe_in_turn("three.example", [*(refused_address() for _ in range(3)), abc[0].address])
        assert subject.spread("three.example", 5) == {"a": 5}, subject.name


def test_five_refusing_nodes_and_a_good_one_cost_one_request(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe_in_turn("five.example", [*(refused_address() for _ in range(5)), abc[0].address])
        assert subject.ask("five.example").status in (0, 502), subject.name
        assert subject.spread("five.example", 5) == {"a": 5}, subject.name


@pytest.mark.parametrize("kind", ["missing socket", "name", "ipv6"])
@differs("failed connect")
def test_failures_that_are_known_at_once_cost_requests_only_there(
    plain: Pair, abc: Workers, kind: str, tmp_path: Path
) -> None:
    bad = {"missing socket": str(tmp_path / "none"), "name": "nowhere.invalid:80", "ipv6": "[::1]:9"}[kind]
    key = kind.split()[0] + ".example"
    for subject in plain:
        subject.announce(key, bad)
        subject.subscribe(key, abc[0].address)
    assert plain.ours.spread(key, 6) == {"a": 6}
    assert plain.original.spread(key, 6) == {"a": 3, "": 3}, "every second request, for ever"


@differs("a worker that closes without an answer")
def test_a_request_that_changes_nothing_is_sent_once_more_only_here(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        with Worker(closes_early) as mute, Worker(resets) as rude:
            subject.subscribe_in_turn("mute.example", [mute.address, abc[0].address])
            subject.subscribe_in_turn("rude.example", [rude.address, abc[0].address])
            seen = [subject.ask(key).node for key in ("mute.example", "rude.example")]
            assert seen == (["a", "a"] if subject is plain.ours else ["", ""]), subject.name
            posted = subject.ask("mute.example", method="POST", body=b"once")
            assert len(mute.requests) <= 2
            assert posted.status in (0, 200, 502)


def test_a_worker_that_closes_without_an_answer_is_not_marked(plain: Pair) -> None:
    for subject in plain:
        with Worker(closes_early) as mute:
            subject.subscribe("unmarked.example", mute.address)
            for _ in range(3):
                assert subject.ask("unmarked.example", method="POST").node == ""
            assert subject.nodes("unmarked.example") == [mute.address], subject.name
            assert len(mute.requests) == 3, subject.name


def test_the_fallback_answers_when_the_only_node_refuses(fallback: Pair) -> None:
    for subject in fallback:
        subject.subscribe("only.example", refused_address())
        assert subject.ask("only.example").node == "c", subject.name


@differs("fallback")
def test_the_fallback_comes_after_live_nodes_here_and_before_them_there(fallback: Pair, abc: Workers) -> None:
    for subject in fallback:
        subject.subscribe_in_turn("live.example", [refused_address(), abc[0].address])
    assert fallback.ours.ask("live.example").node == "a"
    assert fallback.original.ask("live.example").node == "c"


@differs("fallback")
def test_the_fallback_serves_unknown_keys_here_and_there_only_when_asked_to(fallback: Pair, abc: Workers) -> None:
    assert fallback.ours.ask("unknown.example").node == "c"
    assert fallback.original.ask("unknown.example").status == 0
    ini = ["--fastrouter-fallback", abc[2].address, "--fastrouter-fallback-on-no-key"]
    with both(["--fallback", abc[2].address], ini) as pair:
        for subject in pair:
            assert subject.ask("unknown.example").node == "c", subject.name


@differs("no worker can answer")
def test_who_cannot_be_served_is_told_why_here_and_nothing_there(plain: Pair) -> None:
    for subject in plain:
        subject.subscribe("dead.example", refused_address())
        with Worker(closes_early) as mute:
            subject.subscribe("breaks.example", mute.address)
            statuses = [
                subject.ask("unknown.example").status,
                subject.ask("dead.example").status,
                subject.ask("dead.example").status,
                subject.ask("breaks.example", method="POST").status,
                subject.ask(None, SERVER_NAME="").status,
            ]
        assert statuses == ([404, 502, 503, 502, 400] if subject is plain.ours else [0] * 5), subject.name


@differs("no worker can answer")
def test_time_outs_are_504_here_and_silence_there(abc: Workers) -> None:
    options = (["--timeout", "1"], ["--fastrouter-timeout", "1"])
    with both(*options) as pair:
        for subject in pair:
            subject.subscribe("slow.example", abc[0].address)
            abc[0].go.clear()
            client = subject.connect(request_packet("slow.example"))
            answer = client.recv(1000)
            client.close()
            abc[0].go.set()
            assert answer[:12] == (b"HTTP/1.1 504" if subject is pair.ours else b""), subject.name
