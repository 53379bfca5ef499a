"""The controller's admin HTTP: health, metrics, what is routed and why, and what happens.  docs/reference/http.md.

An edge on a thread of its own.  It reads what the deciding thread publishes and tells it (by message) what people want;
it decides nothing.  Every answer is made from immutable views, so the deciding thread never waits for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from socket import socket
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastroute.controller import views
from fastroute.controller.decide.messages import Message, Resync
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.key_api import change_key, with_states
from fastroute.controller.key_holder import KeyHolder
from fastroute.controller.metrics import ConnectionsCollector
from fastroute.controller.mode import Mode
from fastroute.controller.override_api import operate, read_override_change
from fastroute.controller.route_sources import RouteSources
from fastroute.controller.swarm.peers import SwarmListing
from fastroute.controller.switch_api import switch
from fastroute.router.admin_http.access import AccessPolicy, HostCheck, refuse_change
from fastroute.router.admin_http.event_stream import event_stream
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import AdminServer
from fastroute.router.protocol.key import named_key
from fastroute.router.protocol.key_state import STATE_VERBS
from fastroute.router.runtime.event_log import Event
from fastroute.router.runtime.listen import Listener
from fastroute.router.runtime.logs import timestamp


@dataclass(frozen=True, slots=True)
class Published:
    """What the API shows, and whom it tells what people want."""

    sources: RouteSources
    mode: Mode
    events: ControllerEvents
    registry: CollectorRegistry
    #: For each engine what tells its deciding thread.
    posts: Sequence[Callable[[Message], None]]
    #: The files that are read again while the controller runs.
    files: Sequence[ReadFile] = ()
    token_file: str | None = None
    #: What operators hold keys in; None: this mode can't hold any.
    key_holder: KeyHolder | None = None
    #: Asks all controllers of the swarm for their containers; None: there are no others.
    swarm: Callable[[], SwarmListing] | None = None
    #: Set when the program is about to end.
    ending: threading.Event = field(default_factory=threading.Event)


class Admin:
    """Serves on ``listeners``, which are open already, until :meth:`stop`; on ``readers`` for reading only."""

    def __init__(self, published: Published, listeners: list[Listener], readers: list[Listener]) -> None:
        self._listeners = [*listeners, *readers]
        self._servers: list[tuple[AdminServer, list[socket]]] = []
        connections = {}
        for name, mine in (("admin", listeners), ("admin-read", readers)):
            server = AdminServer(make_app(published, _policies(published, mine, read_only=mine is readers)))
            connections[name] = server.connections
            self._servers.append((server, [listener.socket for listener in mine]))
        published.registry.register(ConnectionsCollector(connections))
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        for server, _ in self._servers:
            server.should_exit = True
        self._thread.join(5)
        for listener in self._listeners:
            listener.remove_path()

    def _run(self) -> None:
        async def serve() -> None:
            await asyncio.gather(*(server.answer(sockets) for server, sockets in self._servers))

        asyncio.run(serve())


def _policies(
    published: Published, listeners: Sequence[Listener], *, read_only: bool
) -> Callable[[Request], AccessPolicy]:
    # Who comes over TCP has an address.
    name = next((listener.address.host for listener in listeners), "")
    return lambda request: AccessPolicy(request.client is None, published.token_file, name, read_only)


def make_app(published: Published, policy: Callable[[Request], AccessPolicy]) -> Starlette:
    """The application; ``policy`` gives what holds for a request."""
    api = _ControllerApi(published, policy)
    paths = {
        "/healthz": api.healthz,
        "/readyz": api.readyz,
        "/metrics": api.metrics,
        "/v1/status": api.status,
        "/v1/containers": api.containers,
        "/v1/containers/{name}": api.container,
        "/v1/keys/{key:path}": api.key,
        "/v1/events": api.events,
        "/v1/nginx": api.preview,
    }
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()]
    changes = {"/v1/resync": api.resync} | {f"/v1/{verb}": api.operate for verb in ("drain", "undrain", "weight")}
    changes |= {f"/v1/{verb}": api.change_key for verb in STATE_VERBS} | {"/v1/switch": api.switch}
    routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in changes.items()]
    return Starlette(routes=routes, middleware=[Middleware(HostCheck, policy=policy)])


class _ControllerApi:
    def __init__(self, published: Published, policy: Callable[[Request], AccessPolicy]) -> None:
        self._published, self._policy = published, policy

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        if self._published.ending.is_set():
            return PlainTextResponse("ending\n", 503)
        if waiting := [engine for engine in self._published.sources.engines if not engine.applied]:
            reasons = (f"Docker{engine.url and f' at {engine.url}'} {engine.stats.unready}" for engine in waiting)
            return PlainTextResponse(f"not ready: {'; '.join(reasons)}\n", 503)
        if problem := self._published.mode.problem():
            return PlainTextResponse(f"not ready: {problem}\n", 503)
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        return Response(generate_latest(self._published.registry), media_type=CONTENT_TYPE_LATEST)

    async def status(self, request: Request) -> Response:
        keys = self._keys()
        body = {"schema": views.SCHEMA_STATUS, "router": None, "controller": self._controller(), "keys": keys}
        return JSONResponse(body)

    async def containers(self, request: Request) -> Response:
        engines = [
            {"url": engine.url, "trouble": engine.stats.problem or None} for engine in self._published.sources.engines
        ]
        own = views.containers(self._published.sources.views().values())
        if request.query_params.get("all", "") not in ("", "0"):
            if (ask := self._published.swarm) is None:
                return JSONResponse({"error": "no other controllers are known (--peers)"}, 404)
            listing = await run_in_threadpool(ask)
            own |= {"containers": listing.rows, "silent": listing.silent}
        return JSONResponse({**own, "engines": engines})

    async def container(self, request: Request) -> Response:
        name = request.path_params["name"]
        matches = [
            view
            for id, view in self._published.sources.views().items()
            if view.offer.name == name or (len(name) >= 4 and id.startswith(name))
        ]
        if len(matches) != 1:
            problem = f"{len(matches)} labelled containers are called {name[:80]!r}"
            return JSONResponse({"error": problem}, 404 if not matches else 409)
        return JSONResponse(matches[0].details(self._published.mode.in_flight() or {}))

    async def key(self, request: Request) -> Response:
        key = named_key(request.path_params["key"])
        keys = self._keys()
        row = next((row for row in keys if row["key"] == key), None)
        if row is None:
            return JSONResponse({"error": f"no labelled container has key {key[:80]!r}"}, 404)
        in_flight = self._published.mode.in_flight()
        containers = views.containers_of(key, self._published.sources.views().values(), in_flight)
        return JSONResponse({"schema": views.SCHEMA_STATUS, **row, "containers": containers})

    async def events(self, request: Request) -> Response:
        return event_stream(request, self._published.events.log, _event_json)

    async def preview(self, request: Request) -> Response:
        """What nginx mode would write now, and what is written."""
        try:
            preview = await run_in_threadpool(self._published.mode.preview)
        except ValueError as problem:
            return JSONResponse({"error": str(problem)}, 409)
        return JSONResponse({"schema": "fastroute.nginx/v1", **preview})

    async def resync(self, request: Request) -> Response:
        if problem := refuse_change(request, self._policy(request)):
            return JSONResponse({"error": problem}, 403)
        for post in self._published.posts:
            post(Resync())
        return JSONResponse({"result": "a full comparison with Docker has begun"}, 202)

    async def operate(self, request: Request) -> Response:
        if problem := refuse_change(request, self._policy(request)):
            return JSONResponse({"error": problem}, 403)
        try:
            change = await read_override_change(request)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return await operate(change, self._published.posts, self._published.mode.in_flight)

    async def switch(self, request: Request) -> Response:
        if problem := refuse_change(request, self._policy(request)):
            return JSONResponse({"error": problem}, 403)
        published = self._published
        return await switch(request, published.posts, lambda: published.sources.views().values(), published.mode)

    async def change_key(self, request: Request) -> Response:
        if problem := refuse_change(request, self._policy(request)):
            return JSONResponse({"error": problem}, 403)
        routes = self._published.sources.desired
        known = lambda key: any(at[0] == key for desired, _ in routes() for at in desired)  # noqa: E731
        return await change_key(request, self._published.key_holder, known)

    def _keys(self) -> list[dict[str, object]]:
        holder = self._published.key_holder
        held = holder.held() if holder else ()
        return with_states(self._published.mode.keys(), held, time.monotonic(), time.time())

    def _controller(self) -> dict[str, object]:
        engines, offset = self._published.sources.engines, time.time() - time.monotonic()

        def shown(moments: Iterable[float | None], which: Callable[..., float]) -> str | None:
            known = [moment for moment in moments if moment is not None]
            return timestamp(which(known) + offset) if known else None

        return {
            "mode": self._published.mode.name,
            "connected": all(engine.stats.connected for engine in engines),
            "last_event": shown((engine.stats.last_event for engine in engines), max),
            "last_sync": shown((engine.stats.last_sync for engine in engines), min),
            "sources": self._published.sources.names(),
            "engines": [
                {
                    "url": engine.url,
                    "source": engine.source or None,
                    "version": engine.engine.version if engine.engine else None,
                    "connected": engine.stats.connected,
                    "trouble": engine.stats.problem or None,
                    "last_event": shown([engine.stats.last_event], max),
                    "last_sync": shown([engine.stats.last_sync], max),
                }
                for engine in engines
            ],
            "files": [file.status() for file in self._published.files],
            "sink": self._published.mode.status(),
        }


def _event_json(event: Event) -> dict[str, Any]:
    return {"number": event.id, "time": timestamp(event.time), "kind": event.kind, **event.fields}
