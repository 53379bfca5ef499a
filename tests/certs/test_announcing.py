"""The challenge's path is announced as each router needs it: by port alone, with a secret, to several routers."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from support.certs_program import CertsProgram
from support.fake_ca import FakeCa
from support.programs import Nginx, Router, free_port
from support.uwsgi_client import send_datagram, subscription_packet

HOST = "foo.example.com"


def through(nginx: Nginx, port: int, ca: FakeCa, *more: str) -> tuple[str, ...]:
    """Options: the self-check goes through nginx and the router, as the CA would."""
    check = f"127.0.0.1:{nginx.port}"
    return (
        "--agree-tos", "--directory", ca.directory, "--challenge", f":{port}", "--self-check-address", check, *more,
    )  # fmt: skip


def test_a_port_alone_means_our_own_ip(tmp_path: Path) -> None:
    with (
        FakeCa() as ca,
        Router("--node", f"{HOST}=127.0.0.1:9", "--wait", "5") as router,
        Nginx(f"127.0.0.1:{router.port}") as nginx,
        CertsProgram([router], tmp_path, *through(nginx, free_port(), ca)) as certs,
    ):
        certs.wait_state(HOST, "valid")


def test_with_a_shared_secret_to_two_routers(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "secret").chmod(0o600)
    secret = ("--subscription-secret-file", str(tmp_path / "secret"))
    with (
        FakeCa() as ca,
        Router("--node", f"{HOST}=127.0.0.1:9", *secret) as first,
        Router("--node", f"{HOST}=127.0.0.1:9", *secret) as second,
        Nginx(f"127.0.0.1:{second.port}") as nginx,
        CertsProgram([first, second], tmp_path / "dir", *through(nginx, free_port(), ca, *secret)) as certs,
    ):
        certs.wait_state(HOST, "valid")
        assert "does not answer" not in certs.output()


def test_a_router_that_refuses_is_told_of(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    secret.chmod(0o600)
    with (
        FakeCa() as ca,
        Router("--node", f"{HOST}=127.0.0.1:9") as router,
        Nginx(f"127.0.0.1:{router.port}") as nginx,
        CertsProgram(
            [router], tmp_path / "dir", *through(nginx, free_port(), ca, "--subscription-secret-file", str(secret))
        ) as certs,
    ):
        row = certs.wait_state(HOST, "failed")
        assert "no router has taken the path of the challenge" in row["reason"]
        assert ca.count("order") == 0


def test_a_host_that_a_running_router_learns_gets_its_pair_within_seconds(tmp_path: Path) -> None:
    with Router() as router, CertsProgram([router], tmp_path) as certs:
        certs.wait_for(certs.ready, "it is ready")
        send_datagram(router.port, subscription_packet("new.example.com", "127.0.0.1:9"))
        certs.wait_for((tmp_path / "new.example.com/fullchain.pem").exists, "the new host's pair", 10)
        with urllib.request.urlopen(f"http://127.0.0.1:{certs.admin_port}/v1/events?follow=0", timeout=5) as answer:
            events = [json.loads(line[6:]) for line in answer.read().decode().splitlines() if line.startswith("data: ")]
        assert [event["kind"] for event in events if event.get("host") == "new.example.com"] == ["self-signed"]
