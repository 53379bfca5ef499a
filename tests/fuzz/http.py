"""What must hold between our HTTP/1.1 codec and h11, whatever the bytes."""

from __future__ import annotations

import re

import h11

from fastroute.router.protocol.wire import WireError, decode_vars, encode_packet, find_vars
from fastroute.router.relay.http.answer import BadAnswer, HttpAnswer
from fastroute.router.relay.http.body import Body, ChunkedBody
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.http.framing import ClientFraming
from fastroute.router.relay.http.head import CHUNKED, BadRequest, head_of
from fastroute.router.relay.http.partial_head import PartialHead
from fastroute.router.relay.http.request_head import BadHead, RequestHead, head_problem, read_request_head
from fastroute.router.relay.http.request_vars import HttpPeer, log_vars_of_head, packet_of_request
from fastroute.router.relay.http.uwsgi_answer import KeptAnswer, UwsgiAnswer
from fastroute.router.relay.http.worker_head import worker_head
from fastroute.router.relay.http_events import MAX_VARS_PER_BYTE, OTHER_VARS
from fastroute.router.relay.vars import LOGGED_VARS, log_vars

#: Headers that never reach the client.
OURS = {b"transfer-encoding", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}


#: What may come before an answer, 101 aside.
_INTERIM = re.compile(rb"\A(?:HTTP/1\.[01] 1(?!01)[0-9]{2}[^\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)+")


