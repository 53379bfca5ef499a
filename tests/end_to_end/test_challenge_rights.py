"""Whoever takes fastroute-certs over can announce challenges of its own, and take nothing away: all that it can reach
is tried here, against a router with a controller's nodes, a worker's and an operator's drain."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.programs import Router, free_port, wait_for
from support.uwsgi_client import ask, send_datagram, subscription_packet
from support.workers import Worker, answers, answers_http

from fastroute.router.protocol.entry import digest_of
from fastroute.router.protocol.node_options import NodeOptions
from fastroute.router.protocol.subscription import Ack, Announcement, Entry, decode_ack, encode, encode_plain

pytestmark = pytest.mark.timeout(60)
CHALLENGE = "foo.com/.well-known/acme-challenge"


@dataclass
class Scene:
    """A router; ``send`` is what a certs that was taken over can do at its socket."""

    router: Router
    directory: Path
    foo: str
    node: str
    sock: socket.socket

    def send(self, datagram: bytes) -> Ack:
        self.sock.sendto(datagram, str(self.directory / "challenge.sock"))
        ack = decode_ack(self.sock.recv(65536))
        assert ack is not None
        return ack

    def read(self, path: str = "/v1/status", method: str = "GET", **more: Any) -> httpx.Response:
        transport = httpx.HTTPTransport(uds=str(self.directory / "status.sock"))
        with httpx.Client(transport=transport) as client:
            return client.request(method, f"http://router{path}", **more)

    def keys(self) -> dict[str, dict[str, str]]:
        return {
            key["key"]: {node["address"]: node["state"] for node in key["nodes"]} for key in self.read().json()["keys"]
        }


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    node = str(tmp_path / "certs.sock")
    options = ("--challenge-server", str(tmp_path / "challenge.sock"), "--challenge-node", node,
               "--admin-read", str(tmp_path / "status.sock"))  # fmt: skip
    with (
        Worker(answers(b"foo")) as foo,
        Worker(answers_http(b"token"), path=node),
        Router(*options) as router,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(str(tmp_path / "certs-own.sock"))
        sock.settimeout(10)
        entries = (Entry("foo.com", foo.address), Entry("bar.com", "127.0.0.1:9"))
        controller = Announcement(entries=entries, source="controller", instance=5, seq=1)
        send_datagram(router.port, encode(controller))
        send_datagram(router.port, subscription_packet("worker.com", foo.address))
        scene = Scene(router, tmp_path, foo.address, node, sock)
        wait_for(lambda: len(scene.keys()) == 3, "all are announced")
        wait_for(lambda: scene.read("/readyz").status_code == 200, "it is ready")
        yield scene


def from_certs(entry: Entry, send: Callable[..., bytes] = encode_plain, **head: Any) -> bytes:
    announcement = Announcement(seq=7, ack=True, **head)
    if send is encode:
        return encode(Announcement(entries=(entry,), seq=7, ack=True, **head))
    return encode_plain(entry, announcement)


def test_a_challenge_is_answered_through_the_router_and_the_rest_of_the_host_is_not(scene: Scene) -> None:
    assert scene.send(
        encode_plain(Entry(CHALLENGE, scene.node, NodeOptions(protocol="http")), Announcement(seq=1, ack=True))
    ).result == ("applied")
    assert ask(scene.router.port, "foo.com", path="/.well-known/acme-challenge/x").body == b"token"
    assert ask(scene.router.port, "foo.com", path="/").body == b"foo"
    gone = Entry(CHALLENGE, scene.node, gone=True)
    assert scene.send(encode_plain(gone, Announcement(seq=2, ack=True))).result == "applied"
    assert ask(scene.router.port, "foo.com", path="/.well-known/acme-challenge/x").status == 503, "--key-grace"
    assert ask(scene.router.port, "foo.com", path="/").body == b"foo"


def test_nothing_else_can_be_announced_drained_taken_over_or_removed(scene: Scene) -> None:
    before = scene.keys()
    foo, node = scene.foo, scene.node
    none: tuple[Entry, ...] = ()
    tries = [
        from_certs(Entry("foo.com", node)),
        from_certs(Entry("evil.com", node)),
        from_certs(Entry("*.com/.well-known/acme-challenge", node)),
        from_certs(Entry(CHALLENGE, foo)),
        from_certs(Entry(CHALLENGE, "127.0.0.1:22")),
        from_certs(Entry("foo.com", foo, drain=True)),
        from_certs(Entry("foo.com", foo, drain=True), source="controller", instance=5),
        from_certs(Entry("foo.com", foo, gone=True), source="controller", instance=5),
        from_certs(Entry("foo.com", foo, gone=True), encode, source="controller", instance=6),
        from_certs(Entry("foo.com", gone=True), encode, source="controller", instance=6),
        from_certs(Entry("worker.com", foo, gone=True)),
        from_certs(Entry(CHALLENGE, node), encode, source="controller", instance=9),
        encode(Announcement("mark", none, "controller", 6, 7, True, 0, 0, digest_of(none))),
        encode(Announcement("heartbeat", none, "controller", 6, 7, True, 0, 0, digest_of(none))),
        encode(Announcement(entries=(Entry(CHALLENGE, node), Entry("evil.com", node)), seq=7, ack=True)),
    ]
    for number, datagram in enumerate(tries):
        ack = scene.send(datagram)
        assert (ack.result, ack.reason != "") == ("refused", True), number
    assert scene.keys() == before
    refused = scene.read().json()["router"]["subscriptions"]["refused"]
    assert refused == {"foreign-address": 2, "not-challenge": len(tries) - 2}
    assert ask(scene.router.port, "foo.com").body == b"foo"
    assert "HOST/.well-known/acme-challenge expected" in scene.router.output()


@pytest.mark.parametrize("verb", ["drain", "undrain", "weight"])
def test_the_admin_for_reading_changes_nothing_even_by_a_unix_socket(scene: Scene, verb: str) -> None:
    before = scene.keys()
    change = json.dumps({"target": "foo.com", "weight": 0}).encode()
    answer = scene.read(f"/v1/{verb}", "POST", content=change, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "reading only" in answer.text) == (403, True)
    assert scene.keys() == before
    assert scene.read("/readyz").status_code == scene.read("/metrics").status_code == 200


def test_a_router_that_takes_over_has_the_challenge_server_and_the_admin_for_reading(tmp_path: Path) -> None:
    challenge, status, node = (str(tmp_path / f"{name}.sock") for name in ("challenge", "status", "certs"))
    place = (free_port(), free_port())
    options = ("--listen", f"127.0.0.1:{free_port()}", "--run-dir", str(tmp_path), "--challenge-server", challenge,
               "--challenge-node", node, "--admin-read", status)  # fmt: skip
    with Router.at(*place, *options) as old, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        old.wait_line("serves on")
        sock.bind(str(tmp_path / "own.sock"))
        sock.settimeout(10)
        sock.connect(challenge)
        with Router.at(*place, *options) as new:
            old.wait_line("handed over to the router with pid")
            new.wait_line("serves on")
            assert old.ended() == 0
            sock.send(encode_plain(Entry(CHALLENGE, node, NodeOptions(protocol="http")), Announcement(seq=1, ack=True)))
            ack = decode_ack(sock.recv(65536))
            assert ack is not None
            assert ack.result == "applied"
            with httpx.Client(transport=httpx.HTTPTransport(uds=status)) as client:
                assert [key["key"] for key in client.get("http://router/v1/status").json()["keys"]] == [CHALLENGE]
