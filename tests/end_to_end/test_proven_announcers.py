"""Announcers that prove themselves by the secret, through a link that loses, repeats and forges, to the real router."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.applying import apply
from support.hostile_link import HostileLink, forgeries
from support.programs import Router, wait_for

from fastroute.controller.desired import Desired, Route
from fastroute.controller.router_mode.announcer import SourceAnnouncer
from fastroute.ctl import main as ctl
from fastroute.router.protocol.address import parse_address
from fastroute.router.protocol.proof import Prover, read_secret
from fastroute.router.protocol.subscription import Announcement, Entry, encode_plain

SECRET = "a secret that nobody here could guess"


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    return str(file)


@pytest.fixture
def router(secret: str) -> Iterator[Router]:
    """Believes nobody without a proof."""
    options = ("--subscription-secret-file", secret, "--subscription-allow", "none")
    with Router(*options) as started:
        yield started


def nodes(router: Router) -> set[tuple[str, str]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/v1/status", timeout=10) as answer:
        keys: list[dict[str, Any]] = json.load(answer)["keys"]
    return {(key["key"], node["address"]) for key in keys for node in key["nodes"]}


def counted(router: Router, reason: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if f'reason="{reason}"' in line)


def desired(*entries: Entry) -> Desired:
    return {route.id: route for route in (Route(entry, "c") for entry in entries)}


def announcer(port: int, secret: str) -> SourceAnnouncer:
    one = SourceAnnouncer([parse_address(f"127.0.0.1:{port}")], lambda: "test", 0.5, read_secret(secret))
    one.start()
    return one


def test_a_controller_and_an_operator_with_the_secret_are_believed_and_others_are_not(
    router: Router, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = f"127.0.0.1:{router.port}"

    def told(verb: str, *options: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            ctl.main([verb, "op.com", "10.1.1.1:80", "--server", server, *options])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err  # type: ignore[return-value]

    other = tmp_path / "other"
    other.write_text(SECRET[::-1])
    with closing(announcer(router.port, secret)) as ours, closing(announcer(router.port, str(other))) as foreign:
        apply(ours, desired(Entry("foo.com", "10.0.0.1:80", owner="c@1")))
        apply(foreign, desired(Entry("evil.com", "10.6.6.6:80", owner="c@1")))
        wait_for(lambda: ("foo.com", "10.0.0.1:80") in nodes(router), "the controller's node is there")
        assert "no ack" in told("subscribe")[1]
        assert told("subscribe", "--subscription-secret-file", secret) == (
            0,
            f"{server}: op.com => 10.1.1.1:80 subscribed\n",
        )
        assert nodes(router) == {("foo.com", "10.0.0.1:80"), ("op.com", "10.1.1.1:80")}
        assert told("unsubscribe", "--subscription-secret-file", secret)[0] == 0
        assert nodes(router) == {("foo.com", "10.0.0.1:80")}
        assert told("subscribe", "--subscription-secret-file", str(tmp_path / "none"))[0] == 2
    assert counted(router, "bad-proof")
    assert counted(router, "sender")


def test_what_was_recorded_is_of_no_use(router: Router, secret: str) -> None:
    held = Entry("foo.com", "10.0.0.1:80", owner="c@1"), Entry("bar.com", "10.0.0.2:80", owner="c@2")
    with HostileLink(router.port) as link, closing(announcer(link.port, secret)) as ours:
        apply(ours, desired(*held))
        wait_for(lambda: len(nodes(router)) == 2, "both nodes are there")
        apply(ours, desired(held[0]))
        wait_for(lambda: len(nodes(router)) == 1, "one is withdrawn")
        # The announcer goes on, and what it says since is recorded, too.
        recorded = [*link.recorded]
        for datagram in recorded:
            link.send(datagram)
            link.send(datagram[:3] + b"\x01" + datagram[4:])
        wait_for(lambda: counted(router, "replay") + counted(router, "bad-proof") > len(recorded), "all was seen")
        assert nodes(router) == {("foo.com", "10.0.0.1:80")}
    with Router("--subscription-secret-file", secret, "--subscription-allow", "none") as another:
        with HostileLink(another.port) as to_another:
            for datagram in link.recorded:
                to_another.send(datagram)
        wait_for(lambda: 'result="again"' in metrics(another), "another router has heard it")
        assert nodes(another) == set()


def metrics(router: Router) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_through_a_hostile_network_ends_what_was_announced(router: Router, secret: str) -> None:
    entries = [
        Entry(f"k{number % 40}.com", f"10.0.{number // 250}.{number % 250 + 1}:80", owner=f"c{number}@1")
        for number in range(400)
    ]
    with (
        HostileLink(router.port, loss=0.15, delay=0.02, forge=forgeries, seed=4) as link,
        closing(announcer(link.port, secret)) as ours,
    ):
        for count in (400, 100, 300):
            apply(ours, desired(*entries[:count]))
            held = {(entry.key, entry.address) for entry in entries[:count]}
            wait_for(lambda held=held: nodes(router) == held, f"{count} nodes are there")
        # Acks were forged too: what is acked in the end is what the router holds.
        wait_for(lambda: ours.status()["routers"][0]["pending"] == 0, "nothing is pending")  # type: ignore[index]
        assert link.forged > 100
        assert ours.status()["routers"][0]["refused"] == []  # type: ignore[index]


def test_the_first_packet_is_asked_for_again_and_then_counts(router: Router, secret: str) -> None:
    prover = Prover(read_secret(secret))
    packet = encode_plain(Entry("w.com", "10.0.0.9:80"), Announcement(ack=True))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", router.port))
        sock.settimeout(5)
        results = []
        for _ in range(3):
            sock.send(prover.seal(packet))
            ack = prover.open(sock.recv(4096))
            assert ack is not None
            results.append(ack.result)
    assert results == ["again", "applied", "applied"]
