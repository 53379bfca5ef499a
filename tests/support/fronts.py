"""Whole ways from a client to a worker: nginx before a router, or nginx alone, as our templates configure them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.nginx_mode import PROGRAMS, ServedNginx
from support.nginx_states import custom, desired, route
from support.programs import Program, Router, free_port, listens, wait_for
from support.workers import Connection, response

from fastroute.controller.nginx_mode.main_file import MainFileOptions, main_file
from fastroute.controller.nginx_mode.nginx_config import ConfigState, NginxOptions, render
from fastroute.controller.nginx_mode.tls_options import TlsOptions
from fastroute.controller.nginx_mode.user_templates import built_in

#: All ways from a client to a worker: mode, protocol.  ``router``: nginx passes requests on by uwsgi, ``router-http``:
#: by HTTP, on connections that stay.
WAYS = [(mode, protocol) for mode in ("router", "router-http", "nginx") for protocol in ("uwsgi", "http")]


@dataclass(frozen=True)
class Node:
    """What serves ``key`` at ``address``."""

    key: str
    address: str
    protocol: str


class Way(ExitStack):
    """nginx in ``mode``, and a router behind it in router mode, in front of ``nodes``; ends with its ``with`` block.

    ``trusted``: networks of proxies; ``includes``: users' files, for nginx mode; ``prefix``: of nginx's command;
    ``edit``: of what is ours in nginx's configuration; ``certificates``: a folder of them, for HTTPS at ``tls_port``.
    """

    def __init__(
        self,
        mode: str,
        *nodes: Node,
        program: str = "debian",
        trusted: tuple[str, ...] = (),
        includes: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        edit: Callable[[str], str] = str,
        certificates: Path | None = None,
        challenge: str | None = None,
        **tls: Any,
    ) -> None:
        super().__init__()
        self.mode, self._program, self._edit = mode, PROGRAMS[program], edit
        self.tls_port, self._challenge = free_port(), challenge
        self._tls: TlsOptions | None = None
        if certificates is not None:
            options: dict[str, Any] = {"https_port": self.tls_port, "version": version_of(self._program)} | tls
            self._tls = TlsOptions((f"127.0.0.1:{self.tls_port}",), str(certificates), **options)
        if mode == "nginx":
            self._alone(nodes, trusted, includes or {})
        else:
            self._behind_nginx(nodes, trusted, prefix)
        wait_for(self._serves, "nginx serves")

    def _behind_nginx(self, nodes: tuple[Node, ...], trusted: tuple[str, ...], prefix: tuple[str, ...]) -> None:
        options = [("--node", f"{node.key}={node.address},protocol={node.protocol}") for node in nodes]
        front, address = "uwsgi", ""
        if self.mode == "router-http":
            front, address = "http", f"127.0.0.1:{free_port()}"
            options += [("--listen-http", address), *(("--http-proxies", network) for network in trusted)]
        keeps = ["--http-keep-slashes"] if front == "http" else []
        router = self.enter_context(Router(*keeps, *(word for option in options for word in option)))
        home, self.port = Path(tempfile.mkdtemp(prefix="fastroute-nginx-")), free_port()
        home.chmod(0o755)
        text = main_file(
            MainFileOptions(
                (address or f"127.0.0.1:{router.port}",),
                front,
                (f"127.0.0.1:{self.port}",),
                trusted,
                tls=self._tls,
            ),
            built_in(),
        )
        config = home / "nginx.conf"
        text = text.replace("/var/log/nginx", str(home))
        text = self._edit(text)
        config.write_text(f"daemon off;\npid {home}/pid;\n{text}")
        self.nginx: Program = self.enter_context(
            Program(*prefix, self._program, "-p", str(home), "-e", "stderr", "-c", str(config))
        )
        self.nginx.wait_for(lambda: listens(self.port), "nginx listens")

    def _alone(self, nodes: tuple[Node, ...], trusted: tuple[str, ...], includes: dict[str, str]) -> None:
        nginx = ServedNginx(self._program)
        self.nginx, self.port = self.enter_context(nginx), nginx.port
        routes = [route(node.key, node.address, f"c{at}", protocol=node.protocol) for at, node in enumerate(nodes)]
        options = NginxOptions(nginx.options.listen, nginx.options.status, trusted, self._tls, self._challenge)
        config = render(ConfigState(desired(*routes)), custom(includes), options)
        nginx.install(replace(config, files={name: self._edit(text) for name, text in config.files.items()}))
        nginx.send_signal(signal.SIGHUP)

    def _serves(self) -> bool:
        try:
            return self.ask(b"GET / HTTP/1.0\r\nHost: nobody.invalid\r\n\r\n")[0] == 404
        except OSError:
            return False

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body for ``request``, sent byte for byte; read until nginx closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            client.sendall(request)
            answer = client.makefile("rb").read()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head[9:12] or 0), body

    def seen(self, target: str, *headers: str) -> dict[str, str]:
        """What the worker (of :data:`SHOWS`) got of a GET."""
        lines = [f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]
        status, body = self.ask("\r\n".join(lines).encode("latin-1"))
        assert status == 200, (status, body, self.nginx.output())
        vars_seen: dict[str, str] = json.loads(body)
        return vars_seen


def version_of(program: str) -> tuple[int, ...]:
    """The version of the nginx called ``program``."""
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(map(int, version.strip().rpartition("/")[2].split(" ")[0].split(".")))


def shows_uwsgi(connection: Connection, more: bytes = b"") -> None:
    """Answers with the vars as JSON: headers by their names, ``target`` as for HTTP, and ``by``, its own address.

    ``more``: header lines of the answer.
    """
    connection.read_packet()
    shown = {name.decode(): value.decode("latin-1") for name, value in connection.vars.items()}
    shown |= {name[5:].replace("_", "-").lower(): text for name, text in shown.items() if name.startswith("HTTP_")}
    shown |= {"target": shown.get("REQUEST_URI", ""), "by": connection.worker.address}
    connection.send(response(json.dumps(shown).encode(), more))


def shows_http(connection: Connection, more: bytes = b"") -> None:
    """Answers with the headers as JSON, repeated ones joined, its own address (``by``), and the ``target``."""
    reader = connection.sock.makefile("rb")
    shown = {"by": connection.worker.address, "target": reader.readline().decode("latin-1").split(" ")[1]}
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        shown[name.lower()] = ", ".join([*([shown[name.lower()]] if name.lower() in shown else []), value.strip()])
    connection.send(response(json.dumps(shown).encode(), b"Connection: close\r\n" + more))


SHOWS: dict[str, Callable[..., None]] = {"uwsgi": shows_uwsgi, "http": shows_http}
