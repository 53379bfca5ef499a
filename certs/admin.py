"""The admin HTTP of ``fastroute-certs``, and the server of challenges beside it.  docs/reference/http.md.

An edge on a thread of its own.  It only shows; nothing can be changed here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastroute.certs import views
from fastroute.certs.challenge.responder import ChallengeResponder
from fastroute.certs.events import CertsEvents
from fastroute.certs.loop import CertsLoop
from fastroute.router.admin_http.access import AccessPolicy, HostCheck
from fastroute.router.admin_http.event_stream import event_stream
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import AdminServer
from fastroute.router.runtime.event_log import Event
from fastroute.router.runtime.listen import Listener


class HttpServers:
    """Serves the admin and the challenges on listeners that are open already."""

    def __init__(
        self, loop: CertsLoop, events: CertsEvents, registry: CollectorRegistry, responder: ChallengeResponder,
        admin: Sequence[Listener], challenge: Sequence[Listener], token_file: str | None,
    ) -> None:  # fmt: skip
        self._admin, self._challenge = list(admin), list(challenge)
        unix = all(listener.address.kind == "unix" for listener in admin)
        policy = AccessPolicy(unix, token_file, next((listener.address.host for listener in admin), ""))
        self._api = _CertsApi(loop, events, registry)
        self._servers = [AdminServer(self._api.app(policy)), AdminServer(responder)]
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def end(self) -> None:
        """Say that the program is about to end."""
        self._api.ending.set()

    def stop(self) -> None:
        """Answer no more."""
        for server in self._servers:
            server.should_exit = True
        self._thread.join(5)
        for listener in (*self._admin, *self._challenge):
            listener.remove_path()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        sockets = [[listener.socket for listener in listeners] for listeners in (self._admin, self._challenge)]
        await asyncio.gather(*(server.answer(its) for server, its in zip(self._servers, sockets, strict=True)))


class _CertsApi:
    def __init__(self, loop: CertsLoop, events: CertsEvents, registry: CollectorRegistry) -> None:
        self._loop, self._events, self._registry = loop, events, registry
        self.ending = threading.Event()

    def app(self, policy: AccessPolicy) -> Starlette:
        """The application; ``policy`` holds for every request."""
        paths = {
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/v1/certificates": self.certificates,
            "/v1/events": self.events,
        }
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()]
        return Starlette(routes=routes, middleware=[Middleware(HostCheck, policy=lambda _: policy)])

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        if self.ending.is_set():
            return PlainTextResponse("ending\n", 503)
        if not self._loop.ready.is_set():
            problems = "; ".join(f"{source.url}: {source.problem}" for source in self._loop.sources if source.problem)
            return PlainTextResponse(f"not ready: {problems or 'certificates are being made'}\n", 503)
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        text = await run_in_threadpool(generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def certificates(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(lambda: views.certificates(self._loop.views())))

    async def events(self, request: Request) -> Response:
        return event_stream(request, self._events.log, _event_json)


def _event_json(event: Event) -> dict[str, object]:
    return {"time": event.time, "kind": event.kind, **event.fields}
