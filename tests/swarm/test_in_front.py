"""HTTPS that ends in front of an edge node, by a web server of its host, as docs/swarm.md says.  Run by make swarm."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.certificates import CertificateAuthority
from support.stack import ROOT
from support.swarm_nodes import BRIDGE, LAN, SwarmNode
from support.swarm_stand import Standing
from support.waiting import wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif("FASTROUTE_SWARM" not in os.environ, reason="make swarm"),
]

KEY, PORT = "echo.com", 8443
#: What only proxies that are trusted may say.
FORGED = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
#: Of the program; the server is the one of docs/swarm.md.
FRAME = """
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
    {server}
}}
"""


def documented(beginning: str, end: str) -> str:
    """What docs/swarm.md shows between these."""
    return (ROOT / "docs" / "swarm.md").read_text().partition(beginning)[2].partition(end)[0]


def documented_server(folder: Path) -> str:
    """But for its ports and where the certificate is."""
    server = documented("```nginx\n", "```")
    for theirs, ours in (("443 ssl", f"{PORT} ssl"), ("/etc/ssl/example", str(folder)), (":8080", ":80")):
        assert theirs in server
        server = server.replace(theirs, ours)
    return server


@contextmanager
def https_in_front(edge: SwarmNode, folder: Path, authority: CertificateAuthority) -> Iterator[None]:
    """nginx on the host of ``edge``."""
    for name, data in zip(("fullchain.pem", "privkey.pem"), authority.pair(KEY), strict=True):
        (folder / name).write_bytes(data)
    file = folder / "nginx.conf"
    file.write_text(FRAME.format(folder=folder, server=documented_server(folder)))
    with subprocess.Popen(edge.inside("nginx", "-c", str(file))) as process:
        try:
            yield
        finally:
            process.terminate()


def headers_at_worker(edge: SwarmNode, authority: CertificateAuthority | None, said: str = "") -> dict[str, str]:
    """The headers with which a request comes to the worker: by HTTPS if there is an ``authority``; ``said``: more."""
    answer = b""
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((edge.address, PORT if authority else 80), 20))
        if authority is not None:
            connection = stack.enter_context(authority.context().wrap_socket(connection, server_hostname=KEY))
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {KEY}\r\n{said}Connection: close\r\n\r\n".encode())
        while data := connection.recv(65_536):
            answer += data
    headers: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return {name.lower(): value for name, value in headers.items()}


def trust(stand: Standing, *proxies: str) -> None:
    """The stack's nginx believes them from now on."""
    stand.deploy(ROOT / "compose" / "swarm.yaml", "fastroute", FASTROUTE_SECRET=stand.secret,
                 FASTROUTE_TRUSTED_PROXIES=",".join(proxies))  # fmt: skip
    stand.wait_updated("fastroute_nginx")


def listens_to_ipv6(edge: SwarmNode) -> bool:
    """Whether the stack's port can be reached there by a client that would be taken for the host."""
    command = edge.inside("ip", "-6", "-json", "addr", "show", "dev", "eth0")
    (interface,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(20)
        bridge = socket.if_nametoindex(BRIDGE)
        return sock.connect_ex((interface["addr_info"][0]["local"], 80, 0, bridge)) == 0


def accepts(edge: SwarmNode) -> bool:
    """Whether somebody listens at the port of HTTPS."""
    with socket.socket() as sock:
        return sock.connect_ex((edge.address, PORT)) == 0


def test_https_of_the_edge_nodes_host(stand: Standing, tmp_path: Path) -> None:
    edge, authority = stand.edges[0], CertificateAuthority(tmp_path / "ca.pem")
    trust(stand, edge.docker("network", "inspect", "docker_gwbridge", "-f", "{{(index .IPAM.Config 0).Gateway}}"))
    stand.deploy(ROOT / "tests" / "swarm" / "echo.yaml", "echo", TEST_KEY=KEY)
    stand.wait_ready(1, KEY)
    with https_in_front(edge, tmp_path, authority):
        wait_for(lambda: accepts(edge), "nginx of the host")
        headers = headers_at_worker(edge, authority)
        assert (headers["x-forwarded-proto"], headers["x-real-ip"]) == ("https", f"{LAN}.254")
        # Who asks the stack's port from elsewhere says nothing that is believed.
        headers = headers_at_worker(edge, None, FORGED)
        assert (headers["x-forwarded-proto"], headers["x-real-ip"]) == ("http", f"{LAN}.254")
    assert listens_to_ipv6(edge)
    rule = documented("ip6tables ", "\n").replace(" 8080 ", " 80 ")
    subprocess.run(edge.inside("ip6tables", *rule.split()), check=True)
    assert not listens_to_ipv6(edge)
    stand.docker("stack", "rm", "echo")
    trust(stand)
