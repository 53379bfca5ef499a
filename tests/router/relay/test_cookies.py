"""The cookie by which a client stays with its node: found in whatever a client sends, and set once."""

from __future__ import annotations

import time
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.uwsgi_client import request_packet

from fastroute.router.relay.cookies import MAX_VALUES, SessionCookie, with_line

COOKIE = SessionCookie(b"fr", b"/")


def values(header: str, cookie: SessionCookie = COOKIE) -> list[bytes]:
    packet = request_packet("foo.com", HTTP_COOKIE=header)
    return cookie.values(packet, len(packet))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("fr=a", [b"a"]), ("x=1; fr=a", [b"a"]), ("fr=a;x=1", [b"a"]), ("fr=a; fr=b", [b"a", b"b"]), ("xfr=a", []),
        ("FR=a", []), ("fr=", [b""]), ("fr", []), (" fr= a ", [b"a"]), ("x=fr=a", []), ("x; fr=a=b", [b"a=b"]),
        ("", []), (";;;fr=a;;", [b"a"]), ("fr =a", []), ("fra=1; afr=2", []),
    ],
)  # fmt: skip
def test_it_is_found_by_its_name(header: str, expected: list[bytes]) -> None:
    assert values(header) == expected


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=3), st.text("xyz-_09", max_size=5), max_size=5))
def test_it_is_what_others_read(cookies: dict[str, str]) -> None:
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    read = SimpleCookie(header)
    for name in {*cookies, "ab"}:
        expected = [read[name].value.encode()] if name in read else []
        assert values(header, SessionCookie(name.encode(), b"/")) == expected


def test_a_name_with_signs_is_no_pattern() -> None:
    assert values("a.b=1; axb=2", SessionCookie(b"a.b", b"/")) == [b"1"]


@pytest.mark.parametrize("piece", ["fr=", "; ", ";fr=a", " ", ";\t", "fr", "; fr =", "=fr"])
def test_reading_takes_time_in_proportion_and_few_values(piece: str) -> None:
    started = time.process_time()
    found = values(piece * (60_000 // len(piece)))
    assert time.process_time() - started < 0.2
    assert len(found) <= MAX_VALUES


@pytest.mark.parametrize(
    ("more", "secure"),
    [({}, False), ({"HTTPS": "on"}, True), ({"REQUEST_SCHEME": "https"}, True), ({"HTTPS": "off"}, False)],
)
def test_it_is_set_for_the_key_and_secure_under_https(more: dict[str, str], secure: bool) -> None:
    packet = request_packet("foo.com", **more)  # type: ignore[arg-type]
    line = COOKIE.line(b"abc", packet, len(packet))
    assert line == b"Set-Cookie: fr=abc; Path=/; HttpOnly; SameSite=Lax" + (b"; Secure" if secure else b"") + b"\r\n"


@pytest.mark.parametrize(("path", "shown"), [("/api/v1", "/api/v1"), ("/a(b)", "/"), ("/ä", "/"), ("/", "/")])
def test_a_path_that_clients_may_write_otherwise_has_it_for_the_whole_host(path: str, shown: str) -> None:
    packet = request_packet("foo.com")
    line = SessionCookie(b"fr", path.encode("latin-1")).line(b"abc", packet, len(packet))
    assert f"; Path={shown};".encode() in line


def test_it_goes_behind_the_first_line() -> None:
    assert (
        with_line(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", b"C: d\r\n") == b"HTTP/1.1 200 OK\r\nC: d\r\nA: b\r\n\r\nbody"
    )
    assert with_line(b"Status: 200\n\nbody", b"C: d\r\n") == b"Status: 200\nC: d\r\n\nbody"
    for nothing in (b"no line at all", b"\r\nbody", b"\nbody", b""):
        assert with_line(nothing, b"C: d\r\n") == nothing
