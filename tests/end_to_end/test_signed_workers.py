"""Subscriptions that a real uWSGI worker signs, to our router; and what a listener on the way can do with them."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hostile_link import HostileLink
from support.keys import key_pair, write_private, write_public
from support.programs import Router, UwsgiWorker
from support.uwsgi_client import ask

from fastroute.router.protocol.subscription import Announcement, decode


@pytest.fixture(params=["SHA1", "sha256"])
def digest(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def router(digest: str, tmp_path: Path) -> Iterator[Router]:
    """Configured as uWSGI is: nobody is believed without a signature."""
    write_public(tmp_path / "foo.com.pem", key_pair())
    write_private(tmp_path / "private.pem", key_pair())
    write_private(tmp_path / "other.pem", key_pair(1))
    ini = tmp_path / "router.ini"
    ini.write_text(f"[uwsgi]\nsubscriptions-sign-check = {digest}:{tmp_path}\n")
    with Router(str(ini)) as started:
        yield started


def worker(name: str, port: int, digest: str, key: Path) -> UwsgiWorker:
    return UwsgiWorker(name, subscribe=f"server=127.0.0.1:{port},key=foo.com,sign={digest}:{key}")


def nodes(router: Router) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/v1/status", timeout=10) as answer:
        return [node for key in json.load(answer)["keys"] for node in key["nodes"]]


def counted(router: Router, reason: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if f'reason="{reason}"' in line)


def test_a_signed_worker_serves_and_leaves_and_what_was_recorded_does_neither(
    router: Router, digest: str, tmp_path: Path
) -> None:
    with HostileLink(router.port) as link:
        with (
            worker("signed", link.port, digest, tmp_path / "private.pem") as signed,
            worker("foreign", link.port, digest, tmp_path / "other.pem"),
            UwsgiWorker("unsigned", subscribe=f"server=127.0.0.1:{link.port},key=foo.com"),
        ):
            router.wait_for(lambda: nodes(router), "the signed worker has joined")
            router.wait_for(lambda: counted(router, "bad-signature") and counted(router, "sender"), "others were heard")
            assert [node["address"] for node in nodes(router)] == [signed.address]
            assert ask(router.port, "foo.com").node == "signed"

            joins = [datagram for datagram in link.recorded if of(datagram, signed.address)]
            assert joins
            before = counted(router, "replay")
            for join in joins:
                link.send(join)
                link.send(join[:3] + b"\x01" + join[4:])
            router.wait_for(lambda: counted(router, "replay") == before + 2 * len(joins), "all of it was seen")
            assert [node["address"] for node in nodes(router)] == [signed.address], "a captured join is no leave"

            signed.send_signal(signal.SIGTERM)
            router.wait_for(lambda: not nodes(router), "the worker has left by itself")
            router.wait_line(f"foo.com => node removed: {signed.address} (withdrawn)")
        for datagram in [*link.recorded]:
            link.send(datagram)
            link.send(datagram[:3] + b"\0" + datagram[4:])
        router.wait_for(lambda: counted(router, "replay") > before + 2 * len(joins) + 1, "all of it was seen again")
        assert nodes(router) == [], "nothing revives it"


def of(datagram: bytes, address: str) -> bool:
    said = decode(datagram)
    assert isinstance(said, Announcement)
    return said.entries[0].address == address and not said.entries[0].gone
