"""Subscription packets: what real workers send, what ours add, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import make_entry

from fastroute.router.protocol.entry import digest_of, encoded_size
from fastroute.router.protocol.subscription import (
    Ack,
    Announcement,
    Entry,
    PacketError,
    decode,
    encode,
    encode_ack,
    encode_plain,
)
from fastroute.router.protocol.wire import decode_vars, encode_packet, encode_vars

names = st.text("abcdefgh0123456789.-", min_size=1, max_size=30).map(lambda text: "k" + text.replace(".", "x"))
entries = st.builds(
    make_entry,
    key=names,
    address=st.sampled_from(["10.0.0.1:80", "[::1]:8000", "/run/a.sock", "web:80"]),
    weight=st.integers(1, 65535),
    backup=st.integers(0, 255),
    modifier1=st.integers(0, 255),
    modifier2=st.integers(0, 255),
    protocol=st.sampled_from(["uwsgi", "http"]),
    algorithm=st.sampled_from(["", "lrc", "wrr"]),
    drain=st.booleans(),
    owner=st.sampled_from(["", "4f1c@2026-01-01T00:00:00.123456789Z"]),
    gone=st.booleans(),
    via=st.sampled_from(["", "0123456789abcdef", "0123456789abcdef,fedcba9876543210"]),
    sessions=st.sampled_from([0.0, 0.5, 60.0]),
).map(lambda entry: entry if entry.drain else replace(entry, sessions=0.0))
announcements = st.builds(
    Announcement,
    op=st.just("nodes"),
    entries=st.lists(entries, min_size=1, max_size=5).map(tuple),
    source=st.sampled_from(["", "controller-1"]),
    instance=st.integers(-1, 2**63 - 1),
    seq=st.integers(-1, 2**63 - 1),
    ack=st.booleans(),
)


def plain(**fields: str) -> bytes:
    return encode_packet(224, 0, encode_vars([(k.encode(), v.encode("latin-1")) for k, v in fields.items()]))


@given(announcements)
def test_a_batch_says_after_the_wire_what_it_said_before(announcement) -> None:
    assert decode(encode(announcement)) == announcement


@given(announcements, entries)
def test_a_plain_packet_says_after_the_wire_what_it_said_before(announcement, entry) -> None:
    got = decode(encode_plain(entry, announcement))
    assert isinstance(got, Announcement)
    assert got.entries == (entry,)
    assert (got.source, got.instance, got.seq, got.ack) == (
        announcement.source,
        announcement.instance,
        announcement.seq,
        announcement.ack,
    )


@pytest.mark.parametrize("op", ["heartbeat", "mark"])
def test_heartbeat_and_mark_carry_count_and_digest(op) -> None:
    sent = Announcement(op, (), "c", 7, 9, True, 3, 10_000, 2**64 - 1)
    assert decode(encode(sent)) == sent


results = st.sampled_from(["applied", "full", "behind", "again", "refused"])
numbers = st.integers(-1, 2**62)


@given(st.builds(Ack, numbers, st.just("00ff"), results, numbers, st.integers(0, 2**31), st.text(max_size=40)))
def test_an_ack_says_after_the_wire_what_it_said_before(ack) -> None:
    assert decode(encode_ack(ack)) == ack


def test_a_batch_has_no_key_or_address_at_the_top_so_that_the_original_ignores_it() -> None:
    block = encode(Announcement(entries=(Entry("a", "1.2.3.4:5"),), source="c", instance=1, seq=1))[4:]
    assert {b"key", b"address"}.isdisjoint(dict(decode_vars(block)))


def test_the_minimum_is_key_and_address_and_a_weight_of_0_means_1() -> None:
    want = Announcement(entries=(Entry("foo.com", "127.0.0.1:1"),))
    assert decode(plain(key="foo.com", address="127.0.0.1:1")) == want
    got = decode(plain(key="foo.com", address="127.0.0.1:1", weight="0"))
    assert isinstance(got, Announcement)
    assert got.entries[0].options.weight == 1


@pytest.mark.parametrize("modifier2", [1, 7, 255])
def test_any_other_modifier2_but_an_acks_is_a_withdrawal(modifier2) -> None:
    packet = bytearray(plain(key="k", address="127.0.0.1:1"))
    packet[3] = modifier2
    got = decode(bytes(packet))
    assert isinstance(got, Announcement)
    assert got.entries[0].gone


def test_keys_are_normalised_and_unknown_names_ignored() -> None:
    got = decode(plain(key="AbC.Example.:80", address="127.0.0.1:1", sni_key="/x", whatever="1"))
    assert isinstance(got, Announcement)
    assert got.entries[0].key == "abc.example:80"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"address": "127.0.0.1:1"}, "bad-key"),
        ({"key": "", "address": "127.0.0.1:1"}, "bad-key"),
        ({"key": "k" * 256, "address": "127.0.0.1:1"}, "bad-key"),
        ({"key": "k" * 2000, "address": "127.0.0.1:1"}, "bad-key"),
        ({"key": "a b", "address": "127.0.0.1:1"}, "bad-key"),
        ({"key": "a\nb", "address": "127.0.0.1:1"}, "bad-key"),
        ({"key": "a"}, "bad-address"),
        ({"key": "a", "address": ""}, "bad-address"),
        ({"key": "a", "address": "x" * 256}, "bad-address"),
        ({"key": "a", "address": "1.2.3.4:80\0"}, "bad-address"),
        ({"key": "a", "address": "1.2.3.4:80", "weight": "many"}, "malformed"),
        ({"key": "a", "address": "1.2.3.4:80", "weight": "-1"}, "malformed"),
        ({"key": "a", "address": "1.2.3.4:80", "modifier1": "256"}, "malformed"),
        ({"key": "a", "address": "1.2.3.4:80", "source": "a b"}, "malformed"),
        ({"key": "a", "address": "1.2.3.4:80", "op": "shutdown"}, "malformed"),
    ],
)
def test_what_is_out_of_range_is_refused_with_a_reason(fields, reason) -> None:
    with pytest.raises(PacketError) as caught:
        decode(plain(**fields))
    assert caught.value.reason == reason


@pytest.mark.parametrize("change", [lambda p: b"\0" + p[1:], lambda p: p + b"x", lambda p: p[:-1], lambda p: b""])
def test_a_wrong_modifier_or_size_is_refused(change) -> None:
    with pytest.raises(PacketError) as caught:
        decode(change(plain(key="k", address="127.0.0.1:1")))
    assert caught.value.reason == "malformed"


@given(st.binary(max_size=200), st.booleans())
def test_any_datagram_is_understood_or_refused_and_nothing_else(data, framed) -> None:
    try:
        decode(encode_packet(224, 0, data) if framed else data)
    except PacketError:
        pass


@given(st.lists(entries, max_size=6), st.randoms())
def test_the_digest_does_not_depend_on_order_but_on_every_entry(some, random) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    assert digest_of(shuffled) == digest_of(some)
    if some:
        assert digest_of(some[1:]) != digest_of(some)


@given(entries)
def test_encoded_size_is_what_an_entry_adds_to_a_packet(entry) -> None:
    one = Announcement(entries=(entry,), source="c", instance=1, seq=1)
    two = Announcement(entries=(entry, entry), source="c", instance=1, seq=1)
    assert len(encode(two)) - len(encode(one)) == encoded_size(entry)
