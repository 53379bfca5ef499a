"""All of HTTPS together, wired as in the stack but without Docker: a CA, fastroute-certs with no right but to announce
challenges and to read keys, the router, and nginx with our front."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.acme_ca import ChallengeDns, Pebble
from support.certs_program import CertsProgram
from support.load import Answer, Load
from support.programs import Program, Router, free_port, listens, wait_for
from support.workers import Worker, answers

from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.user_templates import built_in

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("pebble") is None, reason="no pebble here"),
]


#: Of the CA's certificates, which are renewed when a third is left.
LIFE_SECONDS = 15


@dataclass
class Whole:
    certs: CertsProgram
    port: int
    tls_port: int
    root: str

    def get(self, host: str, path: str = "/") -> http.client.HTTPResponse:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
            return _ask(plain, host, path)

    def get_tls(self, host: str, seen: dict[bytes, None] | None = None) -> http.client.HTTPResponse:
        """The certificate is checked against the CA's root; ``seen`` gets it."""
        context = ssl.create_default_context(cadata=self.root)
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=20)
        with context.wrap_socket(plain, server_hostname=host) as connection:
            if seen is not None:
                seen[connection.getpeercert(binary_form=True) or b""] = None
            return _ask(connection, host, "/")


def _ask(connection: socket.socket, host: str, path: str) -> http.client.HTTPResponse:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer


@pytest.fixture
def whole() -> Iterator[Whole]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastroute-https-")))
        challenge, status, answers_at = home / "subscriptions.sock", home / "status.sock", home / "challenge.sock"
        worker = stack.enter_context(Worker(answers(b"hello")))
        nodes = {"foo.test": ",tls=redirect,hsts=86400", "plain.test": "", "off.test": ",tls=off"}
        words = [word for host, more in nodes.items() for word in ("--node", f"{host}={worker.address}{more}")]
        router = stack.enter_context(
            Router(*words, "--challenge-server", str(challenge), "--challenge-node", str(answers_at),
                   "--admin-read", str(status))
        )  # fmt: skip
        port, tls_port = free_port(), free_port()
        tls = TlsOptions((f"127.0.0.1:{tls_port}",), str(home / "certificates"), tls_port, (1, 22))
        text = main_file(
            MainFileOptions((f"127.0.0.1:{router.port}",), listen=(f"127.0.0.1:{port}",), tls=tls), built_in()
        )
        (home / "nginx.conf").write_text(
            f"user root; daemon off; pid {home}/pid;\n" + text.replace("/var/log/nginx", str(home))
        )
        nginx = stack.enter_context(Program("nginx", "-p", str(home), "-e", "stderr", "-c", str(home / "nginx.conf")))
        nginx.wait_for(lambda: listens(port) and listens(tls_port), "nginx listens")
        dns = stack.enter_context(ChallengeDns())
        ca = stack.enter_context(Pebble(dns, port, life=LIFE_SECONDS))
        certs = stack.enter_context(
            CertsProgram(
                (), home / "certificates", "--router", str(challenge), "--router-url", f"http+unix://{status}",
                "--challenge", str(answers_at), "--directory", ca.url, "--ca-file", str(ca.ca_file), "--agree-tos",
                "--self-check-address", f"127.0.0.1:{port}",
            )
        )  # fmt: skip
        yield Whole(certs, port, tls_port, ca.root())


def test_from_nothing_to_a_redirect(whole: Whole) -> None:
    for host in ("foo.test", "plain.test"):
        wait_for(lambda host=host: whole.certs.state(host) in ("valid", "renewing"), "it is valid", 60)
        assert whole.get_tls(host).status == 200
    wait_for(lambda: whole.get("foo.test").status == 308, "HTTP goes to HTTPS")
    assert whole.get("foo.test", "/x?y").getheader("Location") == f"https://foo.test:{whole.tls_port}/x?y"
    assert whole.get_tls("foo.test").getheader("Strict-Transport-Security") == "max-age=86400"
    assert whole.get("plain.test").status == whole.get("off.test").status == 200
    assert whole.get_tls("plain.test").getheader("Strict-Transport-Security") is None
    with pytest.raises(ssl.SSLError):
        whole.get_tls("off.test")
    assert "off.test" not in whole.certs.hosts()


def test_a_renewal_under_load_fails_no_handshake(whole: Whole) -> None:
    wait_for(lambda: whole.certs.state("foo.test") in ("valid", "renewing"), "it is valid", 60)
    seen: dict[bytes, None] = {}

    def get() -> Answer:
        answer = whole.get_tls("foo.test", seen)
        return Answer(answer.status, dict(answer.getheaders()), "")

    with Load(get, rate=100) as load:
        wait_for(lambda: len(seen) >= 3, "two renewals", 90)
    assert load.failures == []
    assert load.sent > 500
