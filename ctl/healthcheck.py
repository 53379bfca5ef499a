"""``healthcheck``: is the fastroute program of this container (or machine) ready?  For Dockerfile HEALTHCHECK.

One image runs router and controller, so the program is found by looking at what runs: PID 1 first, then the others.
Standard library only besides click: it runs every few seconds.
"""

from __future__ import annotations

import http.client
import os
import socket
from contextlib import closing
from urllib.parse import urlsplit

import click

from fastroute.ctl import default_addresses
from fastroute.ctl.errors import FAILED
from fastroute.ctl.running import running
from fastroute.ctl.settings import CERTS_URL, CONTROLLER_URL, ROUTER_URL, CtlSettings, global_options
from fastroute.router.admin_http.urls import UNIX, socket_path
from fastroute.router.protocol.address import AddressError, parse_address

PAGE_URL = f"http://{default_addresses.PAGE}"
_DEFAULTS = {"router": ROUTER_URL, "controller": CONTROLLER_URL, "certs": CERTS_URL, "page": PAGE_URL}


@click.command("healthcheck")
@click.argument("program", type=click.Choice(list(_DEFAULTS)), required=False)
@global_options
@click.pass_obj
def command(settings: CtlSettings, program: str | None) -> int:
    """Exit 0 if PROGRAM is ready, else 1.  Without PROGRAM: the one that --router-url, --controller-url or --certs-url
    names, else the one that runs here (its --admin or FASTROUTE_ADMIN is respected; of the page: --listen)."""
    url = find_url(settings, program)
    trouble = "" if url is None else ask(url, settings.seconds)
    if trouble:
        click.echo(f"fastroute-ctl: {url} is not ready: {trouble}", err=True)
        return FAILED
    return 0


def ask(url: str, timeout: float) -> str:
    """Empty when ``/readyz`` at ``url`` says so, else why not."""
    try:
        with closing(_connection(url, timeout)) as connection:
            connection.request("GET", "/readyz", headers={"Host": "localhost"})
            answer = connection.getresponse()
            text = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if answer.status == 200 else text or f"status {answer.status}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(url: str, timeout: float) -> http.client.HTTPConnection:
    path = socket_path(url)
    if path is not None:
        return _UnixConnection(path, timeout)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of an admin")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=timeout)


def find_url(settings: CtlSettings, program: str | None) -> str | None:
    """The URL to ask; None: a program without admin runs, and that is all that can be known."""
    if program is None:
        if given := settings.router_url or settings.controller_url or settings.certs_url:
            return given
        for process in running():
            return _admin_url(process.program, process.arguments)
        program = "router"
    urls = {"router": settings.router, "controller": settings.controller, "certs": settings.certs, "page": PAGE_URL}
    return urls[program]


def _admin_url(program: str, words: list[str]) -> str | None:
    """The place of a running program's admin: its flag, the variable it shares with us, its default."""
    option = "--listen" if program == "page" else "--admin"
    admin = os.environ.get(f"FASTROUTE_{option[2:].upper()}", "").partition(",")[0]
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == option:
            admin = following
        elif word.startswith(f"{option}="):
            admin = word.partition("=")[2]
    if not admin:
        return _DEFAULTS[program]
    if admin == "none":
        return None
    try:
        address = parse_address(admin)
    except AddressError:
        return _DEFAULTS[program]
    if address.kind == "unix":
        return f"{UNIX}{address.path}"
    local = "[::1]" if address.host == "::" else "127.0.0.1" if address.unspecified else ""
    return f"http://{local}:{address.port}" if local else f"http://{address}"
