"""At a challenge server nothing but challenges of the announcer's own can be announced."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from fastroute.router.control.auth.challenge_rules import ChallengeRules
from fastroute.router.control.auth.rules import MAX_UNPROVEN, AdmissionRules
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.subscription import Announcement, Entry, PacketError

KEY = "foo.com/.well-known/acme-challenge"
NODE = "/run/certs/challenge.sock"


def reason(entry: Entry, sender: str | None = None, nodes: tuple[str, ...] = (), **head: Any) -> str:
    senders = AdmissionRules(("127.0.0.0/8", "172.20.0.0/16"), lambda address: address.endswith(":3031"))
    rules = ChallengeRules(senders, [parse_address(node) for node in nodes])
    ip = ipaddress.ip_address(sender) if sender else None
    try:
        rules.check_sender(ip)
        rules.check(Announcement(entries=(entry,), **head), ip)
    except PacketError as error:
        return error.reason
    return "admitted"


@pytest.mark.parametrize(
    ("address", "sender", "nodes"),
    [
        (":8089", None, ()),
        ("127.0.0.1:8089", None, ()),
        (":8089", "172.20.0.7", ()),
        ("172.20.0.7:8089", "172.20.0.7", ()),
        (NODE, None, (NODE,)),
        ("certs:8089", None, (NODE, "certs:8089")),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_challenge_of_its_own_is_admitted(
    address: str, sender: str | None, nodes: tuple[str, ...], gone: bool
) -> None:
    assert reason(Entry(KEY, address, gone=gone), sender, nodes) == "admitted"


@pytest.mark.parametrize(
    "key",
    [
        "foo.com",
        "foo.com/.well-known",
        "foo.com/.well-known/acme-challenge/x",
        "*.com/.well-known/acme-challenge",
        "*/.well-known/acme-challenge",
        "foo.com/x/.well-known/acme-challenge",
        "/.well-known/acme-challenge",
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_no_other_key_can_be_taken_or_taken_away(key: str, gone: bool) -> None:
    assert reason(Entry(key, ":8089", gone=gone)) == "not-challenge"
    assert reason(Entry(key, NODE, gone=gone), nodes=(NODE,)) == "not-challenge"


@pytest.mark.parametrize(
    ("address", "sender", "nodes"),
    [
        ("172.20.0.8:8089", None, ()),
        ("172.20.0.8:8089", "172.20.0.7", ()),
        ("127.0.0.1:8089", "172.20.0.7", ()),
        ("certs:8089", None, ()),
        ("/run/x.sock", None, ()),
        ("@x", None, ()),
        (":8089", None, (NODE,)),
        ("127.0.0.1:8089", None, (NODE,)),
        (NODE + "2", None, (NODE,)),
        ("172.20.0.7:8089", "172.20.0.7", (NODE,)),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_no_other_address_can_be_named(address: str, sender: str | None, nodes: tuple[str, ...], gone: bool) -> None:
    assert reason(Entry(KEY, address, gone=gone), sender, nodes) == "foreign-address"


@pytest.mark.parametrize(
    "head",
    [
        {"source": "controller"},
        {"source": "controller", "instance": 1, "seq": 1},
        {"instance": 1},
        {"op": "heartbeat", "source": "controller", "instance": 1},
        {"op": "mark", "source": "controller", "instance": 1},
        {"op": "mark"},
    ],
)
def test_nobody_speaks_as_a_source(head: dict[str, Any]) -> None:
    assert reason(Entry(KEY, ":8089"), **head) == "not-challenge"


def test_nobody_speaks_for_a_container_or_as_a_router() -> None:
    assert reason(Entry(KEY, ":8089", owner="4f5a@2026-01-31T12:00:00Z")) == "not-challenge"
    assert reason(Entry(KEY, ":8089", via="0" * 16)) == "not-challenge"


def test_the_rules_of_all_senders_hold_too() -> None:
    assert reason(Entry(KEY, ":8089"), "10.1.2.3") == "sender"
    assert reason(Entry(KEY, ":3031")) == "own-address"
    assert ChallengeRules(AdmissionRules(()), ()).max_nodes(None) == MAX_UNPROVEN
