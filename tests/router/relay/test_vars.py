"""What is read of a request, and our own answers to it."""

from __future__ import annotations

import pytest
from support.uwsgi_client import request_packet

from fastroute.router.relay.partial_packet import not_uwsgi
from fastroute.router.relay.replies import STATUS, Refusal, as_text, response
from fastroute.router.relay.vars import body_size, path_of, repeatable, variable


def facts(packet: bytes) -> tuple[bytes, int]:
    return packet, 4 + (packet[1] | packet[2] << 8)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_requests_that_change_nothing_may_be_repeated(method: str) -> None:
    assert repeatable(*facts(request_packet("foo.com", method)))


@pytest.mark.parametrize(
    "packet",
    [
        request_packet("foo.com", "POST"),
        request_packet("foo.com", "DELETE"),
        request_packet("foo.com", "get"),
        request_packet("foo.com", "GET", body=b"x"),
        request_packet("foo.com", "GET", CONTENT_LENGTH="5"),
        request_packet("foo.com", "GET", HTTP_TRANSFER_ENCODING="chunked"),
    ],
)
def test_all_others_may_not(packet: bytes) -> None:
    assert not repeatable(*facts(packet))


@pytest.mark.parametrize(
    ("text", "size"), [("", 0), ("0", 0), ("12", 12), ("-1", 0), ("x", 0), ("9" * 30, 0), ("٣", 0)]
)
def test_the_size_of_the_body_is_a_number_or_nothing(text: str, size: int) -> None:
    assert body_size(text.encode()) == size


def test_a_var_is_found_by_its_name_and_not_in_a_value() -> None:
    packet = request_packet("foo.com", QUERY_STRING="\x0b\0REMOTE_ADDR\x01\0x")
    assert variable(*facts(packet), b"REMOTE_ADDR") == b"203.0.113.9"
    assert variable(*facts(packet), b"NOPE") == b""


def test_the_path_comes_from_path_info_else_from_the_uri() -> None:
    assert path_of(*facts(request_packet("foo.com", path="/a/b?c"))) == b"/a/b"
    assert path_of(*facts(request_packet("foo.com", path="/a/b?c", PATH_INFO=""))) == b"/a/b"
    assert path_of(*facts(request_packet("foo.com", path="/%61%2Fb?%63", PATH_INFO=""))) == b"/a/b"
    assert path_of(*facts(request_packet("foo.com", path="/%61", PATH_INFO="/%61"))) == b"/%61"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: foo.com\r\n\r\n", b"POST /x HTTP/1.0\n", b"\x16\x03\x01\x02\0\x01"]
)
def test_other_protocols_are_recognised_from_their_first_bytes(data: bytes) -> None:
    assert not_uwsgi(data, 4 + (data[1] | data[2] << 8))


def test_the_beginning_of_a_real_packet_is_never_refused() -> None:
    packet = request_packet("foo.com", HTTP_COOKIE="c" * 3000)
    assert not any(not_uwsgi(packet[:size], len(packet)) for size in range(4, len(packet)))


@pytest.mark.parametrize("kind", STATUS)
def test_our_answers_are_whole_http_responses(kind: str) -> None:
    text = "because <b>\r\nX-Evil: 1\x1b[0m"
    refusal = Refusal(kind, text)
    head, _, body = response(refusal, "text/plain", as_text(refusal)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert f"X-Fastroute-Error: {kind}\r\n".encode() in head
    assert (b"Retry-After: 1" in head) == (kind in ("no-node", "queue-full", "maintenance"))
    assert body.count(b"\n") == 1
    assert not {b"\r", b"\x1b"} & {body[i : i + 1] for i in range(len(body))}
    # Only what an operator wrote stays as it is.
    assert (b"<" in body) == (b"X-Content-Type-Options: nosniff" in head) == (kind == "maintenance")


def test_how_long_a_request_waited_is_said_where_it_did() -> None:
    assert b"\r\nX-Fastroute-Waited: 15.0\r\n" in response(Refusal("no-node", "text", 15.04), "text/plain", b"")
    assert b"X-Fastroute-Waited" not in response(Refusal("no-node", "text"), "text/plain", b"")
