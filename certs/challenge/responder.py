"""Answers the CA's HTTP challenges: the key authorisations of orders under way, and 404 for all else.  One edge."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

from starlette.types import Receive, Scope, Send

from fastroute.certs.decide.hosts import CHALLENGE_PATH

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")


class ChallengeResponder:
    """An ASGI application; any thread says what it answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Token -> body.
        self._answers: dict[str, str] = {}

    @contextlib.contextmanager
    def answering(self, token: str, body: str) -> Iterator[None]:
        """Answer ``body`` at the path of ``token`` meanwhile."""
        if not _TOKEN.fullmatch(token):
            raise ValueError("the CA's token has characters that no token may have")
        with self._lock:
            self._answers[token] = body
        try:
            yield
        finally:
            with self._lock:
                self._answers.pop(token, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        prefix, _, token = str(scope["path"]).rpartition("/")
        with self._lock:
            body = self._answers.get(token) if prefix == CHALLENGE_PATH else None
        if body is not None and scope["method"] in ("GET", "HEAD"):
            status, kind, data = 200, b"application/octet-stream", body.encode()
        else:
            status, kind, data = 404, b"text/plain", b"not found\n"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(data)), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data if scope["method"] != "HEAD" else b""})
