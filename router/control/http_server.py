"""The admin HTTP server that router and controller share: how it runs.

What it answers is each program's own ASGI application; who may ask for what is in :mod:`.admin_access`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

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
