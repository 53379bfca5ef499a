"""A fault of the relay's own, put in from outside: it costs the request that met it, and no other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.relaying import RelayProcess
from support.uwsgi_client import request_packet
from support.workers import Worker, answers

from fastroute.router.relay import request as request_module

FAULTS = """
from fastroute.router.relay import download, request_events
from fastroute.router.relay.request import Request

right = request_events.on_packet, download._start, Request.fail

def on_packet(request, packet, end):
    if b"boom.com" in packet:
        raise RuntimeError("boom")
    right[0](request, packet, end)

def start(transfer, upstream, data):
    if b"late.com" in upstream.request:
        raise RuntimeError("boom, later")
    return right[1](transfer, upstream, data)

def fail(self):
    if self.key == b"worse.late.com":
        raise RuntimeError("boom again")
    right[2](self)

request_events.on_packet, download._start, Request.fail = on_packet, start, fail
"""


def told(client: socket.socket) -> bytes:
    """What comes before the end, which may be a reset."""
    try:
        return client.recv(100)
    except ConnectionError:
        return b""


@pytest.mark.skipif(request_module.__file__.endswith(".so"), reason="a compiled class takes no faults from outside")
def test_a_fault_costs_one_request_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Worker(answers(b"ok")) as worker, RelayProcess(tmp_path) as relay:
        relay.serve([(key, worker.address) for key in ("foo.com", "late.com", "worse.late.com")])
        before = relay.descriptors()
        with relay.connect() as held:
            held.sendall(request_packet("foo.com")[:10])
            for _ in range(3):
                assert relay.ask(request_packet("boom.com")).status == 502
                assert relay.ask(request_packet("late.com")).status == 502
                with relay.connect() as client:
                    client.sendall(request_packet("worse.late.com"))
                    assert told(client) == b""
            assert relay.ask().body == b"ok"
            held.sendall(request_packet("foo.com")[10:])
            assert b"ok" in held.recv(1000)
        relay.hears(lambda: relay.descriptors() == before)
        assert relay.log.count("RuntimeError: boom\n") == 1
        assert "a fault of the router cost a request" in relay.log
