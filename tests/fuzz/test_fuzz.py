"""Every target on its corpus, and on what hypothesis makes up: fast by default, deep with ``FASTROUTE_FUZZ=deep``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import datagrams
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastroute.router.protocol.wire import encode_packet, encode_vars

DEEP = os.environ.get("FASTROUTE_FUZZ") == "deep"
CORPUS = Path(__file__).parent / "corpus"

#: What packets are made of: names that mean something, values that do, and anything.
NAMES = st.sampled_from(
    [b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY", b"PATH_INFO", b"REQUEST_URI", b"CONTENT_LENGTH", b"key",
     b"address", b"weight", b"backup", b"source", b"instance", b"seq", b"op", b"owner", b"drain", b"count", b"digest",
     b"since", b"version", b"ack", b"algo", b"proto", b"modifier1", b"REQUEST_METHOD"]
) | st.binary(min_size=1, max_size=20)  # fmt: skip
VALUES = st.sampled_from(
    [b"a.b", b"*.b", b"x.a.b:80", b"a.b/c", b":80", b"0.0.0.0:1", b"127.0.0.1:3031", b"[::1]:2", b"web:80", b"/run/s",
     b"@x", b"0", b"1", b"7", b"65535", b"65536", b"heartbeat", b"mark", b"iphash", b"http", b"GET", b"/c/d?e", b""]
) | st.binary(max_size=30)  # fmt: skip
BLOCKS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(encode_vars)


def damaged(block: bytes, at: int, byte: int, cut: int) -> bytes:
    """``block`` with one byte changed and its end cut off."""
    if block:
        at %= len(block)
        block = block[:at] + bytes([byte]) + block[at + 1 :]
    return block[: len(block) - cut % 3]


SMALL = st.integers(0, 255)
ANY_BLOCK = BLOCKS | st.builds(damaged, BLOCKS, st.integers(0, 1000), SMALL, SMALL) | st.binary(max_size=100)
KEYS = st.sampled_from([b"a.b", b"*.b", b"a.b/c", b"a.b:80", b"A.B."])
ADDRESSES = st.sampled_from([b"10.0.0.7:1", b":80", b"0.0.0.0:1", b"127.0.0.1:3031", b"[::1]:2", b"web:80", b"/s"])
NUMBERS = st.integers(0, 5).map(lambda number: b"%d" % number)
HEADS = st.sampled_from(
    [[], [(b"source", b"operator"), (b"version", b"1")], [(b"source", b"docker"), (b"instance", b"3")],
     [(b"source", b"docker"), (b"instance", b"4"), (b"ack", b"1")]]
)  # fmt: skip
MORE = st.lists(
    st.tuples(st.sampled_from([b"owner", b"seq", b"weight", b"backup", b"drain", b"since", b"count", b"gone"]), NUMBERS)
    | st.sampled_from([(b"algo", b"lrc"), (b"op", b"mark"), (b"op", b"heartbeat"), (b"digest", b"0" * 16)]),
    max_size=3,
)
ENTRIES = st.builds(lambda key, address, more: [(b"key", key), (b"address", address), *more], KEYS, ADDRESSES, MORE)
ANNOUNCED = st.builds(
    lambda head, entry, more, batch: encode_vars(
        [*head, *entry, *((b"node", encode_vars(inner)) for inner in batch), *more]
    ),
    HEADS, ENTRIES | st.just([]), MORE, st.lists(ENTRIES, max_size=3),
)  # fmt: skip
PACKETS = st.builds(
    lambda block, leave: encode_packet(224, leave, block), ANNOUNCED | ANNOUNCED | ANY_BLOCK, st.integers(0, 1)
)


def sized(parts: list[bytes]) -> bytes:
    """As the target ``subscriptions`` cuts it up again."""
    return b"".join((len(part) - 1).to_bytes(2, "little") + part for part in parts if len(part) <= 600)


LINES = st.sampled_from(
    ["[uwsgi]", "fastrouter = ", "fastrouter-cheap", "shared-socket = ", "=0", "127.0.0.1:3031", "$(A)", "%d", "%(x)",
     "@(", "ini = ", ":", "set = ", "set-ph", "\n", "  ", "#", "fastrouter-to=", "subscription-mountpoint = 2", "\0"]
) | st.text(max_size=8)  # fmt: skip
YAML = st.sampled_from(
    ["router:", "\n  ", "listen: ", "[", "]", "{", "}", "- ", "*a", "&a ", "!!int ", "|", ">", "'", '"', "#", "1",
     ":3031", "timeout: ", "yes", "~", "node: ", "workers:", "? "]
) | st.text(max_size=6)  # fmt: skip
WORDS = st.sampled_from(
    ["--listen", "--node", "a=127.0.0.1:1,weight=2", "--timeout", "1e9", "--processes", "-1", "--help", "--", "=",
     "none", "--subscription-allow", "10.0.0.0/8", ":3031", "--fallback", "[::1]:1", "@x", "fd://3", "0660"]
) | st.text(max_size=8)  # fmt: skip

#: A block, how much of it counts, and what comes behind it.
SEARCHED = st.builds(
    lambda block, cut, behind: max(0, len(block) - cut).to_bytes(2, "little") + block + behind,
    ANY_BLOCK, st.sampled_from([0, 0, 0, 1, 2, 9]), st.binary(max_size=9),
)  # fmt: skip

#: What answers are made of, most of them with something wrong.
STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 No", b"HTTP/1.1 20 OK",
     b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 404 Not \xe9", b"HTTP/1.1 2000 x",
     b"HTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 204 No"]
)  # fmt: skip
HEADERS = st.sampled_from(
    [b"Content-Length: 3", b"content-length:3", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"X: y", b"A:",
     b"Connection: close", b"Connection: keep-alive", b"connection: X", b"Transfer-Encoding: x", b"Upgrade: websocket",
     b"Content-Length: 3, 3", b"Content-Length : 3", b" folded", b"Trailer: X", b"Server: \xe9", b"A: \x01"]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"1;x\r\na\r\n2 \r\nbc\r\n0\r\nT: u\r\n\r\n", b"0\r\n\r\n",
     b"3\r\nabcd\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"g\r\n"]
) | st.binary(max_size=12)  # fmt: skip
ANSWERS = st.builds(
    lambda how, status, lines, body, at, byte, cut: (
        how + damaged(b"\r\n".join([status, *lines, b"", b""]) + body, at, byte, cut)
    ),
    st.binary(min_size=2, max_size=2), STATUS, st.lists(HEADERS, max_size=4), BODIES, st.integers(0, 300), SMALL, SMALL,
) | st.builds(
    lambda how, status, lines, body: how + b"\r\n".join([status, *lines, b"", b""]) + body,
    st.binary(min_size=2, max_size=2), STATUS, st.lists(HEADERS, max_size=4), BODIES,
)  # fmt: skip
VARS = st.sampled_from(
    [b"REQUEST_METHOD", b"REQUEST_URI", b"HTTP_HOST", b"CONTENT_LENGTH", b"CONTENT_TYPE", b"HTTP_CONNECTION", b"HTTP_X",
     b"HTTP_UPGRADE", b"HTTP_TRANSFER_ENCODING", b"HTTP_CONTENT_LENGTH", b"REMOTE_ADDR", b"HTTP_X_FORWARDED_FOR",
     b"QUERY_STRING", b"PATH_INFO", b"REQUEST_SCHEME", b"SERVER_PORT", b"SERVER_NAME", b"HTTP_TE", b"HTTP_host",
     b"HTTP_Content-length", b"HTTP_Transfer_encoding"]
) | st.binary(max_size=8).map(lambda rest: b"HTTP_" + rest)  # fmt: skip
SAID = st.sampled_from(
    [b"a", b"", b"1", b"foo.com", b"/x", b"chunked", b"Upgrade", b"websocket", b"a\r\nb: c", b"\n", b"\0", b"\xe9"]
) | st.binary(max_size=6)
PLAIN = [(b"REQUEST_METHOD", b"POST"), (b"REQUEST_URI", b"/"), (b"HTTP_HOST", b"a.b")]
REQUESTS = st.builds(
    lambda pairs, body: len(block := encode_vars([*PLAIN, *pairs])).to_bytes(2, "little") + block + body,
    st.lists(st.tuples(VARS, SAID), max_size=6), BODIES,
)  # fmt: skip

#: What a uwsgi worker may say without a status line.
CGI_ANSWERS = st.builds(
    lambda how, lines, end, body: how + end.join([*lines, b"", b""]) + body,
    st.binary(min_size=2, max_size=2),
    st.lists(HEADERS | st.sampled_from([b"Status: 404 Not Found", b"Status: x", b"status:204", b"Location: /"]),
             min_size=1, max_size=4),
    st.sampled_from([b"\r\n", b"\n"]), BODIES,
)  # fmt: skip
#: What clients of an HTTP front send: requests with something wrong, or with something behind them.
REQUEST_LINES = st.sampled_from(
    [b"GET / HTTP/1.1", b"POST /a%2fb//c?d HTTP/1.1", b"GET http://b.c:8/x HTTP/1.1", b"HEAD /../a HTTP/1.0",
     b"OPTIONS * HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.2", b"CONNECT a:1 HTTP/1.1",
     b"\r\nGET /a/./b/../c/ HTTP/1.1", b"PRI * HTTP/2.0", b"GET /#a HTTP/1.1", b"GET http://u@a/ HTTP/1.1",
     b"GET http://a?b HTTP/1.1", b"PUT /%00 HTTP/1.1"]
)  # fmt: skip
CLIENT_HEADERS = st.sampled_from(
    [b"Host: a.b", b"Host: a.b:80", b"host:  c ", b"Host: a b", b"Content-Length: 3", b"Content-Length: 0",
     b"Content-Length: 3, 3", b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked", b"Transfer-Encoding: x",
     b"Content-Length : 3", b" folded", b"X: y", b"X_Y: z", b"X-Y: z", b"x: 2", b"Cookie: a", b"Cookie: b",
     b"Connection: close", b"Connection: Upgrade, x", b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue",
     b"X-Forwarded-For: 1.2.3.4, [::1]:5", b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 44a", b"Proxy: p",
     b"X_Forwarded_For: 9.9.9.9", b"Content_Length: 9", b"TE: trailers", b"Keep-Alive: 5", b"A: \x01", b"B:", b"C"]
)  # fmt: skip
HEADS_OF_CLIENTS = st.builds(
    lambda piece, line, lines, body, at, byte, cut: (
        piece + damaged(b"\r\n".join([line, b"Host: a.b", *lines, b"", b""]) + body, at, byte, cut)
    ),
    st.binary(min_size=1, max_size=1), REQUEST_LINES, st.lists(CLIENT_HEADERS, max_size=5), BODIES,
    st.integers(0, 300), SMALL, SMALL,
) | st.builds(
    lambda piece, line, lines, body: piece + b"\r\n".join([line, *lines, b"", b""]) + body,
    st.binary(min_size=1, max_size=1), REQUEST_LINES, st.lists(CLIENT_HEADERS, max_size=5), BODIES,
) | st.builds(
    lambda piece, line, lines, framing, body: (
        piece + b"\r\n".join([line, b"Host: a", *lines, framing, b"", b""]) + body
    ),
    st.binary(min_size=1, max_size=1), st.sampled_from([b"GET /a?b HTTP/1.1", b"PUT http://a.b/\xff HTTP/1.1"]),
    st.lists(CLIENT_HEADERS.filter(lambda line: line[:1] in b"XxCUEPT" and line[1:2] in b"-:or_pE"), max_size=5),
    st.sampled_from([b"Content-Length: 3", b"Transfer-Encoding: chunked", b"A: b"]), BODIES,
)  # fmt: skip

#: Bytes to try, by target, and how many in a fast run.
INPUTS: dict[str, tuple[st.SearchStrategy[bytes], int]] = {
    "codec": (ANY_BLOCK, 200),
    "key_search": (SEARCHED, 300),
    "subscriptions": (st.lists(PACKETS, max_size=12).map(sized) | st.binary(max_size=200), 200),
    "uwsgi_ini": (st.lists(LINES, max_size=20).map(lambda lines: "".join(lines).encode()), 150),
    "yaml": (st.lists(YAML, max_size=20).map(lambda parts: "".join(parts).encode()), 150),
    "command_line": (st.lists(WORDS, max_size=6).map(lambda words: "\0".join(words).encode()), 150),
    "http_answer": (ANSWERS, 1500),
    "http_head": (REQUESTS, 300),
    "request_head": (HEADS_OF_CLIENTS, 1500),
    "framed_answer": (ANSWERS | CGI_ANSWERS, 800),
    "relay": (st.binary(min_size=10, max_size=240), 150),
    "relay_kept": (st.binary(min_size=10, max_size=240), 150),
    "relay_front": (st.binary(min_size=10, max_size=240), 100),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_the_kept_corpus_holds(target: str) -> None:
    for file in sorted((CORPUS / target).iterdir()):
        try:
            TARGETS[target](file.read_bytes())
        except BaseException as error:
            raise AssertionError(f"{file}: {type(error).__name__}: {error}") from error


@pytest.mark.timeout(7200 if DEEP else 120)
@pytest.mark.parametrize("target", TARGETS)
def test_whatever_the_bytes(target: str) -> None:
    strategy, examples = INPUTS[target]

    @settings(
        max_examples=examples * (200 if DEEP else 1), deadline=None, suppress_health_check=list(HealthCheck),
        database=None if not DEEP else settings.default.database, derandomize=not DEEP,  # type: ignore[union-attr]
    )  # fmt: skip
    @given(strategy)
    def holds(data: bytes) -> None:
        TARGETS[target](data)

    run: Callable[[], None] = holds
    run()


def test_forged_datagrams_change_nothing_of_others() -> None:
    results = datagrams.run(6_000)
    assert {"applied", "again", "replay", "bad-proof", "bad-signature", "untrusted", "sender"} <= set(results)
