"""Floods of subscriptions: others are heard meanwhile, requests are served, and what was refused is counted."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Router, UwsgiWorker, wait_for
from support.uwsgi_client import ask, subscription_packet

from fastroute.router.protocol.wire import encode_packet, encode_vars

LONG_KEY = subscription_packet("k" * 2000, "127.0.0.1:9")
HUGE = encode_packet(224, 0, encode_vars([(b"key", b"a.b"), (b"pad", b"x" * 65_000)]))
VALID = subscription_packet("flood.com", "127.0.0.1:9")
BATCHES = encode_packet(224, 0, encode_vars([(b"node", encode_vars([(b"key", b"a.b"), (b"address", b"")]))] * 1800))


def get(router: Router, path: str) -> str:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", router.admin_port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def counted(router: Router, reason: str) -> int:
    lines = get(router, "/metrics").splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if f'reason="{reason}"' in line)


@contextlib.contextmanager
def flood(port: int, datagram: bytes) -> Iterator[None]:
    """One sender that never pauses."""
    over = threading.Event()

    def send() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            while not over.is_set():
                with contextlib.suppress(OSError):
                    sock.send(datagram)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    "datagram", [LONG_KEY, HUGE, VALID, BATCHES, b"\xe0"], ids=["key", "huge", "valid", "batch", "no"]
)
def test_a_flood_from_one_sender_starves_nobody(datagram: bytes) -> None:
    with Router() as router, UwsgiWorker("one") as worker, flood(router.port, datagram):
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            # As a worker does, again and again: the kernel drops what comes while the socket is full.
            def joined() -> bool:
                other.sendto(subscription_packet("foo.com", worker.address), ("127.0.0.1", router.port))
                return '"foo.com"' in get(router, "/v1/status")

            wait_for(joined, "the other's node has joined")
        assert ask(router.port, "foo.com").status == 200
        status = json.loads(get(router, "/v1/status"))
        assert {key["key"] for key in status["keys"]} <= {"foo.com", "flood.com"}


def test_long_keys_and_huge_datagrams_are_refused_and_counted_and_change_nothing(tmp_path: Path) -> None:
    with Router() as router, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", router.port))
        for datagram in (LONG_KEY, HUGE):
            sock.send(datagram)
        wait_for(lambda: counted(router, "bad-key") == 1 and counted(router, "bad-address") == 1, "both are counted")
        assert json.loads(get(router, "/v1/status"))["keys"] == []


def test_what_was_refused_is_in_metrics_status_and_events() -> None:
    with Router() as router, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", router.port))
        sock.send(LONG_KEY)
        sock.send(VALID)
        wait_for(lambda: "flood.com" in get(router, "/v1/status"), "both were read")
        found = json.loads(get(router, "/v1/status"))["router"]
        assert found["subscriptions"] == {"results": {"applied": 1}, "refused": {"bad-key": 1}, "dropped": 0}
        wait_for(lambda: not json.loads(get(router, "/v1/status"))["router"]["relays"][0]["lag"], "no lag is left")
        assert "subscription-refused" in get(router, "/v1/events?follow=0")