def http_answer(data: bytes) -> None:
    """An answer is refused, or h11 reads the same status, headers, body and end in it; in pieces it is the same; and a
    watched one is passed on from its final head on, and over only where the strict one is."""
    bodiless, piece, data = bool(data[:1] < b"\x40"), 1 + len(data[:2]) * (data[1] % 20 if data[1:] else 0), data[2:]
    kept = KeptAnswer(bodiless)
    for watched in (kept, UwsgiAnswer(bodiless)):
        try:
            passed = b"".join(watched.feed(part) for part in _pieces(data, piece))
        except BadAnswer:
            assert not watched.started
            assert data.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1"))
        else:
            assert passed == (_INTERIM.sub(b"", data, 1) if watched.started else b"")
    whole = HttpAnswer(bodiless, False)
    try:
        got = whole.feed(data)
    except BadAnswer:
        assert not (kept.complete and kept.keep)
        return
    assert not (kept.complete and kept.keep) or (whole.complete, whole.keep) == (True, True)
    slow = HttpAnswer(bodiless, False)
    assert b"".join(slow.feed(part) for part in _pieces(data, piece)) == got
    assert (slow.complete, slow.keep) == (whole.complete, whole.keep)
    if whole.started:
        _same_answer(whole, got, data, bodiless)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _same_answer(answer: HttpAnswer, got: bytes, data: bytes, bodiless: bool) -> None:
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.send(h11.Request(method="HEAD" if bodiless else "GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    status, headers, body, ended = 0, list[tuple[bytes, bytes]](), b"", False
    while True:
        event = peer.next_event()
        if isinstance(event, h11.Response):
            status, headers = event.status_code, list(event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            ended = True
            break
        elif event is h11.NEED_DATA or event is h11.PAUSED:
            break
    again = ended and peer.their_state is h11.DONE and not peer.trailing_data[0]
    head, _, ours = got.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first.startswith(b"HTTP/1.1 %d" % status)
    assert (ours, answer.complete) == (body, ended)
    assert again or not (answer.keep and answer.complete)
    if bodiless or status in (204, 304):
        assert not (answer.keep and answer.complete) or (b"content-length", b"0") in [
            (name, value.lstrip(b"0") or b"0") for name, value in headers
        ]
    passed = set()
    for line in lines:
        name, _, value = line.partition(b":")
        passed.add(name.lower())
        assert (name.lower(), value.strip(b" \t")) in headers
    assert not passed & OURS
    options = b",".join(value for name, value in headers if name == b"connection").lower().split(b",")
    dropped = OURS | {option.strip() for option in options} | ({b"content-length"} if status == 204 else set())
    assert {name for name, _ in headers} <= passed | dropped


def http_head(data: bytes) -> None:
    """Vars make no request, or h11 reads exactly one in what a worker gets for them, framed once, with one host."""
    size = int.from_bytes(data[:2], "little") % (len(data[2:]) + 1)
    block, body = data[2 : 2 + size], data[2 + size :]
    try:
        decode_vars(block)
        made = head_of(encode_packet(0, 0, block), 4 + size, b"key")
        way = ChunkedBody() if made.length == CHUNKED else Body(made.length)
        sent = way.feed(body)
    except (WireError, BadRequest, BadChunks):
        return
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(made.text + sent)
    request = peer.next_event()
    assert isinstance(request, h11.Request)
    names = [name for name, _ in request.headers]
    assert names.count(b"host") == 1
    assert len([name for name in names if name in (b"content-length", b"transfer-encoding")]) <= 1
    assert not set(names) & {b"te", b"trailer", b"keep-alive", b"proxy-connection", b"proxy", b"expect"}
    got = b""
    while isinstance(event := peer.next_event(), h11.Data):
        got += bytes(event.data)
    assert not peer.trailing_data[0], "a second request"
    assert isinstance(event, h11.EndOfMessage) == (not way.left)
    assert made.length == CHUNKED or got == body[: made.length]


def request_head(data: bytes) -> None:
    """A client's request is refused, or h11 reads the same one, with the same body and the same bytes behind it; in
    pieces it is the same; and its vars make a head for an HTTP worker that is that request again."""
    piece = 1 + data[0] % 7 if data else 1
    data = data[1:]
    whole, pieces = _read_request(data, len(data) or 1), _read_request(data, piece)
    assert whole == pieces, "in pieces it is another request"
    if isinstance(whole, str):
        assert whole != "refused without a reason"
        return
    head, rest = whole
    assert not head_problem(head)
    request = read_request_head(head)
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    # h11 takes no byte above 127 in a target, nginx does; what it is does not matter.
    line_end = head.index(b"\r\n")
    peer.receive_data(bytes(0x7A if byte > 127 else byte for byte in head[:line_end]) + head[line_end:])
    theirs = peer.next_event()
    assert isinstance(theirs, h11.Request)
    names = [name for name, _ in theirs.headers]
    values = dict(theirs.headers)
    assert theirs.method == request.method
    assert theirs.target.endswith(bytes(0x7A if byte > 127 else byte for byte in request.target[1:]))
    assert (theirs.http_version == b"1.1") == request.http11
    assert request.chunked == (b"transfer-encoding" in names)
    assert request.length == int(values.get(b"content-length", b"0"))
    assert names.count(b"host") <= 1
    options = b",".join(value for name, value in theirs.headers if name == b"connection").lower().split(b",")
    assert request.keep == (request.http11 and b"close" not in [option.strip(b" \t") for option in options])
    body: Body = ChunkedBody() if request.chunked else Body(request.length)
    try:
        sent = body.feed(rest)
    except BadChunks:
        sent = b""
    else:
        if rest:
            peer.receive_data(rest)
        got = b""
        while isinstance(event := peer.next_event(), h11.Data):
            got += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage) == (not body.left)
        assert body.left or peer.trailing_data[0] == rest[len(rest) - body.excess :]
        assert request.chunked or sent == got
    _check_vars(request, head)


def _read_request(data: bytes, piece: int) -> tuple[bytes, bytes] | str:
    """The head in ``data`` and what is behind it, or why there is none."""
    partial = PartialHead()
    try:
        for at in range(0, len(data), piece):
            head, rest = partial.feed(data[at : at + piece])
            if head:
                read_request_head(head)
                return head, rest + data[at + piece :]
    except BadHead as bad:
        return "refused" if str(bad) else "refused without a reason"
    return "not whole"


def _check_vars(request: RequestHead, head: bytes) -> None:
    for trusted in (False, True):
        peer = HttpPeer(b"192.0.2.1", b"4711", b"8000", trusted)
        try:
            packet = packet_of_request(request, peer)
        except BadHead:
            return
        assert len(packet) <= MAX_VARS_PER_BYTE * len(head) + OTHER_VARS
        logged = find_vars(packet, len(packet), LOGGED_VARS)
        assert logged is not None
        assert log_vars(logged) == log_vars_of_head(request, peer)
        pairs = decode_vars(packet, 4)
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), "a var that is there twice"
        values = dict(pairs)
        assert values[b"HTTP_HOST"] == request.host
        assert values[b"PATH_INFO"][:1] in (b"/", b"*")
        assert b"/../" not in values[b"PATH_INFO"] + b"/"
        assert trusted or (values[b"REMOTE_ADDR"], values[b"HTTP_X_FORWARDED_FOR"]) == (b"192.0.2.1", b"192.0.2.1")
        assert not {b"HTTP_PROXY", b"HTTP_CONTENT_LENGTH", b"HTTP_EXPECT", b"HTTP_TE", b"HTTP_KEEP_ALIVE"} & set(names)
        again = head_of(packet, len(packet), b"")
        direct = worker_head(request, HttpPeer(b"192.0.2.1", b"4711", b"8000", trusted))
        assert sorted(direct.text.split(b"\r\n")) == sorted(again.text.split(b"\r\n")), "without vars it is another one"
        assert (direct.length, direct.upgrade, direct.bodiless, direct.safe) == (
            again.length, again.upgrade, again.bodiless, again.safe
        )  # fmt: skip
        assert again.length == (CHUNKED if request.chunked else request.length)
        assert again.upgrade == bool(request.upgrade)
        first = again.text[: again.text.index(b"\r\n")]
        expected = b"".join(b"%%%02X" % byte if byte > 127 else b"%c" % byte for byte in request.target)
        assert first == b"%b %b HTTP/1.1" % (request.method, expected)


def framed_answer(data: bytes) -> None:
    """What an HTTP client gets of a worker's answer, h11 reads as the answer that our reader understood: the same
    status and body, and it ends where the answer ended, or can be told to be broken off."""
    if not data:
        return
    flags, data = data[0], data[2:]
    bodiless, cgi, http11 = bool(flags & 1), bool(flags & 2), bool(flags & 4)
    piece = 1 + (flags >> 3) % 9
    answer = HttpAnswer(bodiless, False, cgi)
    framing = ClientFraming(http11, http11)
    plain = framed = b""
    try:
        for at in range(0, len(data), piece):
            out = answer.feed(data[at : at + piece])
            plain += out
            framed += framing.frame(answer, out)
            if answer.complete:
                break
    except BadAnswer:
        return
    if not framing.begun:
        assert not framed
        return
    closed = not answer.complete
    whole = answer.complete or not answer.end()
    if closed and whole:
        framed += framing.end()
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.send(h11.Request(method="HEAD" if bodiless else "GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(framed)
    if not framing.keep:
        peer.receive_data(b"")
    head = peer.next_event()
    assert isinstance(head, h11.Response)
    assert b"%d" % head.status_code == answer.status
    got = b""
    try:
        while isinstance(event := peer.next_event(), h11.Data):
            got += bytes(event.data)
    except h11.RemoteProtocolError:
        assert not whole
        return
    assert got == plain[plain.index(b"\r\n\r\n") + 4 :]
    assert isinstance(event, h11.EndOfMessage) == whole, "a broken answer looks like a whole one, or the other way"
    assert not peer.trailing_data[0]
