"""A second CA: Caddy's ``acme_server``, which is smallstep's code and not Boulder's, proven by DNS."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
from support.acme_ca import ChallengeDns
from support.certs_program import CertsProgram
from support.programs import Program, Router, free_port
from support.proxies import proxy_program


class CaddyCa(Program):
    """Caddy as a CA that looks for TXT records at ``dns``."""

    def __init__(self, folder: Path, dns: ChallengeDns) -> None:
        self.port, self.root = free_port(), folder / "pki/authorities/local/root.crt"
        self.url = f"https://localhost:{self.port}/acme/local/directory"
        (folder / "Caddyfile").write_text(
            f"{{\n admin off\n skip_install_trust\n auto_https disable_redirects\n"
            f" storage file_system {folder}\n}}\n"
            f"https://localhost:{self.port} {{\n bind 127.0.0.1\n tls internal\n"
            f" acme_server {{\n  challenges dns-01\n  resolvers udp/127.0.0.1:{dns.port}\n }}\n}}\n"
        )
        super().__init__(proxy_program("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile")
        self.wait_for(self._answers, "caddy answers")

    def _answers(self) -> bool:
        """It listens before it has a certificate of its own."""
        try:
            return httpx.get(self.url, verify=ssl.create_default_context(cafile=str(self.root))).is_success
        except (OSError, httpx.TransportError):
            return False


def test_a_wildcard_from_caddy(tmp_path: Path) -> None:
    for name in ("caddy", "certificates"):
        (tmp_path / name).mkdir()
    hook = tmp_path / "hook"
    with (
        ChallengeDns() as dns,
        CaddyCa(tmp_path / "caddy", dns) as ca,
        Router("--node", "*.example.com=127.0.0.1:9") as router,
    ):
        hook.write_text(dns.hook())
        hook.chmod(0o755)
        options = ("--agree-tos", "--directory", ca.url, "--ca-file", str(ca.root), "--dns-hook", str(hook))
        with CertsProgram([router], tmp_path / "certificates", *options) as certs:
            row = certs.wait_state("*.example.com", "valid")
            assert "Caddy Local Authority" in row["issuer"]
