"""HTTPS that ends in front of an edge node, by a web server of its host, as docs/swarm.md says.  Run by make swarm."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.certificates import CertificateAuthority
from support.stack import ROOT
from support.swarm_nodes import LAN, SwarmNode
from support.swarm_stand import Standing, redeploy
from support.waiting import wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif("FASTROUTE_SWARM" not in os.environ, reason="make swarm"),
]

KEY, PORT = "echo.com", 8443
#: As in docs/swarm.md, but for the folder and the ports.
CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://127.0.0.1:80;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@contextmanager
def https_in_front(edge: SwarmNode, folder: Path, authority: CertificateAuthority) -> Iterator[None]:
    """nginx on the host of ``edge``."""
    for name, data in zip(("certificate.pem", "key.pem"), authority.pair(KEY), strict=True):
        (folder / name).write_bytes(data)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=PORT))
    with subprocess.Popen(edge.inside("nginx", "-c", str(file))) as process:
        try:
            yield
        finally:
            process.terminate()


def headers_at_worker(edge: SwarmNode, authority: CertificateAuthority | None, said: str = "") -> dict[str, str]:
    """The headers with which a request comes to the worker: by HTTPS if there is an ``authority``; ``said``: more."""
    with socket.create_connection((edge.address, PORT if authority else 80), 20) as plain:
        connection = authority.context().wrap_socket(plain, server_hostname=KEY) if authority else plain
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {KEY}\r\n{said}Connection: close\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    headers: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return {name.lower(): value for name, value in headers.items()}


def test_https_of_the_edge_nodes_host(stand: Standing, tmp_path: Path) -> None:
    edge, authority = stand.edges[0], CertificateAuthority(tmp_path / "ca.pem")
    (bridge,) = json.loads(edge.docker("network", "inspect", "docker_gwbridge"))
    redeploy(stand, FASTROUTE_TRUSTED_PROXIES=bridge["IPAM"]["Config"][0]["Gateway"])
    stand.wait_updated("fastroute_nginx")
    stand.deploy(ROOT / "tests" / "swarm" / "echo.yaml", "echo", TEST_KEY=KEY)
    stand.wait_ready(1, KEY)

    def accepts() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((edge.address, PORT)) == 0

    with https_in_front(edge, tmp_path, authority):
        wait_for(accepts, "nginx of the host")
        headers = headers_at_worker(edge, authority)
        assert (headers["x-forwarded-proto"], headers["x-real-ip"]) == ("https", f"{LAN}.254")
        # Who asks the stack's port from elsewhere says nothing that is believed.
        headers = headers_at_worker(edge, None, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n")
        assert (headers["x-forwarded-proto"], headers["x-real-ip"]) == ("http", f"{LAN}.254")
    stand.docker("stack", "rm", "echo")
    redeploy(stand)
    stand.wait_updated("fastroute_nginx")
