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
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fastroute.controller import hidden, views
from fastroute.controller.decide.messages import Message, Resync
from fastroute.controller.decide.reconciler import Reconciler
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.read_files import ReadFile
from fastroute.controller.files.static_file import StaticFile
from fastroute.controller.metrics import ConnectionsCollector
from fastroute.controller.nginx_mode.desired_routes import absences
from fastroute.controller.nginx_mode.nginx_config import ConfigState
from fastroute.controller.nginx_mode.nginx_sink import NginxSink
from fastroute.controller.nginx_mode.preview import preview
from fastroute.controller.override_api import operate, read_override_change
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.views import InFlight
from fastroute.router.admin_http.access import AccessPolicy, HostCheck, refuse_change
from fastroute.router.admin_http.event_stream import event_stream
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import AdminServer
from fastroute.router.key import named_key
from fastroute.router.runtime.event_log import Event
from fastroute.router.runtime.listen import Listener
from fastroute.router.runtime.logs import timestamp


@dataclass(frozen=True, slots=True)
class Published:
    """What the API shows and whom it tells."""

    engines: Sequence[Reconciler]
    events: ControllerEvents
    registry: CollectorRegistry
    posts: Sequence[Callable[[Message], None]]
    sink_status: Callable[[], dict[str, object]]
    token_file: str | None = None
    static: StaticFile | None = None
    files: Sequence[ReadFile] = ()
    in_flight: Callable[[], InFlight] = dict
    nginx: NginxSink | None = None
    settings: ControllerSettings = field(default_factory=ControllerSettings)
    ending: threading.Event = field(default_factory=threading.Event)

    def views(self) -> dict[str, views.View]:
        """Every labelled container of every engine, by id."""
        return hidden.noted({id: view for engine in self.engines for id, view in engine.board.views().items()})

    def keys(self) -> list[dict[str, object]]:
        """What is routed, by key; in nginx mode, what the running nginx serves."""
        if self.nginx:
            return views.keys(self.nginx.served, "" if self.nginx.answers else "stale")
        parts = [(engine.desired, engine.source) for engine in self.engines]
        if self.static:
            parts.append((self.static.desired, self.static.source))
        return views.keys(parts, in_flight=self.in_flight())

    def preview(self) -> dict[str, object]:
        """What nginx mode would write now."""
        if self.nginx:
            return self.nginx.preview()
        parts = [engine.desired for engine in self.engines] + ([self.static.desired] if self.static else [])
        routes = {at: route for part in parts for at, route in part.items()}
        return preview(self.settings, ConfigState(routes, absences(self.views().values(), routes)))

    def sources(self) -> list[str]:
        """Who this controller is to the routers, by now."""
        static = [self.static.source] if self.static else []
        return [engine.source for engine in self.engines if engine.source] + static


class Admin:
    """Serves on ``listeners``, which are open already, until :meth:`stop`."""

    def __init__(self, published: Published, listeners: list[Listener]) -> None:
        self._listeners = listeners
        unix = all(listener.address.kind == "unix" for listener in listeners)
        policy = AccessPolicy(unix, published.token_file, next((one.address.host for one in listeners), ""))
        self._server = AdminServer(make_app(published, policy))
        published.registry.register(ConnectionsCollector(self._server.connections))
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        self._thread.join(5)
        for listener in self._listeners:
            listener.remove_path()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[listener.socket for listener in self._listeners]))


def make_app(published: Published, policy: AccessPolicy) -> Starlette:
    """The application; ``policy`` holds for every request."""
    api = _Api(published, policy)
    paths = {
        "/healthz": api.healthz,
        "/readyz": api.readyz,
        "/metrics": api.metrics,
        "/v1/status": api.status,
        "/v1/containers": api.containers,
        "/v1/containers/{name}": api.container,
        "/v1/keys/{key:path}": api.key,
        "/v1/events": api.events,
        "/v1/nginx": api.nginx,
    }
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()]
    changes = {"/v1/resync": api.resync} | {f"/v1/{verb}": api.operate for verb in ("drain", "undrain", "weight")}
    routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in changes.items()]
    return Starlette(routes=routes, middleware=[Middleware(HostCheck, policy=lambda _: policy)])


