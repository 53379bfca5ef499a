"""Heads of clients' requests: what they say, what is refused.  That h11 reads the same: tests/fuzz/http.py."""

from __future__ import annotations

import pytest

from fastroute.router.relay.http.header_names import LINE_COST, MAX_REMEMBERED, NAMES
from fastroute.router.relay.http.partial_head import PartialHead
from fastroute.router.relay.http.request_head import MAX_REQUEST_HEAD, BadHead, RequestHead, read_request_head


def head(*lines: str, request: str = "GET /a?b=c HTTP/1.1", host: str = "foo.com") -> RequestHead:
    text = "\r\n".join([request, *([f"Host: {host}"] if host else []), *lines, "", ""])
    return read_request_head(text.encode("latin-1"))


def names(request: RequestHead) -> dict[str, str]:
    """The headers that become vars."""
    return {header.var[2:].decode(): line.value.decode() for header, line in request.headers.items()}


def test_a_plain_request() -> None:
    request = head("Accept: */*", "X-B3-TraceId:\t7 ", "Empty:", "Content-Type: text/plain", "Content-Length: 012")
    assert (request.method, request.target, request.host) == (b"GET", b"/a?b=c", b"foo.com")
    assert names(request) == {"HTTP_ACCEPT": "*/*", "HTTP_X_B3_TRACEID": "7", "HTTP_EMPTY": ""}
    assert (request.content_type, request.content_length, request.length) == (b"text/plain", b"012", 12)
    assert (request.http11, request.keep, request.chunked, request.expects, request.upgrade) == (
        True, True, False, False, b""
    )  # fmt: skip


def test_headers_of_this_connection_and_names_that_would_be_another_headers_var_are_left_out() -> None:
    request = head(
        "Keep-Alive: 5", "TE: trailers", "Trailer: X", "Proxy: evil", "Proxy-Connection: x", "HTTP2-Settings: x",
        "Proxy-Authorization: x", "X_Forwarded_For: 9.9.9.9", "Content_Length: 9", "X.Dot: 1", "X-Own: stays",
        "Connection: X-Own", "Expect: 200-ok",
    )  # fmt: skip
    assert names(request) == {"HTTP_X_OWN": "stays"}
    assert request.forwarded == {}


def test_repeated_headers_are_joined() -> None:
    request = head("A: 1", "a: 2", "Cookie: x=1", "A: 3", "cookie: y=2")
    assert names(request) == {"HTTP_A": "1, 2, 3", "HTTP_COOKIE": "x=1; y=2"}


def test_a_line_that_is_known_is_read_as_it_was_at_first() -> None:
    lines = ("User-Agent:  b/1 ", "ACCEPT: a", "Connection: close", "Content-Type: t/p", "X-Forwarded-Proto: https")
    NAMES.forget()
    first, again = head(*lines, "accept: b"), head(*lines, "accept: b")
    for request in (first, again):
        assert names(request) == {"HTTP_USER_AGENT": "b/1", "HTTP_ACCEPT": "a, b"}
        assert (request.keep, request.content_type) == (False, b"t/p")
        assert request.forwarded == {b"x-forwarded-proto": b"https"}
    assert {line.encode() for line in lines} <= NAMES.lines.keys()


def test_lines_of_one_client_are_not_remembered_and_bad_ones_are_refused_each_time() -> None:
    head("Cookie: session=secret", "Authorization: secret", "X-Own: 1", "Accept: " + 300 * "a")
    for _ in range(2):
        with pytest.raises(BadHead):
            head("Accept: a\x00b")
        with pytest.raises(BadHead):
            head("Accept: a\rb")
    remembered = b"".join(NAMES.lines)
    assert not any(word in remembered for word in (b"secret", b"X-Own", b"aaa", b"\0", b"\r"))


def test_what_is_remembered_is_bounded() -> None:
    for number in range(2 * MAX_REMEMBERED // LINE_COST):
        head(f"User-Agent: {number}")
        assert len(NAMES.lines) <= MAX_REMEMBERED // LINE_COST
    assert len(NAMES.lines) > 10
    head(*(f"Accept: {number}" for number in range(4000)))
    assert len(NAMES.lines) <= MAX_REMEMBERED // LINE_COST


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://bar.com/x?y", "bar.com", "/x?y"), ("HTTPS://Bar.com:8443", "Bar.com:8443", "/"),
        ("http://bar.com?x", "bar.com", "/?x"), ("http://[::1]:80/", "[::1]:80", "/"),
    ],
)  # fmt: skip
def test_an_absolute_target_goes_before_the_host_header(target: str, host: str, path: str) -> None:
    for request in (head(request=f"GET {target} HTTP/1.1"), head(request=f"GET {target} HTTP/1.0", host="")):
        assert (request.host, request.target) == (host.encode(), path.encode())


