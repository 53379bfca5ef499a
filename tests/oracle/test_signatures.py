"""Signed subscriptions: what both believe, and what somebody without a key can do with a recorded one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle.differences import differs
from oracle.subjects import Pair, both
from support.keys import key_pair, signed, write_public
from support.programs import wait_for
from support.uwsgi_client import send_datagram, subscription_packet


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    keys = tmp_path_factory.mktemp("keys")
    write_keys(keys)
    check = f"sha256:{keys}"
    ours = ["--subscription-sign-check", check, "--subscription-allow", "none"]
    with both(ours, ["--subscriptions-sign-check", check]) as pair:
        yield pair


def write_keys(keys: Path) -> None:
    for name in ("signed.example", "turned.example", "future.example"):
        write_public(keys / f"{name}.pem", key_pair())
    for name in ("percent.example%3A80", "underscore.example_80"):
        write_public(keys / f"{name}.pem", key_pair())


def join(key: str, port: int, stamp: float, number: int = 0) -> bytes:
    return signed(subscription_packet(key, f"127.0.0.1:{port}"), int(stamp), key_pair(number))


def test_the_owner_of_the_key_joins_and_others_do_not(signing: Pair) -> None:
    for subject in signing:
        for packet in (
            subscription_packet("signed.example", "127.0.0.1:1"),
            join("signed.example", 2, time.time(), number=1),
            join("signed.example", 3, time.time()),
        ):
            send_datagram(subject.port, packet)
        wait_for(lambda subject=subject: subject.nodes("signed.example"), "the last one has joined")
        assert subject.nodes("signed.example") == ["127.0.0.1:3"], subject.name


@differs("a recorded signed subscription")
def test_a_recorded_join_is_a_leave_for_the_original_only(signing: Pair) -> None:
    recorded = join("turned.example", 1, time.time())
    for subject in signing:
        send_datagram(subject.port, recorded)
        wait_for(lambda subject=subject: subject.nodes("turned.example"), "it has joined")
        send_datagram(subject.port, recorded[:3] + b"\x01" + recorded[4:])
        send_datagram(subject.port, join("signed.example", 4, time.time()))
        wait_for(lambda subject=subject: "127.0.0.1:4" in subject.nodes("signed.example"), "all is read")
    assert signing.ours.nodes("turned.example") == ["127.0.0.1:1"]
    assert signing.original.nodes("turned.example") == []


@differs("stamps of signed subscriptions")
def test_a_stamp_of_next_year_counts_for_the_original_only(signing: Pair) -> None:
    for subject in signing:
        send_datagram(subject.port, join("future.example", 1, time.time() + 366 * 86_400))
        send_datagram(subject.port, join("signed.example", 5, time.time()))
        wait_for(lambda subject=subject: "127.0.0.1:5" in subject.nodes("signed.example"), "all is read")
    assert signing.ours.nodes("future.example") == []
    assert signing.original.nodes("future.example") == ["127.0.0.1:1"]


@differs("the public key of `a.b:80`")
def test_the_file_of_a_key_with_a_port_has_another_name_here(signing: Pair) -> None:
    for subject in signing:
        for host in ("percent.example:80", "underscore.example:80"):
            send_datagram(subject.port, join(host, 1, time.time()))
        send_datagram(subject.port, join("signed.example", 6, time.time()))
        wait_for(lambda subject=subject: "127.0.0.1:6" in subject.nodes("signed.example"), "all is read")
    assert signing.ours.nodes("percent.example:80") == ["127.0.0.1:1"]
    assert signing.ours.nodes("underscore.example:80") == []
    assert signing.original.nodes("percent.example:80") == []
    assert signing.original.nodes("underscore.example:80") == ["127.0.0.1:1"]
