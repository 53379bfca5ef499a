"""Which answers nginx is told not to buffer."""

import pytest

from fastroute.router.relay.http.events import unbuffered

BEGIN = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
SAID = b"X-Accel-Buffering: no\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Type: text/event-stream\r\n",
        b"content-type:text/event-stream\r\n",
        b"CONTENT-TYPE: \ttext/event-stream; charset=utf-8\r\n",
        b"Content-Type: Text/event-stream \r\nX-Other: 1\r\n",
    ],
)
def test_server_sent_events_are_not_to_be_buffered(line: bytes) -> None:
    for body in (b"", b"data: 1\n\n"):
        assert unbuffered(BEGIN + line + b"\r\n" + body) == BEGIN + line + SAID + b"\r\n" + body


@pytest.mark.parametrize(
    "told",
    [
        b"",
        BEGIN + b"\r\n",
        BEGIN + b"Content-Type: text/html\r\n\r\nContent-Type: text/event-stream\r\n\r\n",
        BEGIN + b"Content-Type: text/event-streams\r\n\r\n",
        BEGIN + b"X-Content-Type: text/event-stream\r\n\r\n",
        BEGIN + b"Content-Type: text/event-stream\r\nx-accel-buffering: yes\r\n\r\n",
        BEGIN + b"Content-Type: text/event-stream\r\n",
        b"event-stream",
    ],
)
def test_other_answers_stay_as_they_are(told: bytes) -> None:
    assert unbuffered(told) == told