@pytest.mark.parametrize(
    ("version", "lines", "keep"),
    [
        ("1.1", [], True), ("1.1", ["Connection: x, Close"], False),
        ("1.1", ["Connection: x", "connection: close"], False), ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], False),
    ],
)  # fmt: skip
def test_which_connections_stay(version: str, lines: list[str], keep: bool) -> None:
    assert head(*lines, request=f"GET / HTTP/{version}").keep == keep


def test_a_body() -> None:
    assert head("Transfer-Encoding: Chunked").chunked
    assert head("Content-Length: 3", "Expect: 100-Continue").expects
    assert not head("Expect: 100-continue").expects
    assert not head("Content-Length: 3", "Expect: 100-continue", request="PUT / HTTP/1.0").expects


def test_an_upgrade_passes_where_it_can_be_a_tunnel() -> None:
    asked = ["Upgrade: websocket", "Connection: keep-alive, Upgrade"]
    assert head(*asked).upgrade == b"websocket"
    for request in (
        head(asked[0]), head("Upgrade: h2c", asked[1]), head(*asked, request="GET / HTTP/1.0"),
        head(*asked, "Content-Length: 1"), head(*asked, "Transfer-Encoding: chunked"),
    ):  # fmt: skip
        assert request.upgrade == b""
        assert not names(request)


TWO_WAYS = [
    ("GET /a HTTP/1.1\r\n\r\n", "no Host"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "two Host"),
    ("GET /a HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "two Host"),
    ("GET http://a/ HTTP/1.1\r\n\r\n", "no Host"),
    ("GET /a HTTP/1.0\r\n\r\n", "no host"),
    ("GET /a HTTP/1.1\r\nHost:\r\n\r\n", "no host"),
    ("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", "is no host"),
    ("GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", "is no host"),
    ("GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n", "is no host"),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "is no host"),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "a path expected"),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "a path expected"),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "a path expected"),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "a path expected"),
    ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "a path expected"),
    ("CONNECT /a HTTP/1.1\r\nHost: a:1\r\n\r\n", "CONNECT"),
    ("PRI * HTTP/2.0\r\n\r\n", "HTTP/2"),
    ("GET /a HTTP/1.2\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a HTTP/2.0\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a http/1.1\r\nHost: a\r\n\r\n", "no request line"),
    ("GET  /a HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a  HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
    (" GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a HTTP/1.1 \r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a\r\nHost: a\r\n\r\n", "no request line"),
    ("G(T /a HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
    ("GET /a HTTP/1.1\r\nHost : a\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\n Host: a\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", "no header line"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX\x0b: a\r\n\r\n", "no header line"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "more than once"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "more than once"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "more than"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", "a number"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", "a number"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", "a number"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "a number"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1111111111111111111\r\n\r\n", "a number"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "Transfer-Encoding"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "Transfer-Encoding"),
    ("POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n", "two Content-Type"),
]


@pytest.mark.parametrize(("text", "why"), TWO_WAYS)
def test_what_could_be_read_in_two_ways_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadHead, match=why) as refused:
        read_request_head(text.encode("latin-1"))
    assert refused.value.kind == "bad-request"


def fed(data: bytes, piece: int) -> tuple[bytes, bytes]:
    partial = PartialHead()
    for at in range(0, len(data), piece):
        head, rest = partial.feed(data[at : at + piece])
        if head:
            return head, rest + data[at + piece :]
    return b"", b""


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_pieces(piece: int) -> None:
    text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert fed(text + b"more", piece) == (text, b"more")
    assert fed(b"\r\n" + text + b"more", piece) == (text, b"more")
    assert fed(text[:-1], piece) == (b"", b"")
    with pytest.raises(BadHead):
        fed(b"\r\n\r\n" + text, piece)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x16\x03\x01\x02\x00", "TLS"), (b"\x00\xff\x00\x00abc", "uwsgi"), (b" GET", "no request line"),
        (b"GET /\r\nHost", "no request line"), (b"GET / HTTP/1.1\nHost: a\n", "LF alone"),
        (b"\n", "no request line|LF alone"),
        (b"GET / HTTP/1.1\r\nHost: a\nB", "LF alone"), (b"PRI * HTTP/2.0\r\n", "HTTP/2"),
    ],
)  # fmt: skip
def test_what_never_becomes_a_head_is_refused_before_it_ends(data: bytes, why: str, piece: int) -> None:
    with pytest.raises(BadHead, match=why):
        fed(data, piece)


@pytest.mark.parametrize("piece", [1, 4096, 1 << 20])
def test_the_size_of_a_head_is_bounded(piece: int) -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    largest = start + b"x" * (MAX_REQUEST_HEAD - len(start) - 4) + b"\r\n\r\n"
    assert fed(largest, piece) == (largest, b"")
    for data in (largest[:-4] + b"x\r\n\r\n", start + b"x" * MAX_REQUEST_HEAD):
        with pytest.raises(BadHead, match="over 65536") as refused:
            fed(data, piece)
        assert refused.value.kind == "too-large"
