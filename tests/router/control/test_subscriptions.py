"""The subscription sockets: what is refused is counted, and said to whoever asks and is near enough to be believed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fastroute.router.control.auth.authenticator import Admitted, PacketAuthenticator
from fastroute.router.control.auth.rules import AdmissionRules
from fastroute.router.control.subscriptions import MAX_LOG_LINES, SubscriptionServer
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, PacketError, decode, encode_plain
from fastroute.router.protocol.wire import encode_packet, encode_vars
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.own_sockets import OwnSockets


def plain(**fields: str) -> bytes:
    return encode_packet(224, 0, encode_vars([(k.encode(), v.encode()) for k, v in fields.items()]))


def exchange(*datagrams: bytes) -> tuple[list[Ack], dict[tuple[str, str], int], list[Announcement]]:
    """Send to a server of its own; its acks, its counts, and what it took for admitted."""
    taken: list[Announcement] = []

    def take(admitted: Admitted, *_: object) -> None:
        announcement = admitted.announcement
        if announcement.entries[0].key == "full.example":
            raise PacketError("too-many", "no room")
        taken.append(announcement)

    async def run() -> tuple[list[Ack], dict[tuple[str, str], int]]:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as theirs:
            ours.bind(("127.0.0.1", 0))
            theirs.bind(("127.0.0.1", 0))
            theirs.setblocking(False)
            rules = AdmissionRules(["127.0.0.0/8"], OwnSockets([("127.0.0.1:3031", None, False)]).owns)
            burst = asyncio.Event()
            server = SubscriptionServer({ours: PacketAuthenticator(rules)}, take, burst.set, "00ff")
            for datagram in (*datagrams, encode_plain(Entry("end.example", "10.0.0.1:1"), Announcement())):
                await loop.sock_sendto(theirs, datagram, ours.getsockname())
            async with asyncio.timeout(10):
                while not any(one.entries[0].key == "end.example" for one in taken):
                    await burst.wait()
                    burst.clear()
            server.close()
            acks: list[Any] = []
            while True:
                try:
                    answer = decode(theirs.recv(4096))
                except BlockingIOError:
                    return acks, server.results
                assert isinstance(answer, Ack)
                acks.append(answer)

    acks, results = asyncio.run(run())
    return acks, results, taken[:-1]


@pytest.mark.parametrize(
    ("datagram", "reason", "text"),
    [
        (plain(key="k" * 256, address="10.0.0.1:1", ack="1", seq="7"), "bad-key", "256 bytes"),
        (plain(key="k", address="10.0.0.1:1", weight="x", ack="1", seq="7"), "malformed", "weight"),
        (plain(key="k", address="127.0.0.1:3031", ack="1", seq="7"), "own-address", "router itself"),
        (plain(key="k", address="nonsense", ack="1", seq="7"), "bad-address", "nonsense"),
        (plain(key="full.example", address="10.0.0.1:1", ack="1", seq="7"), "too-many", "no room"),
    ],
)
def test_who_asks_hears_why_it_was_refused(datagram: bytes, reason: str, text: str) -> None:
    (ack,), results, taken = exchange(datagram)
    assert (ack.seq, ack.boot, ack.result) == (7, "00ff", "refused")
    assert text in ack.reason
    assert results == {("refused", reason): 1}
    assert taken == []


def test_who_does_not_ask_hears_nothing() -> None:
    acks, results, _ = exchange(plain(key="k" * 256, address="10.0.0.1:1"), b"\xe0\xff\xff\x00", b"")
    assert acks == []
    assert results == {("refused", "bad-key"): 1, ("refused", "malformed"): 2}


def test_refusals_of_many_senders_are_a_few_lines_and_a_few_events(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as ours:
            ours.bind(("127.0.0.1", 0))
            authenticator = PacketAuthenticator(AdmissionRules(["127.0.0.0/8"]))
            server = SubscriptionServer({ours: authenticator}, lambda *_: None, lambda: None, "00ff", events=log)
            for at in range(1, 101):
                with socket.socket(type=socket.SOCK_DGRAM) as theirs:
                    theirs.bind((f"127.1.0.{at}", 0))
                    await loop.sock_sendto(theirs, b"\xe0junk", ours.getsockname())
                server.read()
            server.close()
            assert server.results == {("refused", "malformed"): 100}

    asyncio.run(run())
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(lines) == len(log.recent()) == MAX_LOG_LINES
    assert "127.1.0.1 refused" in lines[0]
    assert "only counted" in lines[-1]