class _Api:
    def __init__(self, published: Published, policy: AccessPolicy) -> None:
        self._published, self._policy = published, policy

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        if self._published.ending.is_set():
            return PlainTextResponse("ending\n", 503)
        if waiting := [engine for engine in self._published.engines if not engine.applied]:
            said = (f"Docker{engine.url and f' at {engine.url}'} {engine.stats.unready}" for engine in waiting)
            return PlainTextResponse(f"not ready: {'; '.join(said)}\n", 503)
        if self._published.nginx and (trouble := self._published.nginx.trouble()):
            return PlainTextResponse(f"not ready: {trouble}\n", 503)
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        return Response(generate_latest(self._published.registry), media_type=CONTENT_TYPE_LATEST)

    async def status(self, request: Request) -> Response:
        keys = self._published.keys()
        body = {"schema": views.SCHEMA_STATUS, "router": None, "controller": self._controller(), "keys": keys}
        return JSONResponse(body)

    async def containers(self, request: Request) -> Response:
        engines = [{"url": one.url, "trouble": one.stats.problem or None} for one in self._published.engines]
        return JSONResponse({**views.containers(self._published.views().values()), "engines": engines})

    async def container(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = [
            view
            for id, view in self._published.views().items()
            if view.offer.name == name or (len(name) >= 4 and id.startswith(name))
        ]
        if len(found) != 1:
            problem = f"{len(found)} labelled containers are called {name[:80]!r}"
            return JSONResponse({"error": problem}, 404 if not found else 409)
        return JSONResponse(found[0].details(self._published.in_flight()))

    async def key(self, request: Request) -> Response:
        key = named_key(request.path_params["key"])
        keys = self._published.keys()
        found = next((one for one in keys if one["key"] == key), None)
        if found is None:
            return JSONResponse({"error": f"no labelled container has key {key[:80]!r}"}, 404)
        containers = views.containers_of(key, self._published.views().values())
        return JSONResponse({"schema": views.SCHEMA_STATUS, **found, "containers": containers})

    async def events(self, request: Request) -> Response:
        return event_stream(request, self._published.events.log, _event_json)

    async def nginx(self, request: Request) -> Response:
        """What nginx mode would write now, and what is written."""
        try:
            found = await run_in_threadpool(self._published.preview)
        except ValueError as problem:
            return JSONResponse({"error": str(problem)}, 409)
        return JSONResponse({"schema": "fastroute.nginx/v1", **found})

    async def resync(self, request: Request) -> Response:
        if problem := refuse_change(request, self._policy):
            return JSONResponse({"error": problem}, 403)
        for post in self._published.posts:
            post(Resync())
        return JSONResponse({"result": "a full comparison with Docker has begun"}, 202)

    async def operate(self, request: Request) -> Response:
        if problem := refuse_change(request, self._policy):
            return JSONResponse({"error": problem}, 403)
        try:
            wish = await read_override_change(request)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        counted = None if self._published.nginx else self._published.in_flight
        return await operate(wish, self._published.posts, counted)

    def _controller(self) -> dict[str, object]:
        engines, offset = self._published.engines, time.time() - time.monotonic()

        def shown(moments: Iterable[float | None], which: Callable[..., float]) -> str | None:
            known = [moment for moment in moments if moment is not None]
            return timestamp(which(known) + offset) if known else None

        return {
            "mode": "nginx" if self._published.nginx else "router",
            "connected": all(engine.stats.connected for engine in engines),
            "last_event": shown((engine.stats.last_event for engine in engines), max),
            "last_sync": shown((engine.stats.last_sync for engine in engines), min),
            "sources": self._published.sources(),
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
            "sink": self._published.sink_status(),
        }


def _event_json(event: Event) -> dict[str, Any]:
    return {"number": event.id, "time": timestamp(event.time), "kind": event.kind, **event.fields}
