"""A worker's answer: what is understood, and what is refused.  That h11 understands the same: tests/fuzz/http.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from fastroute.router.relay.http.answer import MAX_HEAD, MAX_INTERIM, BadAnswer, HttpAnswer, WorkerAnswer
from fastroute.router.relay.http.answer_lines import MAX_REMEMBERED, known_lines
from fastroute.router.relay.http.uwsgi_answer import KeptAnswer, UwsgiAnswer

GET, HEAD = False, True


def told(
    data: bytes, *, bodiless: bool = GET, upgrade: bool = False, piece: int = 1 << 20
) -> tuple[bytes, WorkerAnswer]:
    """What the client gets for ``data``, fed in pieces, and the answer."""
    answer = HttpAnswer(bodiless, upgrade)
    got = b"".join(answer.feed(data[at : at + piece]) for at in range(0, len(data), piece))
    return got, answer


CASES = [
    # what the worker sends, what the client gets, complete, keep
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi",
     b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True, True),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", True, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: Close\r\n\r\nhi",
     b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True, False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True, False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!",
     b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True, False),
    (b"HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\nY: 2\r\n\r\n"
     b"2\r\nhi\r\n3;a=b\r\n yo\r\n0\r\nTrailer: x\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nX: 1\r\nY: 2\r\n\r\nhi yo", True, True),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", False, False),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: 1\r\n\r\n", b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", True,
     True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
     b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", True, False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\n"
     b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", True, True),
    (b"HTTP/1.1 200 OK\r\nConnection: X-Own, close\r\nX-Own: 1\r\nX-Other: 2\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nX-Other: 2\r\nContent-Length: 0\r\n\r\n", True, False),
    (b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nTE: x\r\nTrailer: y\r\nProxy-Connection: z\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True, True),
]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@pytest.mark.parametrize(("sent", "got", "complete", "keep"), CASES)
def test_the_client_gets_a_plain_answer(sent: bytes, got: bytes, complete: bool, keep: bool, piece: int) -> None:
    told_now, answer = told(sent, piece=piece)
    assert told_now == got
    assert (answer.complete, answer.keep) == (complete, keep)


#: Answers without a body by their status or because of HEAD, and whether their head says so itself.
BODILESS = [
    (HEAD, b"200 OK", b"Content-Length: 7", False),
    (HEAD, b"200 OK", b"Transfer-Encoding: chunked", False),
    (HEAD, b"200 OK", b"X: y", False),
    (HEAD, b"404 Not Found", b"Content-Length: 0", True),
    (GET, b"204 No Content", b"X: y", False),
    (GET, b"204 No Content", b"Content-Length: 3", False),
    (GET, b"204 No Content", b"Content-Length: 0", True),
    (GET, b"304 Not Modified", b"X: y", False),
    (GET, b"304 Not Modified", b"Content-Length: 000", True),
    (GET, b"304 Not Modified", b"Transfer-Encoding: chunked", False),
]


@pytest.mark.parametrize("make", [lambda bodiless: HttpAnswer(bodiless, False), KeptAnswer])
@pytest.mark.parametrize(("bodiless", "status", "framing", "keep"), BODILESS)
def test_an_answer_without_body_is_over_and_its_connection_too_unless_it_says_that_it_is_empty(
    make: Callable[[bool], WorkerAnswer], bodiless: bool, status: bytes, framing: bytes, keep: bool
) -> None:
    answer = make(bodiless)
    got = answer.feed(b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 " + status)
    watched_chunks = make is KeptAnswer and b"chunked" in framing
    assert (answer.complete, answer.complete and answer.keep) == (not watched_chunks, keep)


def test_101_opens_a_tunnel_where_it_was_asked_for() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    got, answer = told(switch + b"\x81\x00", upgrade=True)
    assert got == switch + b"\x81\x00"
    assert answer.tunnel
    assert not answer.complete
    with pytest.raises(BadAnswer, match="nobody asked for"):
        told(switch)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "no status line"),
        (b"\x00\x05\x00\x00abcde", "no status line"),
        (b"HTTP/1.1 099 Low\r\n\r\n", "no status line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n", "no header line"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "no header line"),
        (b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "no header line"),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", "no header line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "more than once"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "more than once"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "no size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "no size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", "no size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n", "no size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "where a chunk ends"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n", "no trailer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 2000, "between chunks"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 4000, "trailers"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_HEAD // 6), "a head of over"),
        (b"HTTP/1.1 100 Go on\r\n\r\n" * (MAX_INTERIM + 1), "interim"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(sent: bytes, why: str) -> None:
    for piece in (1 << 20, 7):
        with pytest.raises(BadAnswer, match=why):
            told(sent, piece=piece)


def test_an_answer_that_is_cut_off_is_not_whole() -> None:
    for sent in (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                 b"\r\n2\r\nhi\r\n", b"HTTP/1.1 200 OK\r\nContent"):  # fmt: skip
        assert told(sent)[1].end()
    assert not told(b"HTTP/1.1 200 OK\r\n\r\nhi")[1].end()


FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


@pytest.mark.parametrize("make", [UwsgiAnswer, KeptAnswer])
@pytest.mark.parametrize("piece", [1, 3, 11, 1 << 20])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (EARLY + FINAL, FINAL),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + EARLY * 2 + FINAL, FINAL),
        (b"HTTP/1.0 102 Wait\r\n\r\nStatus: 200 OK\r\n\r\nhi", b"Status: 200 OK\r\n\r\nhi"),
        (FINAL, FINAL),
        (b"HTTP/1.1 101 Switching\r\n\r\n\x81\x00", b"HTTP/1.1 101 Switching\r\n\r\n\x81\x00"),
        (b"Location: 1\r\n\r\n", b"Location: 1\r\n\r\n"),
        (b"123456789 123", b"123456789 123"),
        (b"HTTP/2", b"HTTP/2"),
        (EARLY, b""),
        (EARLY + b"HTTP/1.1 10", b""),
        (b"HTTP/1", b""),
    ],
)
def test_a_uwsgi_worker_s_interim_answers_are_not_its_answer(
    make: Callable[[bool], WorkerAnswer], said: bytes, told: bytes, piece: int
) -> None:
    answer = make(GET)
    assert b"".join(answer.feed(said[at : at + piece]) for at in range(0, len(said), piece)) == told
    assert (answer.started, answer.tunnel) == (bool(told), b" 101 " in said)
    assert bool(answer.end()) == (not told)
    if make is KeptAnswer:
        assert (answer.complete, answer.keep) == ((True, True) if told == FINAL else (False, False))


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 100 Go on\r\n\r\n" * (MAX_INTERIM + 1), b"HTTP/1.1 103 x\n\n" + FINAL,
             b"HTTP/1.1 103 x\r\n" + b"A: b\r\n" * (MAX_HEAD // 6)]
)  # fmt: skip
def test_what_only_seems_to_be_an_interim_answer_is_refused(said: bytes) -> None:
    for piece in (7, 1 << 20):
        answer = UwsgiAnswer(GET)
        with pytest.raises(BadAnswer, match="interim"):
            deque(answer.feed(said[at : at + piece]) for at in range(0, len(said), piece))


def test_what_connection_names_is_left_out_however_many_lines_name_it() -> None:
    lines = b"".join(b"Connection: x-%d, Content-Length\r\nX-%d: a\r\n" % (number, number) for number in range(400))
    got, answer = told(b"HTTP/1.1 200 OK: x-1\r\nX-400: b\r\n" + lines + b"Content-Length: 2\r\n\r\nhi")
    assert got == b"HTTP/1.1 200 OK: x-1\r\nX-400: b\r\nContent-Length: 2\r\n\r\nhi"
    assert answer.keep


def test_http_2_is_never_offered_to_a_client() -> None:
    for lines in (b"Upgrade: h2,h2c\r\nConnection: Upgrade, keep-alive", b"upgrade: h2c", b"UPGRADE:h2, h2c"):
        got, _ = told(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nContent-Length: 2\r\n\r\nhi")
        assert got == FINAL


def test_lines_that_are_known_are_read_as_they_were_at_first_and_bad_ones_are_refused_each_time() -> None:
    sent = b"HTTP/1.1 200 OK\r\nServer: x\r\nCONNECTION: close\r\nContent-Length:  5\r\nSet-Cookie: secret\r\n\r\nhello"
    known_lines.clear()
    for _ in range(2):
        answer = HttpAnswer(False, False)
        assert answer.feed(sent) == sent.replace(b"CONNECTION: close\r\n", b"")
        assert (answer.complete, answer.keep) == (True, False)
        for line in (b"Server: x\ny", b"Content-Length: 5x"):
            with pytest.raises(BadAnswer):
                HttpAnswer(False, False).feed(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
    assert known_lines.keys() == {b"Server: x", b"CONNECTION: close", b"Content-Length:  5", b"Content-Length: 5x"}


def test_what_is_remembered_of_answers_is_bounded() -> None:
    for length in range(2 * MAX_REMEMBERED):
        HttpAnswer(False, False).feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        assert len(known_lines) <= MAX_REMEMBERED
