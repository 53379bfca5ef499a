"""Whatever a client, a worker or an announcer sends is read in one pass: twice the bytes cost twice the time.

Each parser of bytes from the network, on what is worst for it.  One that is quadratic would let one request, or one
worker, hold up those of everybody else (a relay and control are one thread each).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

import pytest
from starlette.requests import Request
from support.growth import assert_linear

from fastroute.router.admin_http.access import AccessPolicy, refuse_change, refuse_host
from fastroute.router.control.auth.rules import AdmissionRules
from fastroute.router.control.table import overrides
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.key import normalise_key
from fastroute.router.protocol.subscription import Announcement, PacketError, decode, decode_ack
from fastroute.router.protocol.wire import (
    VarNames,
    WireError,
    decode_vars,
    encode_packet,
    encode_vars,
    find_vars,
    vars_problem,
)
from fastroute.router.relay.accept import preferred
from fastroute.router.relay.access_line import status_of
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.http.answer import BadAnswer, HttpAnswer, WorkerAnswer
from fastroute.router.relay.http.body import ChunkedBody
from fastroute.router.relay.http.chunks import BadChunks
from fastroute.router.relay.http.head import BadRequest, head_of
from fastroute.router.relay.http.partial_head import PartialHead
from fastroute.router.relay.http.request_head import BadHead, read_request_head
from fastroute.router.relay.http.request_vars import HttpPeer, packet_of_request
from fastroute.router.relay.http.uwsgi_answer import KeptAnswer, UwsgiAnswer
from fastroute.router.relay.own_answer import own_answer
from fastroute.router.relay.partial_packet import not_uwsgi
from fastroute.router.relay.replies import Refusal
from fastroute.router.relay.vars import LOGGED_VARS, REQUEST_VARS, framing, path_of, repeatable, variables
from fastroute.router.sidecar.probe import verdict

Make = Callable[[int], bytes]


def repeated(begin: bytes, unit: bytes, end: bytes = b"") -> Make:
    """So many bytes: ``begin``, ``unit`` again and again, ``end``."""
    return lambda size: begin + unit * ((size - len(begin) - len(end)) // len(unit)) + end


def numbered(begin: bytes, unit: bytes, end: bytes = b"") -> Make:
    """The same, with a number in each unit."""

    def make(size: int) -> bytes:
        count = (size - len(begin) - len(end)) // len(unit % 9999)
        return begin + b"".join(unit % number for number in range(1000, 1000 + count)) + end

    return make


OK, END = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\nhi"
ANSWERS = {
    "Connection lines": numbered(OK, b"Connection: x%d\r\n", END),
    "options of one Connection": numbered(OK + b"Connection: a", b", x%d", b"\r\nX1000: y\r\n" + END),
    "headers that Connection names": numbered(
        OK, b"Connection: x%d\r\nx%d: y\r\n".replace(b"x%d: y", b"x1000: y"), END
    ),
    "blanks in a value": repeated(OK + b"Keep-Alive: a", b" ", b"b\r\n" + END),
    "blanks around a value": repeated(OK + b"Connection:", b" \t", b"close  \r\n" + END),
    "blanks in a length": repeated(OK + b"Content-Length: 2", b" ", b"2\r\n\r\n"),
    "lengths": repeated(OK, b"Content-Length: 2\r\n", b"\r\n"),
    "headers": repeated(OK, b"a:\r\n", END),
    "headers, the last of them bad": repeated(OK, b"a:\r\n", b"b\r\n\r\n"),
    "a name that never ends": repeated(OK, b"a", b"\r\n\r\n"),
    "a value with a control character at its end": repeated(OK + b"a:", b" b", b"\0\r\n\r\n"),
    "a reason": repeated(b"HTTP/1.1 200 ", b" x", b"\r\n" + END),
    "a head without end": repeated(OK, b"a: b\r\n"),
    "almost ends": repeated(OK + b"a: b", b"\r\n\r"),
    "an interim answer": repeated(b"HTTP/1.1 103 Early\r\n", b"a: b\r\n", b"\r\n" + OK + END),
    "an interim answer without end": repeated(b"HTTP/1.1 103 Early\r\n", b"a: b\r\n"),
    "interim answers": repeated(b"", b"HTTP/1.1 100 C\r\n\r\n", OK + END),
    "a CGI head": repeated(b"Status:", b" ", b"x\r\n\r\n"),
    "CGI heads": repeated(b"", b"Status:  \n", b"\r\n\r\n"),
    "CGI lines": repeated(b"", b"a:\n", b"\n"),
    "almost ends of a CGI head": repeated(b"a:", b"\n\r", b"\n"),
    "small chunks": repeated(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n"),
    "extensions of chunks": repeated(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1 ; a=b; c\r\na\r\n"),
    "trailers": repeated(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
}


def answered(make: Callable[[], WorkerAnswer], piece: int) -> Callable[[bytes], None]:
    def work(data: bytes) -> None:
        answer = make()
        with contextlib.suppress(BadAnswer):
            for at in range(0, len(data), piece):
                answer.feed(data[at : at + piece])

    return work


@pytest.mark.parametrize("answer", [lambda: HttpAnswer(False, False), lambda: KeptAnswer(False),
                                    lambda: UwsgiAnswer(False), lambda: HttpAnswer(False, False, True)])  # fmt: skip
@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize("what", ANSWERS)
def test_answers(what: str, answer: Callable[[], WorkerAnswer], piece: int) -> None:
    assert_linear(answered(answer, piece), ANSWERS[what])


@pytest.mark.parametrize("what", ANSWERS)
def test_the_status_of_an_answer(what: str) -> None:
    assert_linear(status_of, ANSWERS[what])
    assert_linear(lambda answer: verdict("/", answer), ANSWERS[what])


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
CLIENT_HEADS = {
    "headers": numbered(GET, b"x%d: y\r\n", b"\r\n"),
    "short headers": repeated(GET, b"a:\r\n", b"\r\n"),
    "headers, the last of them bad": repeated(GET, b"a:\r\n", b"b\r\n\r\n"),
    "names that become no var": repeated(GET, b"a_:\r\n", b"\r\n"),
    "a name that never ends": repeated(GET, b"a", b"\r\n\r\n"),
    "a value with a control character at its end": repeated(GET + b"a:", b" b", b"\0\r\n\r\n"),
    "blanks in a value": repeated(GET + b"a: b", b" ", b"c\r\n\r\n"),
    "options of Connection": repeated(GET + b"Upgrade: a\r\nConnection: b", b",b", b"\r\n\r\n"),
    "Connection lines": repeated(GET, b"Connection: a\r\n", b"\r\n"),
    "hosts": repeated(GET, b"Host:\r\n", b"\r\n"),
    "lengths": repeated(GET, b"Content-Length: 1\r\n", b"\r\n"),
    "addresses": repeated(GET + b"X-Forwarded-For: a", b",1", b"\r\n\r\n"),
    "a long address": repeated(GET + b"X-Forwarded-For: ", b"1:", b"\r\n\r\n"),
    "forwarded headers": numbered(GET, b"x-forwarded-%d:\r\n", b"\r\n"),
    "cookies": repeated(GET, b"Cookie: a\r\n", b"\r\n"),
    "a method": repeated(b"", b"A", b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a path": repeated(b"GET /", b"a/../", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "slashes": repeated(b"GET /", b"/", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "percent signs": repeated(b"GET /", b"%2e", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an absolute target": repeated(b"GET http://a/", b"//", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a host": repeated(b"GET / HTTP/1.1\r\nHost: ", b"a:1", b"\r\n\r\n"),
    "a head without end": repeated(GET, b"a: b\r\n"),
    "a request line without end": repeated(b"", b"A"),
    "almost ends": repeated(GET + b"a: b", b"\r\n\r"),
    "returns": repeated(GET, b"\r"),
}


def asked(piece: int, data: bytes) -> None:
    partial = PartialHead()
    with contextlib.suppress(BadHead):
        for at in range(0, len(data), piece):
            head, _ = partial.feed(data[at : at + piece])
            if head:
                packet_of_request(read_request_head(head), HttpPeer(b"127.0.0.1", b"1", b"80", True))
                return


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize("what", CLIENT_HEADS)
def test_heads_of_clients(what: str, piece: int) -> None:
    assert_linear(partial(asked, piece), CLIENT_HEADS[what])


CHUNKS = {
    "small chunks": repeated(b"", b"1\r\na\r\n", b"0\r\n\r\n"),
    "extensions": repeated(b"", b"1 ; a=b; c\r\na\r\n"),
    "blanks behind a size": repeated(b"1", b" ", b"x\r\n"),
    "digits": repeated(b"", b"0", b"\r\n"),
    "trailers": repeated(b"0\r\n", b"a: b\r\n", b"\r\n"),
    "one chunk": repeated(b"ffff\r\n", b"x"),
}


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize("what", CHUNKS)
def test_bodies_in_chunks(what: str, piece: int) -> None:
    def work(data: bytes) -> None:
        body = ChunkedBody()
        with contextlib.suppress(BadChunks):
            for at in range(0, len(data), piece):
                body.feed(data[at : at + piece])

    assert_linear(work, CHUNKS[what])


def block(*pairs: tuple[bytes, bytes]) -> bytes:
    return encode_vars(pairs)


REQUEST = block((b"REQUEST_METHOD", b"GET"), (b"REQUEST_URI", b"/"), (b"HTTP_HOST", b"foo.com"))


def one_value(name: bytes, unit: bytes, end: bytes = b"") -> Make:
    return lambda size: REQUEST + block((name, repeated(b"", unit, end)(size - 200)))


VARS = {
    "addresses of one X-Forwarded-For": one_value(b"HTTP_X_FORWARDED_FOR", b", 1"),
    "blanks in X-Forwarded-For": one_value(b"HTTP_X_FORWARDED_FOR", b" ", b"1"),
    "commas around X-Forwarded-For": one_value(b"HTTP_X_FORWARDED_FOR", b","),
    "options of Connection": one_value(b"HTTP_CONNECTION", b"a, ", b"upgrade"),
    "an Upgrade": one_value(b"HTTP_UPGRADE", b"a"),
    "bytes of a path": one_value(b"REQUEST_URI", b"/\xe9"),
    "a path": one_value(b"PATH_INFO", b"/a"),
    "a value": one_value(b"HTTP_X", b"a "),
    "a bad value": one_value(b"HTTP_X", b"a ", b"\n"),
    "a length": one_value(b"CONTENT_LENGTH", b"0"),
    "a long coding": one_value(b"HTTP_TRANSFER_ENCODING", b" ", b"chunked"),
    "repeated lists": repeated(REQUEST, block((b"HTTP_UPGRADE", b""))),
    "repeated connections": repeated(REQUEST, block((b"HTTP_CONNECTION", b"a"))),
    "repeated headers": repeated(REQUEST, block((b"HTTP_X", b"")), block((b"CONTENT_LENGTH", b"0"))),
    "names": numbered(REQUEST, b"\x09\x00HTTP_%d\x00\x00"),
    "one name": lambda size: REQUEST + block((b"HTTP_" + b"A" * (size - 200), b"")),
    "short pairs": repeated(REQUEST, block((b"a", b""))),
    "short pairs and an empty name": repeated(REQUEST, block((b"a", b"")), b"\0\0\0\0"),
    "short pairs that run past the end": repeated(REQUEST, block((b"a", b"")), b"\1\0a\xff\xff"),
}


def packet_of(vars_: bytes) -> tuple[bytes, int]:
    return encode_packet(0, 0, vars_), 4 + len(vars_)


def head(vars_: bytes) -> None:
    with contextlib.suppress(BadRequest, IndexError):
        head_of(*packet_of(vars_), b"key")


def search(wanted: VarNames, vars_: bytes) -> None:
    find_vars(*packet_of(vars_), wanted)


def problem(vars_: bytes) -> None:
    packet, end = packet_of(vars_)
    vars_problem(packet, 4, end)


def read(reader: Callable[[bytes, int], object], vars_: bytes) -> None:
    reader(*packet_of(vars_))


def refused(packet: bytes, end: int) -> bytes:
    return own_answer(RelayContext({}, 100, "", None, 0.0), Refusal("no-key", "text"), b"foo.com", packet, end)


@pytest.mark.parametrize("what", VARS)
def test_vars(what: str) -> None:
    for wanted in (REQUEST_VARS, LOGGED_VARS):
        assert_linear(partial(search, wanted), VARS[what])
    assert_linear(problem, VARS[what])
    assert_linear(lambda vars_: not_uwsgi(packet_of(vars_)[0], 4 + len(vars_)), VARS[what])
    if "and an empty" not in what and "past the end" not in what:
        for reader in (variables, repeatable, framing, path_of, refused):
            assert_linear(partial(read, reader), VARS[what])
        assert_linear(head, VARS[what])


@pytest.mark.parametrize("unit", [b"text/html;q=0,", b"text/html;", b" ", b",", b";q=0.1"])
def test_what_a_client_accepts(unit: bytes) -> None:
    assert_linear(lambda accept: preferred(accept, ("text/html",)), repeated(b"a/b", unit, b"text/html"))


@pytest.mark.parametrize(
    "text", [b"GET /" + b"a" * 9000, b"GET " * 3000, b"A" * 60_000, b"\0\xff\xff\0" + b"\1\0a\0\0" * 9000]
)
def test_what_becomes_no_packet(text: bytes) -> None:
    assert_linear(lambda data: not_uwsgi(data, 65_539), lambda size: text[:size])


def node(number: int, same_key: bool) -> bytes:
    key = b"foo.com" if same_key else b"%05d.com" % number
    return encode_vars([(b"key", key), (b"address", b"10.0.%d.%d:80" % (number >> 8, number & 255))])


def batch(same_key: bool) -> Make:
    def make(size: int) -> bytes:
        pairs = [(b"source", b"docker"), (b"instance", b"1")]
        pairs += [(b"node", node(number, same_key)) for number in range(size // 60)]
        return encode_packet(224, 0, encode_vars(pairs))

    return make


def one_node(**more: bytes) -> bytes:
    pairs = {"key": b"a.b", "address": b"1.2.3.4:5"} | more
    return encode_packet(224, 0, encode_vars((name.encode(), value) for name, value in pairs.items()))


DATAGRAMS = {
    "nodes of one key": batch(True),
    "nodes of many keys": batch(False),
    "pairs": lambda size: encode_packet(224, 0, one_node()[4:] + block((b"x", b"")) * (size // 5 - 10)),
    "a key": lambda size: one_node(key=b"a." * (size // 2 - 50)),
    "an address": lambda size: one_node(address=b"a." * (size // 2 - 50)),
    "an owner": lambda size: one_node(owner=b"a" * (size - 90)),
    "a via": lambda size: one_node(via=b"0," * (size // 2 - 50)),
    "an ack": lambda size: encode_packet(224, 2, block((b"result", b"applied"), (b"reason", b"\xff" * (size - 90)))),
}


def announce(datagram: bytes) -> None:
    table, admission = Table(tolerance=25, key_grace=60, stale_max=600), AdmissionRules(["127.0.0.0/8"])
    with contextlib.suppress(PacketError):
        said = decode(datagram)
        if isinstance(said, Announcement):
            admission.check(said, ip_address("127.0.0.1"))
            table.apply(said, "127.0.0.1", 0.0)


@pytest.mark.parametrize("what", DATAGRAMS)
def test_datagrams(what: str) -> None:
    assert_linear(announce, DATAGRAMS[what])
    assert_linear(decode_ack, DATAGRAMS[what])


@pytest.mark.parametrize("unit", [b"\1\0a\0\0", b"\1\0a\xff\xff", b"\0\0"])
def test_blocks(unit: bytes) -> None:
    def work(data: bytes) -> None:
        with contextlib.suppress(WireError):
            decode_vars(data)

    assert_linear(work, repeated(b"", unit))


@pytest.mark.parametrize("unit", [b"a.", b":", b"/", b"[", b"@", b" ", b"1.", b"%", b"]:"])
def test_headers_of_the_admin_http(unit: bytes) -> None:
    def work(value: bytes) -> None:
        for name in (b"host", b"origin", b"content-type", b"authorization"):
            headers = {b"content-type": b"application/json", b"host": b"localhost"} | {name: value}
            request = Request({"type": "http", "headers": [*headers.items()], "client": ("127.0.0.1", 1)})
            refuse_change(request, AccessPolicy(unix=False, token_file=None))
            refuse_host(request, AccessPolicy(unix=False, token_file=None, name="a"))
        normalise_key(value.decode("latin-1"))

    assert_linear(work, repeated(b"http://a", unit))


def test_a_change_of_the_admin_http() -> None:
    def work(body: bytes) -> None:
        with contextlib.suppress(overrides.ChangeError):
            overrides.read_change("weight", body)

    for unit in (b" ", b'"a",', b"9"):
        assert_linear(work, repeated(b'{"weight": 1, "target": ["a", ', unit, b' "b"]}'), 8_000)
