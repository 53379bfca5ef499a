"""A request's head from its vars: what a worker gets, what is refused.  What h11 makes of it: tests/fuzz/http.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.uwsgi_client import request_packet

from fastroute.router.protocol.wire import encode_packet, encode_vars
from fastroute.router.relay.http.body import ChunkedBody
from fastroute.router.relay.http.head import CHUNKED, BadRequest, Head, head_of


def head(host: str | None = "foo.com", method: str = "GET", path: str = "/a?b=c", **more: str) -> Head:
    packet = request_packet(host, method, path, **more)  # type: ignore[arg-type]
    return head_of(packet, len(packet), b"key.example")


def lines(made: Head) -> list[str]:
    first, *rest = made.text.decode("latin-1").split("\r\n")
    assert rest[-2:] == ["", ""]
    return [first, *sorted(rest[:-2])]


def test_a_request_as_nginx_describes_it() -> None:
    made = head(
        HTTP_ACCEPT="*/*", HTTP_X_B3_TRACEID="7", HTTP_CONNECTION="keep-alive, X-Own", HTTP_KEEP_ALIVE="5",
        HTTP_TE="trailers", HTTP_PROXY="evil", HTTP_EXPECT="100-continue", HTTP_X_OWN="stays", HTTP_EMPTY="",
        HTTP_TRANSFER_ENCODING="", HTTP_CONTENT_LENGTH="7", HTTP_CONTENT_TYPE="no", HTTP2="no header",
        **{"HTTP_Content_Length": "8", "HTTP_TRANSFER-ENCODING": "chunked", "HTTP_host": "evil"},
    )  # fmt: skip
    assert lines(made) == [
        "GET /a?b=c HTTP/1.1", "Accept: */*", "Empty: ", "Host: foo.com", "X-B3-Traceid: 7",
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: foo.com", "X-Forwarded-Port: 80", "X-Forwarded-Proto: http",
        "X-Own: stays",
    ]  # fmt: skip
    assert (made.length, made.upgrade, made.bodiless, made.safe) == (0, False, False, True)


@pytest.mark.parametrize(
    ("more", "length", "line"),
    [
        ({"CONTENT_LENGTH": "12"}, 12, "Content-Length: 12"),
        ({"CONTENT_LENGTH": "012"}, 12, "Content-Length: 12"),
        ({"CONTENT_LENGTH": "0"}, 0, "Content-Length: 0"),
        ({"CONTENT_LENGTH": ""}, 0, "Content-Length: 0"),
        # nginx has undone the chunks, and says both.
        ({"CONTENT_LENGTH": "3", "HTTP_TRANSFER_ENCODING": "chunked"}, 3, "Content-Length: 3"),
        ({"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "Chunked"}, CHUNKED, "Transfer-Encoding: chunked"),
    ],
)
def test_the_framing_is_what_content_length_says(more: dict[str, str], length: int, line: str) -> None:
    made = head(method="POST", **more)
    assert made.length == length
    assert [found for found in lines(made) if found.startswith(("Content-Length", "Transfer"))] == [line]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"HTTP_X_FORWARDED_FOR": "1.2.3.4"},
         ["For: 1.2.3.4, 203.0.113.9", "Host: foo.com", "Port: 80", "Proto: http"]),
        ({"HTTP_X_FORWARDED_FOR": "1.2.3.4,203.0.113.9"},
         ["For: 1.2.3.4,203.0.113.9", "Host: foo.com", "Port: 80", "Proto: http"]),
        ({"HTTP_HOST": "foo.com:8000"}, ["For: 203.0.113.9", "Host: foo.com:8000", "Port: 8000", "Proto: http"]),
        ({"HTTP_HOST": "[::1]"}, ["For: 203.0.113.9", "Host: [::1]", "Port: 80", "Proto: http"]),
        ({"REMOTE_ADDR": "unix:", "HTTPS": "on", "REQUEST_SCHEME": "", "SERVER_PORT": "443"},
         ["Host: foo.com", "Port: 443", "Proto: https"]),
        ({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "evil"},
         ["For: 203.0.113.9", "Host: foo.com", "Port: 80", "Proto: http"]),
        ({"HTTP_X_FORWARDED_FOR": "1.2.3.4, 10.0.0.1", "HTTP_X_FORWARDED_PROTO": "https", "FASTROUTE_FORWARDED": "1",
          "HTTP_X_FORWARDED_HOST": "outer", "HTTP_X_FORWARDED_PORT": "443"},
         ["For: 1.2.3.4, 10.0.0.1", "Host: outer", "Port: 443", "Proto: https"]),
    ],
)  # fmt: skip
def test_forwarded_headers(more: dict[str, str], expected: list[str]) -> None:
    prefix = "X-Forwarded-"
    assert [line.removeprefix(prefix) for line in lines(head(**more)) if line.startswith(prefix)] == expected


def test_an_upgrade_is_asked_for_only_where_the_client_did() -> None:
    made = head(HTTP_UPGRADE="websocket", HTTP_CONNECTION="keep-alive, Upgrade", HTTP_SEC_WEBSOCKET_KEY="k")
    assert made.upgrade
    assert {"Connection: Upgrade", "Upgrade: websocket", "Sec-Websocket-Key: k"} <= set(lines(made))
    for more in ({"HTTP_CONNECTION": "close"}, {"HTTP_UPGRADE": "h2c"}, {"HTTP_UPGRADE": "HTTP/2.0"}):
        made = head(**({"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "upgrade"} | more))
        assert not made.upgrade
        assert "pgrade" not in made.text.decode()


def test_host_and_target_where_nginx_left_them_out() -> None:
    made = head(None, REQUEST_URI="", PATH_INFO="/ä b?".encode().decode("latin-1"), QUERY_STRING="q=1", SERVER_NAME="s")
    assert lines(made)[0] == "GET /%C3%A4%20b%3F?q=1 HTTP/1.1"
    assert "Host: s" in lines(made)
    assert "Host: key.example" in lines(head(None, SERVER_NAME=""))
    assert lines(head(path="/\xe9"))[0] == "GET /%E9 HTTP/1.1"
    assert lines(head(method="OPTIONS", path="*"))[0] == "OPTIONS * HTTP/1.1"


@pytest.mark.parametrize(
    "more",
    [
        {"REQUEST_METHOD": "GET /x"}, {"REQUEST_METHOD": ""}, {"REQUEST_METHOD": "CONNECT"},
        {"REQUEST_URI": "/a b"}, {"REQUEST_URI": "/a\r\nX: y"}, {"REQUEST_URI": "http://other/"}, {"REQUEST_URI": "a"},
        {"HTTP_HOST": "a b"}, {"HTTP_HOST": "a\r\nX: y"}, {"HTTP_HOST": "a/b"}, {"HTTP_HOST": "u@a"},
        {"CONTENT_LENGTH": "+1"}, {"CONTENT_LENGTH": "1, 1"}, {"CONTENT_LENGTH": "-1"}, {"CONTENT_LENGTH": "1" * 19},
        {"CONTENT_TYPE": "a\nb"}, {"HTTP_X": "a\rb"}, {"HTTP_X": "a\0b"}, {"HTTP_X": "a\x1bb"}, {"HTTP_X": "a\x7fb"},
        {"HTTP_X Y": "a"}, {"HTTP_X:Y": "a"}, {"HTTP_X\r\nY": "a"}, {"HTTP_": "a"}, {"REMOTE_ADDR": "a\r\nb"},
        {"SERVER_PORT": "80\n"}, {"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, {"HTTP_TRANSFER_ENCODING": "\vchunked"},
        {"HTTP_X_FORWARDED_FOR": "a\r\nb"}, {"REQUEST_SCHEME": "a\r\nb"},
    ],
)  # fmt: skip
def test_what_no_worker_may_see_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        head(**more)


def test_repeated_vars() -> None:
    base = encode_vars([(b"REQUEST_METHOD", b"GET"), (b"REQUEST_URI", b"/"), (b"HTTP_HOST", b"foo.com")])

    def of(*pairs: tuple[bytes, bytes]) -> Head:
        packet = encode_packet(0, 0, base + encode_vars(pairs))
        return head_of(packet, len(packet), b"")

    with pytest.raises(BadRequest, match="two CONTENT_LENGTH"):
        of((b"CONTENT_LENGTH", b"1"), (b"CONTENT_LENGTH", b"2"))
    assert of((b"HTTP_HOST", b"bar.com")).text.count(b"Host: bar.com\r\n") == 2
    assert (
        b"X-Forwarded-For: a, b, c\r\n"
        in of((b"HTTP_X_FORWARDED_FOR", b"a"), (b"HTTP_X_FORWARDED_FOR", b"b"), (b"REMOTE_ADDR", b"c")).text
    )
    assert of((b"HTTP_A", b"1"), (b"HTTP_A", b"2")).text.count(b"\r\nA: ") == 2


@given(st.binary(max_size=30), st.integers(1, 9))
def test_a_chunked_body_is_written_as_it_was_understood(payload: bytes, piece: int) -> None:
    coded = b"".join(b"%X ;e=x\r\n%b\r\n" % (len(payload[at : at + piece]), payload[at : at + piece])
                     for at in range(0, len(payload), piece))  # fmt: skip
    coded += b"0\r\nTrailer: x\r\n\r\n"
    way = ChunkedBody()
    sent = b"".join(way.feed(coded[at : at + piece]) for at in range(0, len(coded), piece))
    assert not way.left
    assert way.feed(b"GET /smuggled HTTP/1.1\r\n") == b""
    again = ChunkedBody()
    assert (
        again.feed(sent + b"x") == b"".join([b"%x\r\n%b\r\n" % (len(payload), payload)] * bool(payload)) + b"0\r\n\r\n"
    )
