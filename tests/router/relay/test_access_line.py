"""One request as one line: whatever the values, one line, and every field where it belongs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ended import NAMES, ended_request
from support.uwsgi_client import request_packet

from fastroute.router.relay.access_line import (
    MAX_LINE,
    MAX_QUEUE_TIME,
    AccessRecord,
    json_line,
    queue_time,
    status_of,
    text_line,
)
from fastroute.router.relay.vars import variables

STAMP = b"23/Nov/2026:20:53:54 +0000"
LINE = re.compile(
    r'(?P<client>\S+) - (?P<user>\S+) \[(?P<stamp>[^]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}|-) (?P<bytes>\d+)'
    r' "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" key=(?P<key>\S+) node=(?P<node>\S+) connect=(?P<connect>[\d.]+|-)'
    r" answer=(?P<answer>[\d.]+|-) total=(?P<total>[\d.]+) received=(?P<received>\d+) tries=(?P<tries>\d+)"
    r" error=(?P<error>\S+) id=(?P<id>\S+) queue=(?P<queue>[\d.]+|-) waited=(?P<waited>[\d.]+|-)\n"
)


def request(shown: dict[bytes, bytes] | None = None, address: str = "10.0.0.1:80", **more: Any) -> AccessRecord:
    """What a line is made of; an answered request unless ``more`` says otherwise."""
    return ended_request(address, shown, **more)


def vars_of(**more: str) -> dict[bytes, bytes]:
    packet = request_packet("foo.com", path="/a?b=1", HTTP_USER_AGENT="curl/8", **more)  # type: ignore[arg-type]
    return variables(packet, len(packet))


def test_text_is_nginx_combined_and_what_only_a_router_knows() -> None:
    shown = vars_of(REMOTE_USER="joe", HTTP_REFERER="http://x/", HTTP_X_REQUEST_ID="abc")
    assert text_line(request(shown), STAMP, 0.0025) == (
        b'203.0.113.9 - joe [23/Nov/2026:20:53:54 +0000] "GET /a?b=1 HTTP/1.1" 200 43 "http://x/" "curl/8"'
        b" key=foo.com node=10.0.0.1:80 connect=0.0 answer=12.3 total=13.4 received=745 tries=1 error=- id=abc"
        b" queue=2.5 waited=-\n"
    )


def test_json_has_the_same_fields() -> None:
    assert json.loads(json_line(request(vars_of()), b"2026-11-23T20:53:54.123Z", -1.0)) == {
        "client": "203.0.113.9", "user": "", "ts": "2026-11-23T20:53:54.123Z", "method": "GET", "uri": "/a?b=1",
        "protocol": "HTTP/1.1", "status": 200, "bytes": 43, "referer": "", "agent": "curl/8", "key": "foo.com",
        "node": "10.0.0.1:80", "connect_ms": 0.0, "answer_ms": 12.3, "total_ms": 13.4, "received": 745, "tries": 1,
        "error": "", "request_id": "", "queue_ms": None, "waited_ms": None,
    }  # fmt: skip


def test_a_request_that_reached_no_node_has_no_times_and_no_node() -> None:
    one = request(None, "", key=b"", status=b"400", fault="bad-request", tries=0, connect_time=-1.0, answer_time=-1.0)
    found = LINE.fullmatch(text_line(one, STAMP, -1.0).decode())
    assert found is not None
    assert found.group("node", "connect", "answer", "status", "error", "tries") == (
        "-", "-", "-", "400", "bad-request", "0",
    )  # fmt: skip
    line = json.loads(json_line(one, STAMP, -1.0))
    assert (line["connect_ms"], line["answer_ms"], line["node"], line["error"]) == (None, None, "", "bad-request")


@pytest.mark.parametrize(
    ("header", "queue"),
    [
        ("t=1700000000123", 2.377), ("1700000000123", 2.377), ("t=1700000000.123", 2.377), ("1700000000.123", 2.377),
        ("t=1700000000123456", 2.376544), ("t=1700000000123456789", 2.376543211), ("t=1700000000", 2.5),
        # A clock that is a little ahead, and what can't be.
        ("t=1700000003000", 0.0), ("t=1700000004000", -1.0), ("t=1699996000000", -1.0), ("t=0", -1.0),
        ("", -1.0), ("t=", -1.0), ("soon", -1.0), ("t=-1700000000123", -1.0), ("t=1e12", -1.0), ("t=inf", -1.0),
        ("t=1700000000123, t=1700000000123", -1.0), ("t=" + "9" * 21, -1.0), ("t=" + "9" * 20, -1.0),
    ],
)  # fmt: skip
def test_the_time_in_queues_before_is_what_the_header_says_or_nothing(header: str, queue: float) -> None:
    record = request({b"HTTP_X_REQUEST_START": header.encode()}, sent_at=100.0)
    assert queue_time(record, 1_700_000_002.5 - 100.0) == pytest.approx(queue, abs=1e-5)


def test_a_request_that_no_node_took_was_in_no_queue() -> None:
    record = request({b"HTTP_X_REQUEST_START": b"t=1700000000000"}, connect_time=-1.0, sent_at=0.0)
    assert queue_time(record, 1_700_000_000.0) == -1.0


@given(st.binary(max_size=40), st.floats(0, 1e6), st.floats(0, 2e9))
def test_whatever_the_header_says_the_time_is_bounded(header: bytes, sent_at: float, epoch: float) -> None:
    record = request({b"HTTP_X_REQUEST_START": header}, sent_at=sent_at)
    assert queue_time(record, epoch) == -1.0 or 0 <= queue_time(record, epoch) <= MAX_QUEUE_TIME
    assert LINE.fullmatch(text_line(record, STAMP, queue_time(record, epoch)).decode())


ANYTHING = st.binary(max_size=40) | st.text(max_size=3000).map(lambda text: text.encode("utf-8", "replace"))
SHOWN = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, ANYTHING))


@given(SHOWN, st.binary(max_size=300), st.sampled_from([-1.0, 0.0, 123456.0]))
def test_no_value_can_end_a_line_or_a_field(shown: dict[bytes, bytes], key: bytes, answer: float) -> None:
    one = request(shown, key=key, answer_time=answer)
    line = text_line(one, STAMP, -1.0)
    assert LINE.fullmatch(line.decode("ascii")), line
    assert len(line) <= MAX_LINE
    packed = json_line(one, STAMP, -1.0)
    assert packed.count(b"\n") == 1
    assert packed.isascii()
    assert len(packed) <= MAX_LINE
    assert json.loads(packed)["status"] == 200


@pytest.mark.parametrize(
    "user", ['x [23/Nov/2026:20:53:54 +0000] "GET / HTTP/1.1"', "x [23/Nov/2026:20:53:54 +0000] y"]
)
def test_a_user_name_with_blanks_and_a_time_in_it_forges_nothing(user: str) -> None:
    found = LINE.fullmatch(text_line(request(vars_of(REMOTE_USER=user)), STAMP, -1.0).decode())
    assert found is not None
    assert found["user"].startswith("x\\x20[23/Nov/2026:20:53:54\\x20")


def test_a_key_or_id_with_blanks_is_still_one_field() -> None:
    one = request(vars_of(HTTP_X_REQUEST_ID="a error=-"), key=b"k node=x")
    found = LINE.fullmatch(text_line(one, STAMP, -1.0).decode())
    assert found is not None
    assert found.group("key", "id") == ("k\\x20node=x", "a\\x20error=-")


@pytest.mark.parametrize("fill", [b"a", b'"', b"\0", b"\xff", b" "])
def test_a_line_is_never_longer_than_a_pipe_takes_whole(fill: bytes) -> None:
    one = request(dict.fromkeys(NAMES, fill * 20_000), key=fill * 20_000)
    for line in (text_line(one, STAMP, -1.0), json_line(one, STAMP, -1.0)):
        assert 500 < len(line) <= MAX_LINE
        assert line.endswith((b"\n", b"}\n"))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 404 Not Found\r\n", b"404"),
        (b"HTTP/1.0 200 OK\r\n", b"200"),
        (b"Status: 503 Busy\r\nContent-Type: x\r\n\r\n", b"503"),
        (b"Content-Type: text/plain\r\nstatus:404\r\n\r\nstatus: 500", b"404"),
        (b"Content-Type: text/plain\r\n\r\nStatus: 500", b"200"),
        (b"Location: /x\r\n\r\n", b"302"),
        (b"HTTP/1.1", b""),
        (b"nonsense", b""),
    ],
)
def test_the_status_is_what_nginx_would_take_it_for(answer: bytes, status: bytes) -> None:
    assert status_of(answer) == status
