"""With a real CA (pebble), a real nginx and a real router: certificates arrive, and nothing is asked for in vain."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.acme_ca import ChallengeDns, Pebble
from support.certs_program import CertsProgram
from support.programs import Nginx, Router, free_port


@dataclass
class Site:
    """A router that knows hosts, nginx before it, and a CA that looks at nginx."""

    router: Router
    nginx: Nginx
    dns: ChallengeDns
    ca: Pebble

    def options(self, *more: str) -> list[str]:
        """Of fastroute-certs."""
        here = f"127.0.0.1:{self.nginx.port}"
        return [
            "--directory", self.ca.url, "--ca-file", str(self.ca.ca_file), "--agree-tos", "--email", "a@example.com",
            "--self-check-address", here, *more,
        ]  # fmt: skip


@contextmanager
def site(*hosts: str, eab: dict[str, str] | None = None, **environment: Any) -> Iterator[Site]:
    nodes = [word for host in hosts for word in ("--node", f"{host}=127.0.0.1:9")]
    with ExitStack() as stack:
        router = stack.enter_context(Router(*nodes))
        nginx = stack.enter_context(Nginx(f"127.0.0.1:{router.port}"))
        dns = stack.enter_context(ChallengeDns())
        ca = stack.enter_context(Pebble(dns, nginx.port, eab=eab, **environment))
        yield Site(router, nginx, dns, ca)


def served(directory: Path, host: str, root: str) -> str:
    """The issuer that a client sees who trusts ``root``, from a server that serves what is on disk for ``host``."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / host / "fullchain.pem", directory / host / "privkey.pem")
    client = ssl.create_default_context(cadata=root)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        sides = [
            server.wrap_socket(ours, server_side=True, do_handshake_on_connect=False),
            client.wrap_socket(theirs, server_hostname=host, do_handshake_on_connect=False),
        ]
        for _ in range(10):
            for side in sides:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        issuer = sides[1].getpeercert()["issuer"]  # type: ignore[index]
        for side in sides:
            side.close()
    return str(dict(pair[0] for pair in issuer)["commonName"])  # type: ignore[misc]


def test_a_certificate_is_issued_through_the_routers_own_path_key_though_half_the_nonces_are_refused(
    tmp_path: Path,
) -> None:
    with (
        site("foo.example.com", PEBBLE_WFE_NONCEREJECT=50, PEBBLE_VA_NOSLEEP=0, PEBBLE_VA_SLEEPTIME=1) as here,
        CertsProgram([here.router], tmp_path, *here.options()) as certs,
    ):
        row = certs.wait_state("foo.example.com", "valid")
        assert "Pebble Intermediate" in row["issuer"]
        assert "Pebble Intermediate" in served(tmp_path, "foo.example.com", here.ca.root())
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "foo.example.com").iterdir()}
        assert files == {"fullchain.pem": 0o640, "privkey.pem": 0o640, "valid": 0o640}
        assert stat.S_IMODE((tmp_path / ".state").stat().st_mode) == 0o700
        assert 'fastroute_certificate_not_after_seconds{host="foo.example.com"} ' in certs.get("/metrics")
        assert certs.get("/readyz") == "ok\n"
        assert "PRIVATE" not in certs.output()
        assert "localhost: asks" not in certs.output(), "it is no key"
        # The path of the challenge is withdrawn again.
        status = here.router.wait_for(lambda: _keys(here.router) == {"foo.example.com"}, "the challenge is withdrawn")
        assert status
        assert certs.stop() == 0


def _keys(router: Router) -> set[str]:
    import json
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{router.admin_port}/v1/status", timeout=5) as answer:
        return {row["key"] for row in json.loads(answer.read())["keys"] if row["nodes"]}


