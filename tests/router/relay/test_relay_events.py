"""A real relay marks server-sent events for nginx, whichever way their answer goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.relaying import RelayProcess
from support.uwsgi_client import request_packet
from support.waiting import wait_for
from support.workers import Connection, Worker

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\nhello"


def keeps(connection: Connection) -> None:
    """Answers one uwsgi request after the other on its connection, as gunicorn does."""
    while True:
        connection.read_packet()
        connection.send(EVENTS)


def closes(connection: Connection) -> None:
    connection.read_packet()
    connection.send(EVENTS)


def http(connection: Connection) -> None:
    while connection.exactly(1):
        connection.sock.recv(65536)
        connection.send(EVENTS)


def ask(relay: RelayProcess) -> bytes:
    """The answer's head; leaves, as nginx does, when the answer is whole."""
    with relay.connect() as client:
        client.sendall(request_packet("foo.com"))
        data = b""
        while not data.endswith(b"hello"):
            data += client.recv(1000)
        return data


@pytest.mark.parametrize(("script", "protocol"), [(closes, "uwsgi"), (keeps, "uwsgi"), (http, "http")])
def test_server_sent_events_are_marked(tmp_path: Path, script: object, protocol: str) -> None:
    with RelayProcess(tmp_path) as relay, Worker(script) as worker:  # type: ignore[arg-type]
        relay.serve([("foo.com", worker.address, 1, 0, 0, 0, 0, protocol)])

        def kept() -> bool:
            before = len({id(one) for one in worker.requests})
            assert ask(relay).count(b"\r\nX-Accel-Buffering: no\r\n") == 1
            return len({id(one) for one in worker.requests}) == before

        assert ask(relay).count(b"\r\nX-Accel-Buffering: no\r\n") == 1
        if script is keeps:
            wait_for(kept, seconds=10)
