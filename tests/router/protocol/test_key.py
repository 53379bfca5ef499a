"""Keys: as written, as asked for, as looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.protocol.key import (
    KeyProblem,
    less_specific,
    named_key,
    normalise_key,
    parse_key,
    path_prefixes,
    shown_key,
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


def test_paths_are_looked_up_longest_first_down_to_the_depth_of_the_keys() -> None:
    assert path_prefixes(b"/a/b/c", 2) == [b"/a/b", b"/a"]
    assert path_prefixes(b"/a/", 3) == [b"/a"]
    assert path_prefixes(b"//a///b/", 3) == [b"/a/b", b"/a"]
    assert path_prefixes(b"/", 2) == path_prefixes(b"", 2) == []


@pytest.mark.parametrize("text", ["Foo.Com", "*.foo.com", "foo.com:8080", "foo.com/api/", "a_b.c", "[::1]:80"])
def test_what_people_may_write_as_a_key(text: str) -> None:
    assert parse_key(text) == normalise_key(text)


@pytest.mark.parametrize("text", ["", "foo com", "foo..com", "-foo.com", "*", "foo.*.com", "foo.com/a b", "x" * 256])
def test_what_is_no_key_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(KeyProblem, match="is no key"):
        parse_key(text)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("bücher.test", "xn--bcher-kva.test"),
        ("*.Bücher.test.:8080/API", "*.xn--bcher-kva.test:8080/API"),
        ("faß.de", "xn--fa-hia.de"),  # IDNA 2008, not 2003's fass.de
        ("bu\u0308cher\u3002test", "xn--bcher-kva.test"),  # decomposed, and with the full stop of Chinese
        ("_x.bücher.test", "_x.xn--bcher-kva.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
    ],
)
def test_a_host_name_in_any_script_is_the_one_that_clients_ask_for(written: str, key: str) -> None:
    assert parse_key(written) == named_key(written) == key


@pytest.mark.parametrize("text", ["💩.test", "-ü.test", "ü" * 64 + ".test", "ü" * 256, "a\u202eb.test", "ü b.test"])
def test_what_is_no_host_name_by_idna_is_refused_and_says_so(text: str) -> None:
    with pytest.raises(KeyProblem, match=r"is no key: (not a host name by IDNA 2008|a host name has at most)"):
        parse_key(text)
    assert named_key(text) == normalise_key(text)


def test_both_forms_of_a_key_are_shown_where_they_differ() -> None:
    assert shown_key("*.xn--bcher-kva.test:80/a") == "*.xn--bcher-kva.test:80/a (*.bücher.test:80/a)"
    assert shown_key("foo.com") == "foo.com"
    assert shown_key("xn--zzzzzz.test") == "xn--zzzzzz.test"
    assert shown_key("xn--\x9b31m.test") == "xn--\x9b31m.test"


@pytest.mark.parametrize(
    ("written", "key"),
    [("foo.com/%61pi", "foo.com/api"), ("foo.com/a%2F/b%2f", "foo.com/a/b"), ("foo.com/%7ejoe", "foo.com/~joe")],
)
def test_a_percent_encoded_path_is_the_one_that_nginx_passes_on(written: str, key: str) -> None:
    assert parse_key(written) == key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("foo.com/a%20b", "%20 stands for a character that the path of a key can't have"),
        ("foo.com/100%25", "%25 stands for"),
        ("foo.com/caf%C3%A9", "%C3 stands for"),
        ("foo.com/100%", "without two hex digits"),
        ("foo.com/caf\xe9", "ASCII characters only"),
        ("foo.com/a/%2e%2e/b", "have '/.' and '/..' resolved"),
    ],
)
def test_a_path_that_can_not_be_matched_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(KeyProblem, match=why):
        parse_key(text)


@given(st.text(max_size=40))
def test_a_key_that_was_read_once_reads_as_itself(text: str) -> None:
    try:
        key = parse_key(text)
    except KeyProblem:
        return
    assert key.isascii()
    assert parse_key(key) == key


@pytest.mark.parametrize(
    ("key", "others"),
    [
        ("shop.a.com", ["*.a.com", "*.com"]),
        ("*.b.a.com", ["*.a.com", "*.com"]),
        ("a.b:80/x", ["a.b:80", "a.b/x", "a.b", "*.b:80/x", "*.b:80", "*.b/x", "*.b"]),
        ("localhost", []),
    ],
)
def test_what_a_request_finds_where_its_own_key_is_not(key: str, others: list[str]) -> None:
    assert less_specific(key) == others
