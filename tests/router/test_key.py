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
    spellings,
    wildcards,
)


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
