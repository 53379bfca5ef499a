"""The packet codec: every reader gives a value or a WireError, whatever the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.protocol.wire import (
    MAX_BLOCK,
    WireError,
    decode_header,
    decode_vars,
    encode_name,
    encode_packet,
    encode_value,
    encode_vars,
    packet_size,
)

pairs = st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=20)


@given(pairs)
def test_what_is_encoded_is_decoded_with_order_and_repeats(given_pairs) -> None:
    assert decode_vars(encode_vars(given_pairs)) == given_pairs


@given(pairs.filter(bool), st.sampled_from([0, 255, 256, 511, 512, 65_535]))
def test_a_pair_made_of_its_name_and_its_value_is_the_same_pair(given_pairs, size) -> None:
    name, value = given_pairs[0]
    for each in (value, bytes(size)):
        assert encode_name(name) + encode_value(each) == encode_vars([(name, each)])


@given(st.binary(max_size=400))
def test_any_bytes_decode_or_raise_wire_error_and_decoding_loses_nothing(block) -> None:
    try:
        decoded = decode_vars(block)
    except WireError:
        return
    assert encode_vars(decoded) == block


@given(pairs.filter(bool), st.data())
def test_a_block_cut_anywhere_inside_a_pair_is_an_error(given_pairs, data) -> None:
    block = encode_vars(given_pairs)
    ends = {len(encode_vars(given_pairs[:count])) for count in range(len(given_pairs) + 1)}
    cut = data.draw(st.integers(0, len(block)).filter(lambda at: at not in ends))
    with pytest.raises(WireError, match="at byte"):
        decode_vars(block[:cut])


def test_the_header_is_modifier1_size_little_endian_modifier2() -> None:
    assert encode_packet(224, 1, b"x" * 0x0164)[:4] == bytes([0xE0, 0x64, 0x01, 0x01])
    assert decode_header(bytes([0xE0, 0x64, 0x01, 0x01])) == (224, 0x0164, 1)


def test_packet_size_needs_the_header_and_nothing_more() -> None:
    packet = encode_packet(0, 0, b"abc")
    assert [packet_size(packet[:n]) for n in range(6)] == [None, None, None, None, 7, 7]


def test_the_real_workers_packet_reads_as_documented() -> None:
    # As a uWSGI 2.0.31 worker sends it: 2 processes with 3 threads, subscribe-to ...:a.example,5
    want = [
        (b"key", b"a.example"),
        (b"address", b"127.0.0.1:45623"),
        (b"modifier1", b"5"),
        (b"modifier2", b"0"),
        (b"cores", b"6"),
        (b"load", b"0"),
        (b"weight", b"0"),
    ]
    block = b"".join(bytes([len(k), 0]) + k + bytes([len(v), 0]) + v for k, v in want)
    assert len(block) == 0x64
    assert decode_vars(block) == want


@pytest.mark.parametrize("pairs", [[(b"", b"x")], [(b"k", b"x" * (MAX_BLOCK + 1))]])
def test_what_the_format_cannot_hold_is_refused(pairs) -> None:
    with pytest.raises(WireError):
        encode_vars(pairs)


def test_a_block_over_the_limit_is_refused() -> None:
    with pytest.raises(WireError, match="at most 65535"):
        encode_packet(0, 0, b"x" * (MAX_BLOCK + 1))


def test_three_bytes_are_no_packet() -> None:
    with pytest.raises(WireError, match="3 bytes"):
        decode_header(b"abc")
