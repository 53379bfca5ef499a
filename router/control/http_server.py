"""The admin HTTP server that router and controller share: how it runs, and who may change something through it.

What it answers is each program's own ASGI application.  Reading is for whoever reaches the socket; a change is a JSON
POST, and accepted only from a unix socket, from loopback with a loopback Host and no foreign Origin (so that no web
page in somebody's browser can send it), or with the token of ``--admin-token-file``.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp

#: Seconds that answers under way (event streams never end by themselves) may take when the program ends.
LAST_WORDS = 1
#: Bytes of a change's JSON: a key and an address are 255 each, with room for escapes.
MAX_BODY = 8_192


class AdminServer(uvicorn.Server):
    """Serves ``app`` on sockets that are already open."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                # Or a header could say that its sender is on loopback.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=LAST_WORDS,
            )
        )

    async def answer(self, sockets: list[socket.socket]) -> None:
        """Answer on ``sockets`` (listening already) until :meth:`finish`; without sockets there is nothing to do."""
        if sockets and not self.should_exit:
            await self.serve(sockets=sockets)

    def finish(self) -> None:
        """Accept nothing more, from now on; what is being answered may end."""
        self.should_exit = True
        for server in getattr(self, "servers", ()):
            server.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program, not to its admin server."""
        yield


class BodyTooLarge(ValueError):
    """Nobody asks for a change with that much."""


async def read_body(request: Request) -> bytes:
    """The body of a change, ``MAX_BODY`` bytes at most."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BodyTooLarge(f"a body of at most {MAX_BODY} bytes expected")
    return body


def refuse_change(request: Request, *, unix: bool, token_file: str | None) -> str:
    """Why ``request`` may not change anything; empty when it may.  ``unix``: it came over a unix socket."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "Content-Type: application/json expected"
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if token_file and scheme.lower() == "bearer":
        token = _token(token_file)
        if token and hmac.compare_digest(token, given.strip().encode()):
            return ""
        return "the token is not that of --admin-token-file"
    if unix:
        return ""
    if request.client is None or not _loopback(request.client.host):
        return "a change from elsewhere needs Authorization: Bearer with the token of --admin-token-file"
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not _loopback(_host(f"//{host}")):
        return f"Host {host[:80]!r} is not loopback"
    if origin is not None and (not _loopback(_host(origin)) or urlsplit(origin).netloc != host):
        return f"Origin {origin[:80]!r} is not ours"
    return ""


def _token(path: str) -> bytes:
    """Read anew for every change: a token is replaced by writing the file."""
    with contextlib.suppress(OSError):
        return Path(path).read_bytes().strip()
    return b""


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback
    return False
