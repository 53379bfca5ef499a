"""Joining, leaving, expiring, cheap mode, and what a subscription may say."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from oracle.differences import differs
from oracle.subjects import Held, Named, Pair, Subject, both
from support.programs import wait_for
from support.uwsgi_client import read_answer, request_packet, send_datagram
from support.workers import Worker, answers

from fastroute.router.protocol.wire import encode_packet, encode_vars

Workers = tuple[Named, Named, Named]


@pytest.fixture(scope="module")
def cheap() -> Iterator[Pair]:
    with both(["--cheap"], ["--fastrouter-cheap"]) as pair:
        yield pair


def test_who_left_gets_nothing_and_its_requests_in_flight_finish(plain: Pair, abc: Workers) -> None:
    a, b, _ = abc
    for subject in plain:
        subject.subscribe_in_turn("leave.example", [a.address, b.address])
        with Held(subject, [a]) as held:
            held.more("leave.example", 1)
            subject.unsubscribe("leave.example", a.address)
            assert subject.spread("leave.example", 6) == {"b": 6}, subject.name
            a.go.set()
            assert held.answer().node == "a", subject.name
        subject.subscribe("leave.example", a.address)
        assert subject.spread("leave.example", 10)["a"] >= 4, subject.name


def test_leaving_under_another_key_or_address_changes_nothing(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("stay.example", abc[0].address)
        subject.subscribe("other.example", abc[1].address)
        subject.unsubscribe("stay.example", abc[1].address)
        subject.unsubscribe("other.example", abc[0].address)
        assert subject.spread("stay.example", 4) == {"a": 4}, subject.name
        assert subject.spread("other.example", 4) == {"b": 4}, subject.name


def test_any_modifier2_but_zero_leaves(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("seven.example", abc[0].address)
        block = encode_vars([(b"key", b"seven.example"), (b"address", abc[0].address.encode())])
        send_datagram(subject.port, encode_packet(224, 7, block))
        wait_for(lambda subject=subject: not subject.nodes("seven.example"), f"{subject.name}: it left")


def test_key_and_address_are_enough_and_unknown_names_are_ignored(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        block = encode_vars([(b"key", b"min.example"), (b"address", abc[0].address.encode()), (b"colour", b"blue")])
        send_datagram(subject.port, encode_packet(224, 0, block))
        wait_for(lambda subject=subject: subject.ask("min.example").node == "a", f"{subject.name}: it joined")


def test_noise_as_subscription_hurts_nobody(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        subject.subscribe("noise.example", abc[0].address)
        for noise in (b"", b"\xe0", b"\xe0\x05\x00\x00ab", b"\xff" * 50):
            send_datagram(subject.port, noise)
        assert subject.ask("noise.example").node == "a", subject.name


@differs("a key over 255 bytes, modifier1 not 224, wrong size")
def test_packets_that_are_wrong_are_refused_only_here(plain: Pair, abc: Workers) -> None:
    for subject in plain:
        for number, (modifier1, cut) in enumerate(((0, 0), (224, 9))):
            key = f"wrong{number}.example"
            block = encode_vars([(b"key", key.encode()), (b"address", abc[0].address.encode())])
            packet = bytearray(encode_packet(modifier1, 0, block))
            packet[1] -= cut
            send_datagram(subject.port, bytes(packet))
        subject.settle()
        found = [bool(subject.nodes(f"wrong{number}.example")) for number in range(2)]
        assert found == [subject is plain.original] * 2, subject.name


@differs("`:3031`, `0.0.0.0:3031`, names")
def test_an_address_without_host_is_the_announcers_own_here_and_names_are_resolved(plain: Pair, abc: Workers) -> None:
    port = abc[0].address.split(":")[1]
    for subject in plain:
        for key, address in (("bare.example", f":{port}"), ("any.example", f"0.0.0.0:{port}")):
            subject.announce(key, address)
            subject.settle()
            shown = f"127.0.0.1:{port}" if subject is plain.ours else address
            assert subject.nodes(key) == [shown], subject.name
        subject.announce("name.example", f"localhost:{port}")
    wait_for(lambda: plain.ours.ask("name.example").node == "a", "the name is resolved")
    assert plain.original.ask("name.example").status == 0


@differs("node's modifiers")
def test_the_nodes_modifiers_overwrite_the_requests_and_a_refresh_changes_them_only_here(plain: Pair) -> None:
    for subject in plain:
        with Worker(answers()) as worker:
            subject.subscribe("modifiers.example", worker.address, modifier1=5, modifier2=7)
            request = request_packet("modifiers.example")
            with subject.connect(b"\x09" + request[1:3] + b"\x09" + request[4:]) as client:
                assert read_answer(client).status == 200
            assert worker.requests[0].header == b"\x05" + request[1:3] + b"\x07", subject.name
            subject.announce("modifiers.example", worker.address, modifier1=6, modifier2=8)
            subject.settle()
            assert subject.ask("modifiers.example").status == 200
            changed = (6, 8) if subject is plain.ours else (5, 7)
            assert (worker.requests[1].header[0], worker.requests[1].header[3]) == changed, subject.name


@differs("expiry")
def test_a_silent_node_expires_by_time_here_and_by_traffic_there(abc: Workers) -> None:
    with both(["--tolerance", "1"], ["--subscription-tolerance", "1"]) as pair:
        for subject in pair:
            subject.subscribe("silent.example", abc[0].address)
        joined = time.monotonic()
        wait_for(lambda: not pair.ours.nodes("silent.example"), "it expires here")
        # The original counts whole seconds, and looks when a request comes.
        wait_for(lambda: time.monotonic() > joined + 2.2, "that is over there as well")
        assert pair.original.nodes("silent.example") == [abc[0].address]
        assert [subject.ask("silent.example").node for subject in pair] == ["", ""]
        assert not pair.original.nodes("silent.example")


def test_cheap_without_a_node_clients_wait_and_are_served_when_one_joins(cheap: Pair, abc: Workers) -> None:
    for subject in cheap:
        with subject.connect(request_packet("cheap.example")) as early:
            early.settimeout(0.3)
            with pytest.raises(TimeoutError):
                early.recv(1)
            early.settimeout(10)
            subject.subscribe("cheap.example", abc[0].address)
            assert read_answer(early).node == "a", subject.name
        subject.unsubscribe("cheap.example", abc[0].address)


@differs("cheap mode")
def test_cheap_mode_lets_requests_finish_and_says_503_to_one_that_came_in_part_only_here(
    cheap: Pair, abc: Workers
) -> None:
    packet = request_packet("flight.example")
    for subject in cheap:
        subject.subscribe("flight.example", abc[0].address)
        with Held(subject, abc[:1]) as held, subject.connect(packet[:20]) as half:
            held.more("flight.example", 2)
            subject.unsubscribe("flight.example", abc[0].address)
            abc[0].go.set()
            assert [held.answer().node, held.answer().node] == ["a", "a"], subject.name
            half.sendall(packet[20:])
            assert read_answer(half).status == (503 if subject is cheap.ours else 0), subject.name


@differs("stats")
def test_every_request_is_in_the_stats_whichever_process_served_it_only_here(abc: Workers) -> None:
    with both(["--processes", "2"], ["--fastrouter-processes", "2"]) as pair:
        for subject in pair:
            subject.subscribe("two.example", abc[0].address)

            def counted(subject: Subject = subject) -> int:
                return int(str(subject.pools()["two.example"][0]["requests"]))

            asked = 0
            for _ in range(20):
                clients = [socket.create_connection(("127.0.0.1", subject.port)) for _ in range(10)]
                for client in clients:
                    client.sendall(request_packet("two.example"))
                for client in clients:
                    asked += read_answer(client).status == 200
                    client.close()
                if subject is pair.original and counted() < asked:
                    break
            assert asked > 0
            if subject is pair.ours:
                wait_for(lambda asked=asked: counted() == asked, "all are counted")
            else:
                assert counted() < asked