def test_self_signed_at_once_and_no_ca_is_asked_without_agree_tos(tmp_path: Path) -> None:
    nodes = ["--node", "foo.example.com=127.0.0.1:9", "--node", "*.example.com/x=127.0.0.1:9"]
    directory = ["--directory", f"http://127.0.0.1:{free_port()}/dir"]
    with Router(*nodes) as router, CertsProgram([router], tmp_path, *directory) as certs:
        row = certs.wait_state("foo.example.com", "self-signed")
        assert row["issuer"] == "self-signed"
        assert "--agree-tos" in row["reason"]
        assert "FASTROUTE_ACME_EMAIL" in row["reason"], "the word of the stack"
        assert (tmp_path / "_wildcard.example.com/fullchain.pem").exists()
        assert not (tmp_path / "foo.example.com/valid").exists()
        assert (tmp_path / "localhost/fullchain.pem").exists(), "for who looks at a new router in a browser"
        assert "localhost" not in certs.hosts(), "it is no key"
        assert certs.stop() == 0


def test_a_name_that_does_not_come_here_is_never_asked_for(tmp_path: Path) -> None:
    with site("foo.example.com") as here:
        elsewhere = free_port()
        options = [*here.options()[:-1], f"127.0.0.1:{elsewhere}"]
        with CertsProgram([here.router], tmp_path, *options) as certs:
            row = certs.wait_state("foo.example.com", "failed")
            assert f"127.0.0.1:{elsewhere}, where our challenge is not answered: Connection refused" in row["reason"]
            assert row["next"] > "2026"
            assert (tmp_path / "foo.example.com/privkey.pem").exists()
            assert "new-order" not in here.ca.output().lower().replace("order-plz", "new-order")


def test_a_name_that_does_not_resolve_is_never_asked_for(tmp_path: Path) -> None:
    with site("foo.invalid") as here, CertsProgram([here.router], tmp_path, *here.options()[:-2]) as certs:
        row = certs.wait_state("foo.invalid", "failed")
        assert "foo.invalid does not resolve" in row["reason"]
        assert "order-plz" not in here.ca.output()


def test_an_account_bound_to_an_external_one(tmp_path: Path) -> None:
    hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    (tmp_path / "hmac").write_text(f"{hmac}\n")
    with site("foo.example.com", eab={"kid-1": hmac}) as here:
        with CertsProgram([here.router], tmp_path / "without", *here.options()) as certs:
            row = certs.wait_state("foo.example.com", "failed")
            assert "--eab-kid" in row["reason"]
        bound = here.options("--eab-kid", "kid-1", "--eab-hmac-file", str(tmp_path / "hmac"))
        with CertsProgram([here.router], tmp_path / "with", *bound) as certs:
            certs.wait_state("foo.example.com", "valid")
            assert hmac not in certs.output()


def test_a_wildcard_by_the_dns_hook(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    with site("*.example.com") as here:
        hook.write_text(here.dns.hook())
        hook.chmod(0o755)
        with CertsProgram([here.router], tmp_path / "without", *here.options()) as certs:
            assert "--dns-hook" in certs.wait_state("*.example.com", "self-signed")["reason"]
        with CertsProgram([here.router], tmp_path / "with", *here.options("--dns-hook", str(hook))) as certs:
            certs.wait_state("*.example.com", "valid")
            assert os.readlink(tmp_path / "with/_wildcard.example.com").startswith(".pairs/_wildcard.example.com.")
            certs.wait_line("clear done")


@pytest.mark.timeout(300)
def test_two_hundred_hosts_at_once(tmp_path: Path) -> None:
    hosts = [f"h{number}.example.com" for number in range(200)]
    with site(*hosts) as here, CertsProgram([here.router], tmp_path, *here.options()) as certs:

        def count() -> int:
            text = certs.get("/metrics") if certs.hosts() else ""
            line = next((line for line in text.splitlines() if 'state="valid"' in line), "x 0")
            return int(float(line.split()[-1]))

        certs.wait_for(lambda: len(certs.hosts()) == 200, "all hosts have a certificate")
        certs.wait_for(lambda: count() == 200, "all hosts have the CA's certificate", 200)
        assert 'fastroute_certificate_attempts_total{result="issued"} 200.0' in certs.get("/metrics")


def test_two_routers_one_of_them_away(tmp_path: Path) -> None:
    with site("foo.example.com") as here, Router() as other:
        other.stop()
        with CertsProgram([here.router, other], tmp_path, *here.options()) as certs:
            certs.wait_state("foo.example.com", "valid")
            certs.wait_line(f"router 127.0.0.1:{other.port} does not answer; the others hold its challenge")
