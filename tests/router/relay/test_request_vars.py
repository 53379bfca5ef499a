"""What is read of a request's vars, by one search, is what decoding them all gives, whatever bytes they are."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.ended import NAMES as SHOWN

from fastroute.router.protocol.wire import (
    Pairs,
    WireError,
    decode_vars,
    encode_packet,
    encode_vars,
    find_vars,
    vars_problem,
)
from fastroute.router.relay.vars import LOGGED_VARS, REQUEST_VARS, log_vars, requested_key

KEYS = (b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME")
NAMES = st.sampled_from([*KEYS, *SHOWN, b"PATH_INFO", b"HTTP_HOSTS", b"X" * 20, b"Y" * 63, b"Y" * 64,
                         b"H" * 256, b"H" * (256 + len(b"HTTP_HOST"))])  # fmt: skip
TRAPS = [b"\x09\0HTTP_HOST\x04\0evil", b"HTTP_HOST", b"", b"foo.com", b"\x14\0UWSGI_FASTROUTER_KEY\x01\0a"]
LONG = st.sampled_from([255, 256, 257, 511, 512, 4095, 4096, 5000]).map(lambda size: b"v" * size)
VALUES = st.binary(max_size=40) | st.sampled_from(TRAPS) | LONG
BLOCKS = st.lists(st.tuples(NAMES | st.binary(min_size=1, max_size=30), VALUES), max_size=12)


def assert_found(block: bytes, body: bytes) -> None:
    packet, end = encode_packet(0, 0, block) + body, 4 + len(block)
    try:
        decoded = dict(decode_vars(block))
    except WireError:
        assert find_vars(packet, end, REQUEST_VARS) is None
        assert find_vars(packet, end, LOGGED_VARS) is None
        assert vars_problem(packet, 4, end)
        return
    assert dict(decode_vars(packet, 4, end)) == decoded
    assert not vars_problem(packet, 4, end)
    for wanted in (REQUEST_VARS, LOGGED_VARS):
        values = find_vars(packet, end, wanted)
        assert values == {name: value for name, value in decoded.items() if name in wanted.names}
        assert requested_key(values) == next((decoded[name] for name in KEYS if decoded.get(name)), b"")
    assert log_vars(values) == tuple(decoded.get(name, b"") for name in SHOWN)  # type: ignore[arg-type]


@given(BLOCKS, st.binary(max_size=40))
def test_the_search_finds_what_decoding_finds_whatever_the_values_and_the_body(pairs: Pairs, body: bytes) -> None:
    assert_found(encode_vars(pairs), body)


@given(BLOCKS, st.integers(0, 400), st.binary(max_size=3), st.binary(max_size=40))
@example([(b"HTTP_HOST", b"x")], 11, b"", b"")
def test_the_search_agrees_with_decoding_on_damaged_blocks(pairs: Pairs, at: int, patch: bytes, body: bytes) -> None:
    block = encode_vars(pairs)
    at = min(at, len(block))
    assert_found(block[:at] + patch + block[at + 2 * len(patch) :], body)


@given(BLOCKS, st.integers(0, 30), st.binary(max_size=40))
def test_the_search_agrees_with_decoding_on_blocks_that_stop_early(pairs: Pairs, less: int, body: bytes) -> None:
    block = encode_vars(pairs)
    assert_found(block[: max(0, len(block) - less)], body)


@given(st.binary(max_size=300), st.binary(max_size=20))
@example(b"\0\0\x04\0abcd", b"")
def test_the_search_agrees_with_decoding_on_noise(block: bytes, body: bytes) -> None:
    assert_found(block, body)


def find(*pairs: tuple[bytes, bytes]) -> bytes:
    packet = encode_packet(0, 0, encode_vars(pairs))
    values = find_vars(packet, len(packet), REQUEST_VARS)
    assert values is not None
    return requested_key(values)


def test_precedence_of_the_vars_does_not_depend_on_their_order() -> None:
    host, name, key = (b"HTTP_HOST", b"h"), (b"SERVER_NAME", b"s"), (b"UWSGI_FASTROUTER_KEY", b"k")
    assert find(key, host, name) == find(name, host, key) == b"k"
    assert find(host, name) == find(name, host) == b"h"
    assert find(name) == b"s"
    assert find((b"PATH_INFO", b"/")) == b""


def test_an_empty_host_counts_as_none_wherever_it_stands() -> None:
    host, name = (b"HTTP_HOST", b""), (b"SERVER_NAME", b"s")
    assert find(name, host) == find(host, name) == b"s"


def test_the_last_of_repeated_hosts_counts_as_in_a_wsgi_environment() -> None:
    assert find((b"HTTP_HOST", b"one"), (b"HTTP_HOST", b"two")) == b"two"


def test_a_long_value_is_read_whole() -> None:
    assert find((b"HTTP_COOKIE", b"c" * 4000), (b"HTTP_HOST", b"h" * 300)) == b"h" * 300


@given(BLOCKS, st.integers(0, 400))
def test_the_beginning_of_vars_is_never_taken_for_a_problem(pairs: Pairs, size: int) -> None:
    block = encode_vars(pairs)
    assert not vars_problem(block[:size], 0, len(block))
