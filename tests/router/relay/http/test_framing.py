"""Workers' answers as an HTTP/1.1 client gets them.  That h11 reads them as meant: tests/fuzz/http.py."""

from __future__ import annotations

import pytest

from fastroute.router.relay.http.answer import BadAnswer, HttpAnswer
from fastroute.router.relay.http.framing import ClientFraming


def framed(
    data: bytes, *, keep: bool = True, http11: bool = True, head: bool = False, cgi: bool = False,
    upgrade: bool = False, piece: int = 1 << 20,
) -> tuple[bytes, ClientFraming, HttpAnswer]:  # fmt: skip
    """What the client gets for ``data``, behind which the worker closes."""
    answer, framing = HttpAnswer(head, upgrade, cgi), ClientFraming(keep, http11)
    got = b"".join(framing.frame(answer, answer.feed(data[at : at + piece])) for at in range(0, len(data), piece))
    if not answer.complete and not answer.end():
        got += framing.end()
    return got, framing, answer


OK = b"HTTP/1.1 200 OK\r\n"
KNOWN = OK + b"Content-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_length_is_kept(piece: int) -> None:
    assert framed(KNOWN, piece=piece)[0] == KNOWN
    closing = OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi"
    assert framed(KNOWN, piece=piece, keep=False)[0] == closing
    assert framed(KNOWN, piece=piece, keep=False, http11=False)[0] == closing


def test_without_a_length_the_body_goes_in_chunks() -> None:
    assert framed(OK + b"X: y\r\n\r\nhi")[0] == OK + b"X: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    assert framed(OK + b"\r\n")[0] == OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for piece in (1, 5, 1 << 20):
        got, framing, _ = framed(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nT: x\r\n\r\n", piece=piece)
        assert got.startswith(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        assert got.endswith(b"\r\n0\r\n\r\n")
        assert got.count(b"0\r\n\r\n") == 1
        assert framing.keep


def test_to_a_client_without_chunks_the_body_ends_with_the_connection() -> None:
    got, framing, _ = framed(OK + b"\r\nhi", http11=False)
    assert got == OK + b"Connection: close\r\n\r\nhi"
    assert not framing.keep


@pytest.mark.parametrize(
    ("head", "status", "line"),
    [(True, b"200 OK", b"Content-Length: 7\r\n"), (True, b"200 OK", b""), (False, b"204 No", b""),
     (False, b"304 No", b"Content-Length: 7\r\n")],
)  # fmt: skip
def test_an_answer_without_body_keeps_what_it_says_and_the_connection(head: bool, status: bytes, line: bytes) -> None:
    text = b"HTTP/1.1 " + status + b"\r\n" + line + b"\r\n"
    got, framing, _ = framed(text + b"a body all the same", head=head)
    assert got == text
    assert framing.keep


def test_an_answer_that_breaks_off_can_be_told_from_a_whole_one() -> None:
    assert framed(OK + b"Content-Length: 3\r\n\r\nhi")[0].endswith(b"\r\n\r\nhi")
    assert framed(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")[0].endswith(b"\r\n\r\n2\r\nhi\r\n")


def test_a_tunnel_passes_as_it_is() -> None:
    switch = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    got, framing, _ = framed(switch + b"\x81", upgrade=True)
    assert got == switch + b"\x81"
    assert not framing.keep


def test_interim_answers_are_dropped() -> None:
    assert framed(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + KNOWN, piece=3)[0] == KNOWN


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (
            b"Status: 404 Not Found\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi",
        ),
        (b"Content-Length: 2\nstatus: 201\n\nhi", b"HTTP/1.1 201\r\nContent-Length: 2\r\n\r\nhi"),
        (
            b"Location: /\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        ),
        (b"Hi: ho\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nHi: ho\r\nContent-Length: 0\r\n\r\n"),
        (KNOWN, KNOWN),
    ],
)
def test_a_uwsgi_workers_head_may_have_no_status_line(sent: bytes, got: bytes, piece: int) -> None:
    assert framed(sent, piece=piece, cgi=True)[0] == got


@pytest.mark.parametrize("sent", [b"no head at all\n\n", b"Status: x\r\n\r\n" + b"A\r\n\r\n", b"A" * 70_000, b"\n\n"])
def test_what_is_no_head_of_a_uwsgi_worker_either(sent: bytes) -> None:
    with pytest.raises(BadAnswer):
        framed(sent, cgi=True)
