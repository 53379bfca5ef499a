"""HTTPS in the stack: self-signed from the start, then the certificates of a CA, renewed while requests run."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.certificates import CertificateAuthority
from support.load import Answer, Load
from support.programs import wait_for
from support.stack import Stack

PEBBLE = shutil.which("pebble")
#: Of the CA's certificates: they are renewed when a third is left.
LIFE_SECONDS = 30


def shown(stack: Stack) -> dict[str, dict[str, Any]]:
    """``fastroute-ctl certs``, by host."""
    rows = json.loads(stack.ctl("certs", "-o", "json"))["certificates"]
    return {row["host"]: row for row in rows}


def self_signed(stack: Stack) -> None:
    for host in ("foo.com", "bar.com"):
        stack.wait_for_certificate(host)
    assert {shown(stack)[host]["state"] for host in ("foo.com", "bar.com")} == {"self-signed"}
    assert stack.certificate("nobody.com") == ""
    url = f"https://foo.com:{stack.tls_port}/"
    done = subprocess.run(
        ["curl", "-sSk", "--http2", "--resolve", f"foo.com:{stack.tls_port}:127.0.0.1", "-w", " %{http_version}", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    name, version = done.stdout.split()
    assert version == "2"
    assert name in stack.host_names("foo")
    assert stack.get("foo.com").status == 200


def test_without_any_setting_certificates_are_self_signed(stack: Stack, two_foos: set[str]) -> None:
    self_signed(stack)
    assert stack.wait_for_certificate("localhost"), "of its own, for who looks at a new stack in a browser"


def test_in_nginx_mode_too(nginx_stack: Stack) -> None:
    self_signed(nginx_stack)


def processes_of_nginx(stack: Stack) -> list[str]:
    """Master and workers: a reload makes others."""
    rows = stack.docker("top", stack.containers("nginx")[0], "-o", "pid,comm").splitlines()
    return sorted(row for row in rows if row.endswith("nginx"))


def test_a_new_container_has_https_at_once_and_nginx_is_not_reloaded(stack: Stack, two_foos: set[str]) -> None:
    before = processes_of_nginx(stack)
    with stack.container("-l", "fastroute.key=new.com", "-l", "fastroute.probe=/", stack.image("foo")):
        assert "BEGIN CERTIFICATE" in stack.wait_for_certificate("new.com")
    assert processes_of_nginx(stack) == before


@dataclass
class Certified:
    """The stack with a CA of its own; ``root`` is the file that clients believe."""

    stack: Stack
    root: Path

    def get(self, host: str) -> Answer:
        """One request with a handshake of its own; the certificate and the name in it are checked."""
        context = ssl.create_default_context(cafile=str(self.root))
        with (
            socket.create_connection(("127.0.0.1", self.stack.tls_port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())

    def wait_valid(self) -> None:
        """Until foo.com and bar.com have certificates of the CA."""
        seen: list[object] = []

        def valid() -> bool:
            found = shown(self.stack)
            seen.append(found)
            return all(found.get(host, {}).get("state") in ("valid", "renewing") for host in ("foo.com", "bar.com"))

        try:
            wait_for(valid, "certificates of the CA", 90)
        except AssertionError as error:
            logs = self.stack.compose_command("logs", "--tail", "40", "certs")
            raise AssertionError(f"{error}\n{seen[-1:]}\n{logs}") from None


@pytest.fixture(params=["compose.yaml", "compose/nginx-mode.yaml"])
def certified(request: pytest.FixtureRequest) -> Iterator[Certified]:
    if PEBBLE is None:
        pytest.skip("no pebble here")
    stack: Stack = request.getfixturevalue("stack" if request.param == "compose.yaml" else "nginx_stack")
    with tempfile.TemporaryDirectory(prefix="fastroute-pebble-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        authority = CertificateAuthority(home / "ca.pem")
        certificate, key = authority.pair("pebble")
        (home / "pebble.pem").write_bytes(certificate)
        (home / "pebble.key").write_bytes(key)
        config = {
            "listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000",
            "certificate": "/pebble/pebble.pem", "privateKey": "/pebble/pebble.key", "httpPort": 8080, "tlsPort": 5001,
            "certificateValidityPeriod": LIFE_SECONDS,
        }  # fmt: skip
        (home / "pebble.json").write_text(json.dumps({"pebble": config}))
        for file in home.iterdir():
            file.chmod(0o644)
        before = dict(stack.environment)
        stack.environment |= {
            "FASTROUTE_TEST_CA": folder, "FASTROUTE_ACME_CA": str(home / "ca.pem"),
            "FASTROUTE_ACME_EMAIL": "admin@example.com", "FASTROUTE_ACME_DIRECTORY": "https://pebble:14000/dir",
            "FASTROUTE_ACME_SELF_CHECK": "foo.com:8080",
        }  # fmt: skip
        files = ("-f", request.param, "-f", "tests/docker/https.yaml")
        try:
            stack.up(files=files)
            root = home / "root.pem"
            root.write_text(_root_of_pebble(stack))
            yield Certified(stack, root)
        finally:
            stack.environment = before
            stack.up("--remove-orphans")


def _root_of_pebble(stack: Stack) -> str:
    code = (
        "import ssl, urllib.request as r; c = ssl.create_default_context(cafile='/etc/fastroute/acme-ca.pem');"
        "print(r.urlopen('https://pebble:15000/roots/0', timeout=5, context=c).read().decode())"
    )
    name = stack.containers("certs")[0]
    return wait_for(lambda: stack.docker("exec", name, "python3", "-c", code, check=False), "pebble's root", 30)


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_the_certificate_of_a_ca_arrives_and_is_renewed_under_load(certified: Certified) -> None:
    stack = certified.stack
    certified.wait_valid()
    url = f"https://foo.com:{stack.tls_port}/"
    resolve = f"foo.com:{stack.tls_port}:127.0.0.1"
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(certified.root), "--resolve", resolve, url], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout in stack.host_names("foo")) == (0, True), done.stderr
    first = stack.certificate("foo.com")
    with Load(lambda: certified.get("foo.com"), rate=100) as load:
        wait_for(lambda: stack.certificate("foo.com") not in ("", first), "a renewed certificate", 90)
        second = stack.certificate("foo.com")
        wait_for(lambda: stack.certificate("foo.com") not in ("", first, second), "another one", 90)
    assert load.failures == []
    assert load.sent > 1000
    assert set(load.answered) <= stack.host_names("foo")
