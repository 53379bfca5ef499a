"""The admin HTTP server that router and controller share: how it runs.

What it answers is each program's own ASGI application; who may ask for what is in
:mod:`fastroute.router.admin_http.access`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Any, cast

from starlette.requests import Request
from starlette.types import ASGIApp

from fastroute.router.admin_http.connections import ACCEPTS, NOTHING, READER, REQUEST, OpenConnections
from fastroute.router.admin_http.lean_uvicorn import H11Protocol, uvicorn

#: Seconds that answers under way (event streams never end by themselves) may take when the program ends.
SHUTDOWN_TIMEOUT = 1
#: Seconds for a whole request, from the connection or the answer before it; and that an answer waits for its reader.
REQUEST_TIMEOUT, READER_TIMEOUT = 10.0, 30.0
#: Bytes of a change's JSON: a key and an address are 255 each, with room for escapes.
MAX_BODY = 8_192


class _HttpConnection(H11Protocol):
    """One connection, in ``connections`` while it is open; uvicorn itself would wait for a request for ever."""

    def __init__(self, connections: OpenConnections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self.since = self.loop.time()

    @property
    def waits_for(self) -> int:
        """See :class:`~.connections.ServerConnection`."""
        # uvicorn's annotation denies that there is none before the first request.
        cycle = cast(Any, self.cycle)
        if cycle is None or cycle.response_complete or cycle.more_body:
            return REQUEST
        return READER if self.flow.write_paused else NOTHING

    def end(self) -> None:
        """See :class:`~.connections.ServerConnection`."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It is open: the request is to come."""
        super().connection_made(transport)
        self._connections.add(self)
        self._wait(REQUEST_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._connections.remove(self)
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of the request."""
        super().data_received(data)
        if self.waits_for != REQUEST:
            self._wait(None)

    def on_response_complete(self) -> None:
        """The next request is to come."""
        self._wait(REQUEST_TIMEOUT)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        super().pause_writing()
        self._wait(READER_TIMEOUT)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self.waits_for != REQUEST:
            self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        """From now on the peer has ``seconds``; None: nothing is expected of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and not self.transport.is_closing():
            self.since = self.loop.time()
            self._timer = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        # A request that was sent together with the one before may be answered by now.
        if self.waits_for != NOTHING:
            self._connections.too_slow(self)


class AdminServer(uvicorn.server.Server):
    """Serves ``app`` on sockets that are already open; ``connections`` are those that it has."""

    def __init__(self, app: ASGIApp, connections: OpenConnections | None = None) -> None:
        self.connections = OpenConnections() if connections is None else connections
        protocol = functools.partial(_HttpConnection, self.connections)
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, protocol),
                backlog=ACCEPTS,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                # Or a header could say that its sender is on loopback.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
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
