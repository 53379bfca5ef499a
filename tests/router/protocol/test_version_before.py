"""The version before this one (extensions 1, without proof, via, or weight 0) and versions to come.

``BEFORE`` is what that version sent, byte by byte: it is never made anew from today's code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry

from fastroute.router.protocol.entry import digest_of
from fastroute.router.protocol.key_state import AnnouncedState
from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.protocol.proof import Prover
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode, encode, encode_ack, encode_plain
from fastroute.router.protocol.wire import decode_vars, encode_packet, encode_vars

FULL = make_entry(
    "foo.com",
    "10.0.0.1:80",
    weight=3,
    backup=1,
    modifier1=5,
    modifier2=2,
    protocol="http",
    algorithm="lrc",
    owner="4e12@1",
)
DRAINED = Entry("foo.com", "10.0.0.2:80", drain=True, owner="c2@1")
KNOWN = Entry("bar.com", owner="c3@1")
GONE = Entry("foo.com", "10.0.0.3:80", owner="c4@1", gone=True)
HEAD = Announcement(source="docker-1", instance=7, seq=9, ack=True)
DIGEST = digest_of((FULL, DRAINED, KNOWN))

BEFORE = {
    "plain": (
        "e0cb000003006b65790700666f6f2e636f6d0700616464726573730b0031302e302e302e313a383009006d6f646966696572"
        "3101003509006d6f646966696572320100320500636f72657301003004006c6f616401003006007765696768740100330600"
        "6261636b7570010031050070726f746f0400687474700400616c676f03006c726305006f776e657206003465313240310700"
        "76657273696f6e0100310600736f757263650800646f636b65722d310800696e7374616e6365010037030073657101003903"
        "0061636b010031"
    ),
    "leave": (
        "e0a6000103006b65790700666f6f2e636f6d0700616464726573730b0031302e302e302e333a383009006d6f646966696572"
        "3101003009006d6f646966696572320100300500636f72657301003004006c6f616401003006007765696768740100310500"
        "6f776e6572040063344031070076657273696f6e0100310600736f757263650800646f636b65722d310800696e7374616e63"
        "650100370300736571010039030061636b010031"
    ),
    "batch": (
        "e0ef0100070076657273696f6e0100310600736f757263650800646f636b65722d310800696e7374616e6365010037030073"
        "6571010039030061636b01003104006e6f6465900003006b65790700666f6f2e636f6d0700616464726573730b0031302e30"
        "2e302e313a383009006d6f6469666965723101003509006d6f646966696572320100320500636f72657301003004006c6f61"
        "64010030060077656967687401003306006261636b7570010031050070726f746f0400687474700400616c676f03006c7263"
        "05006f776e6572060034653132403104006e6f6465750003006b65790700666f6f2e636f6d0700616464726573730b003130"
        "2e302e302e323a383009006d6f6469666965723101003009006d6f646966696572320100300500636f72657301003004006c"
        "6f6164010030060077656967687401003105006f776e65720400633240310500647261696e01003104006e6f64651b000300"
        "6b657907006261722e636f6d05006f776e657204006333403104006e6f6465740003006b65790700666f6f2e636f6d070061"
        "6464726573730b0031302e302e302e333a383009006d6f6469666965723101003009006d6f64696669657232010030050063"
        "6f72657301003004006c6f6164010030060077656967687401003105006f776e65720400633440310400676f6e65010031"
    ),
    "beat": (
        "e0780000070076657273696f6e0100310600736f757263650800646f636b65722d310800696e7374616e6365010037030073"
        "6571010039030061636b01003102006f700900686561727462656174050073696e63650100300500636f756e740100330600"
        "646967657374100031383766343865316135613066376662"
    ),
    "mark": (
        "e0730000070076657273696f6e0100310600736f757263650800646f636b65722d310800696e7374616e6365010037030073"
        "6571010039030061636b01003102006f7004006d61726b050073696e63650100340500636f756e7401003306006469676573"
        "74100030303030303030303030303030303031"
    ),
    "ack": (
        "e0570002070076657273696f6e010031030061636b0100390400626f6f741000303030303030303030303030303066660600"
        "726573756c740600626568696e640800696e7374616e63650100380900696e5f666c69676874010032"
    ),
}
MEANS = {
    "plain": replace(HEAD, entries=(FULL,)),
    "leave": replace(HEAD, entries=(GONE,)),
    "batch": replace(HEAD, entries=(FULL, DRAINED, KNOWN, GONE)),
    "beat": replace(HEAD, op="heartbeat", count=3, digest=DIGEST),
    "mark": replace(HEAD, op="mark", since=4, count=3, digest=1),
    "ack": Ack(9, "00000000000000ff", "behind", 8, 2, ""),
}
NOW = {
    "plain": encode_plain(FULL, HEAD),
    "leave": encode_plain(GONE, HEAD),
    "batch": encode(replace(HEAD, entries=(FULL, DRAINED, KNOWN, GONE))),
    "beat": encode(replace(HEAD, op="heartbeat", count=3, digest=DIGEST)),
    "mark": encode(replace(HEAD, op="mark", since=4, count=3, digest=1)),
    "ack": encode_ack(Ack(9, "00000000000000ff", "behind", 8, 2, "")),
}


@pytest.mark.parametrize("what", BEFORE)
def test_what_the_version_before_sends_means_what_it_meant(what: str) -> None:
    assert decode(bytes.fromhex(BEFORE[what])) == MEANS[what]


@pytest.mark.parametrize("what", BEFORE)
def test_what_it_is_sent_has_what_it_reads_and_besides_only_what_it_ignores(what: str) -> None:
    before, now = bytes.fromhex(BEFORE[what]), NOW[what]
    assert (now[0], now[3]) == (before[0], before[3])
    assert set(decode_vars(before[4:])) <= set(decode_vars(now[4:]))
    names = {name for name, _ in decode_vars(before[4:])}
    for packet in (now, Prover(b"0123456789abcdef").seal(now)):
        added = {name for name, _ in decode_vars(packet[4:])} - names
        assert added <= {b"session", b"nonce", b"hmac"}


def test_a_digest_is_what_it_was_and_a_weight_of_0_counts_as_it_is_read_there() -> None:
    assert f"{DIGEST:016x}".encode() in bytes.fromhex(BEFORE["beat"])
    assert replace(DRAINED, options=NodeOptions(weight=0)).digest() == DRAINED.digest()


@given(st.sampled_from(sorted(BEFORE)), st.integers(2, 9), st.integers(0, 20), st.binary(max_size=40))
def test_names_of_versions_to_come_are_ignored(what: str, version: int, at: int, value: bytes) -> None:
    packet = bytes.fromhex(BEFORE[what])
    pairs = [(n, b"%d" % version if n == b"version" else v) for n, v in decode_vars(packet[4:])]
    pairs.insert(at % (len(pairs) + 1), (b"something-new", value))
    assert decode(encode_packet(packet[0], packet[3], encode_vars(pairs))) == MEANS[what]


@pytest.mark.parametrize("encoding", [encode_plain, lambda entry, head: encode(replace(head, entries=(entry,)))])
def test_wait_and_max_change_nothing_for_a_router_that_does_not_know_them(
    encoding: Callable[[Entry, Announcement], bytes],
) -> None:
    limited = replace(FULL, options=replace(FULL.options, wait=1.5, max=4))
    assert limited.digest() == FULL.digest()
    pairs = decode_vars(encoding(limited, HEAD)[4:])
    block = decode_vars(next((value for name, value in pairs if name == b"node"), encode_vars(pairs)))
    assert (b"wait", b"1.5") in block
    assert (b"max", b"4") in block
    without = decode_vars(encoding(FULL, HEAD)[4:])
    plain = decode_vars(next((value for name, value in without if name == b"node"), encode_vars(without)))
    assert [pair for pair in block if pair[0] not in (b"wait", b"max")] == plain


def test_the_state_of_a_key_is_refused_there_and_never_taken_for_a_node_or_a_known_key() -> None:
    """That version asks each entry for its ``key``, and its answer names what was missing."""
    state = AnnouncedState("paused", seconds=30, stamp=1)
    entry = Entry("foo.com", owner="operator", state=state)
    pairs = decode_vars(encode(replace(HEAD, entries=(entry,)))[4:])
    (block,) = (dict(decode_vars(value)) for name, value in pairs if name == b"node")
    assert not {b"key", b"address", b"op"} & (block.keys() | dict(pairs).keys())
    assert digest_of((FULL, DRAINED, KNOWN)) == DIGEST
