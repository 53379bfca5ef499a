"""Addresses: one parser for listening addresses, subscription servers and nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.router.protocol.address import AddressError, parse_address


@pytest.mark.parametrize(
    ("text", "kind", "numeric", "unspecified", "loopback"),
    [
        ("127.0.0.1:3031", "inet", True, False, True),
        ("[::1]:3031", "inet", True, False, True),
        ("[2001:db8::7]:80", "inet", True, False, False),
        (":3031", "inet", True, True, False),
        ("0.0.0.0:3031", "inet", True, True, False),
        ("[::]:3031", "inet", True, True, False),
        ("web-1.internal:8000", "inet", False, False, False),
        ("my_service:8000", "inet", False, False, False),
        ("localhost:1", "inet", False, False, True),
        ("/run/app.sock", "unix", True, False, False),
        ("@abstract", "unix", True, False, False),
        ("fd://3", "fd", True, False, False),
    ],
)
def test_every_form_parses_and_prints_as_written(text, kind, numeric, unspecified, loopback) -> None:
    address = parse_address(text)
    assert str(address) == text
    assert (address.kind, address.numeric, address.unspecified, address.loopback) == (
        kind,
        numeric,
        unspecified,
        loopback,
    )


@pytest.mark.parametrize(
    "text",
    ["", "x", "foo", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:٣", "::1:80", "[::1]80", "[x]:80",
     "1.2.3:80", "1.2.3.999:80", "a b:80", "-a:80", "/" + "x" * 107, "/a\0b", "@", "fd://x", "a..b:80", "http://a:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_its_text(text) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert repr(text[:20])[:-1] in str(caught.value)


def test_a_bare_ipv6_address_gets_the_cure() -> None:
    with pytest.raises(AddressError, match=r"\[fe80::1\]:80"):
        parse_address("fe80::1:80")


def test_an_abstract_socket_address_starts_with_a_zero_byte() -> None:
    assert parse_address("@x").sockaddr() == b"\0x"


@given(st.text(max_size=80))
def test_any_text_parses_or_raises_address_error_and_parsing_is_stable(text) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address
