"""One application as WSGI and as ASGI, for real servers: ``gunicorn web_apps:wsgi``, ``uvicorn web_apps:asgi``.

========  ==========================================================
path      answer
========  ==========================================================
/         the process id, and a Content-Length
/headers  the request's headers as JSON
/echo     the request's body, after the whole of it was read
/stream   three parts without a Content-Length, so usually in chunks
/empty    204
/hints    early hints (103) first, where the server has them (WSGI)
/ws       a websocket that sends back what it gets (ASGI)
========  ==========================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

PARTS = [b"one\n", b"two\n" * 5000, b"three\n"]


def wsgi(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """The application for gunicorn."""
    path = environ["PATH_INFO"]
    if path == "/stream":
        start("200 OK", [("Content-Type", "text/plain")])
        return iter(PARTS)
    if path == "/empty":
        start("204 No Content", [])
        return []
    if path == "/headers":
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        body = json.dumps(headers).encode()
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    else:
        if path == "/hints" and (hints := environ.get("wsgi.early_hints")):
            hints([("Link", "</a.css>; rel=preload")])
        body = str(os.getpid()).encode()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def asgi(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The application for uvicorn, hypercorn and granian."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await _websocket(receive, send)
    else:
        await _http(scope, receive, send)


async def _websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def _http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    path = scope["path"]
    status, headers, parts = 200, [(b"content-type", b"text/plain")], PARTS
    if path == "/empty":
        status, parts = 204, [b""]
    elif path != "/stream":
        body = str(os.getpid()).encode()
        if path == "/headers":
            body = json.dumps({name.decode(): value.decode() for name, value in scope["headers"]}).encode()
        elif path == "/echo":
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
        headers.append((b"content-length", str(len(body)).encode()))
        parts = [body]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
