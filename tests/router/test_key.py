"""Keys: as written, as asked for, as looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.key import (
    KeyProblem,
    dotsplits,
    normalise_key,
    parse_key,
    path_prefixes,
    requested_key,
    spellings,
    wildcards,
)
from fastroute.router.wire import Pairs, WireError, decode_vars, encode_packet, encode_vars

NAMES = st.sampled_from([b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY", b"PATH_INFO", b"HTTP_HOSTS", b"X" * 20])
TRAPS = [b"\x09\0HTTP_HOST\x04\0evil", b"HTTP_HOST", b"", b"foo.com", b"\x14\0UWSGI_FASTROUTER_KEY\x01\0a"]
VALUES = st.binary(max_size=40) | st.sampled_from(TRAPS)
BLOCKS = st.lists(st.tuples(NAMES | st.binary(min_size=1, max_size=30), VALUES), max_size=12)


def by_decoding(block: bytes) -> bytes | None:
    """What requested_key promises, by way of the codec."""
    try:
        found = dict(decode_vars(block))
    except WireError:
        return None
    names = (b"UWSGI_FASTROUTER_KEY", b"HTTP_HOST", b"SERVER_NAME")
    return next((found[name] for name in names if found.get(name)), b"")


def asked(*pairs: tuple[bytes, bytes]) -> bytes | None:
    packet = encode_packet(0, 0, encode_vars(pairs))
    return requested_key(packet, len(packet))


@given(BLOCKS, st.binary(max_size=40))
def test_the_walk_finds_what_decoding_finds_whatever_the_values_and_the_body(pairs: Pairs, body: bytes) -> None:
    block = encode_vars(pairs)
    assert requested_key(encode_packet(0, 0, block) + body, 4 + len(block)) == by_decoding(block)


@given(BLOCKS, st.integers(0, 400), st.binary(max_size=3), st.binary(max_size=40))
def test_the_walk_agrees_with_decoding_on_damaged_blocks(pairs: Pairs, at: int, patch: bytes, body: bytes) -> None:
    block = encode_vars(pairs)
    at = min(at, len(block))
    block = block[:at] + patch + block[at + 2 * len(patch) :]
    assert requested_key(encode_packet(0, 0, block) + body, 4 + len(block)) == by_decoding(block)


@given(st.binary(max_size=300), st.binary(max_size=20))
def test_the_walk_agrees_with_decoding_on_noise(block: bytes, body: bytes) -> None:
    assert requested_key(encode_packet(0, 0, block) + body, 4 + len(block)) == by_decoding(block)


def test_precedence_of_the_vars_does_not_depend_on_their_order() -> None:
    host, name, key = (b"HTTP_HOST", b"h"), (b"SERVER_NAME", b"s"), (b"UWSGI_FASTROUTER_KEY", b"k")
    assert asked(key, host, name) == asked(name, host, key) == b"k"
    assert asked(host, name) == asked(name, host) == b"h"
    assert asked(name) == b"s"
    assert asked((b"PATH_INFO", b"/")) == b""


def test_an_empty_host_counts_as_none_wherever_it_stands() -> None:
    assert (
        asked((b"SERVER_NAME", b"s"), (b"HTTP_HOST", b"")) == asked((b"HTTP_HOST", b""), (b"SERVER_NAME", b"s")) == b"s"
    )


def test_the_last_of_repeated_hosts_counts_as_in_a_wsgi_environment() -> None:
    assert asked((b"HTTP_HOST", b"one"), (b"HTTP_HOST", b"two")) == b"two"


def test_a_long_value_is_read_whole() -> None:
    assert asked((b"HTTP_COOKIE", b"c" * 4000), (b"HTTP_HOST", b"h" * 300)) == b"h" * 300


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (b"AbC.Example.:80", b"abc.example"),  # nginx before 1.29.5
        (b"abc.example", b"abc.example"),  # Debian's patched 1.22
        (b"abc.example:8080", b"abc.example"),  # nginx from 1.29.5
        (b"abc.example.", b"abc.example"),
        (b"abc.example:", b"abc.example"),
        (b"[::1]:80", b"[::1]"),
        (b"localhost", b"localhost"),
    ],
)
def test_every_form_of_a_host_is_looked_up_without_port_last(host: bytes, found: bytes) -> None:
    forms = spellings(host)
    assert forms[0] == host
    assert forms[-1] == found


def test_a_port_that_belongs_to_the_key_is_looked_up_before_the_bare_host() -> None:
    assert spellings(b"Foo.com:8080") == [b"Foo.com:8080", b"foo.com:8080", b"foo.com"]


@given(st.binary(max_size=60))
def test_any_bytes_have_spellings(host: bytes) -> None:
    assert spellings(host)[0] == host


def test_wildcards_are_looked_up_longest_first_and_never_match_the_domain_itself() -> None:
    assert wildcards(b"a.b.example.com") == [b"*.b.example.com", b"*.example.com", b"*.com"]
    assert b"*.example.com" not in wildcards(b"example.com")


def test_dotsplit_keeps_the_leading_dot_and_stops_after_five_lookups() -> None:
    assert dotsplits(b"a.b.c.d.e.f") == [b".b.c.d.e.f", b".c.d.e.f", b".d.e.f", b".e.f"]


def test_paths_are_looked_up_longest_first_down_to_the_depth_of_the_keys() -> None:
    assert path_prefixes(b"/a/b/c", 2) == [b"/a/b", b"/a"]
    assert path_prefixes(b"/a/", 3) == [b"/a"]
    assert path_prefixes(b"/", 2) == path_prefixes(b"", 2) == []


@pytest.mark.parametrize("text", ["Foo.Com", "*.foo.com", "foo.com:8080", "foo.com/api/", "a_b.c", "[::1]:80"])
def test_what_people_may_write_as_a_key(text: str) -> None:
    assert parse_key(text) == normalise_key(text)


@pytest.mark.parametrize("text", ["", "foo com", "foo..com", "-foo.com", "*", "foo.*.com", "foo.com/a b", "x" * 256])
def test_what_is_no_key_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(KeyProblem, match="is no key"):
        parse_key(text)
