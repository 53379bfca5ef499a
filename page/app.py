"""What ``fastroute-page`` answers: its files, the stream of a view, the history of keys.  docs/reference/page.md.

Nothing can be changed here, and every answer is for browsers that ask by a name of this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastroute.page.admin_client import AdminTrouble
from fastroute.page.assets import Asset, script_hash
from fastroute.page.fleet import FleetPicture
from fastroute.page.history import SERIES, SLOT_SECONDS
from fastroute.page.stream import VIEWS, BrowserStream
from fastroute.page.watched_fleet import WatchedFleet
from fastroute.router.admin_http.access import AccessPolicy, HostCheck
from fastroute.router.admin_http.responses import JSONResponse

#: Browsers that look at the same time, and keys whose history is asked for at once.
MAX_STREAMS, MAX_HISTORIES = 64, 60
#: Characters of a key, or of a container's id, in a question.
MAX_NAME = 600

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def make_app(fleet: WatchedFleet, assets: Mapping[str, Asset], *, hosts: Collection[str], unix: bool) -> Starlette:
    """The application; ``hosts``: names by which browsers may ask beside addresses and ``localhost``."""
    api = _PageApi(fleet, assets)
    paths: dict[str, Callable[[Request], object]] = {
        "/": api.index,
        "/web/{name}": api.asset,
        "/api/stream": api.stream,
        "/api/history": api.history,
        "/api/container/{id}": api.container,
        "/healthz": api.healthz,
        "/readyz": api.readyz,
    }
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()]

    def policy(request: Request) -> AccessPolicy:
        host = request.url.hostname or ""
        return AccessPolicy(unix, None, host if host.lower() in hosts else "", read_only=True, option="--host")

    content_policy = (
        f"default-src 'self'; script-src 'self' {script_hash(assets)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = ((b"content-security-policy", content_policy.encode()), *_HEADERS)
    middleware = [Middleware(SecurityHeaders, headers=headers), Middleware(HostCheck, policy=policy)]
    return Starlette(routes=routes, middleware=middleware)


class SecurityHeaders:
    """Adds ``headers``, which keep browsers from doing anything with an answer but show it, to every one of ``app``."""

    def __init__(self, app: ASGIApp, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class _PageApi:
    def __init__(self, fleet: WatchedFleet, assets: Mapping[str, Asset]) -> None:
        self._fleet, self._assets = fleet, assets
        self._streams = 0

    async def index(self, request: Request) -> Response:
        return _asset(request, self._assets["index.html"])

    async def asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        return JSONResponse({"error": "there is no such file"}, 404) if asset is None else _asset(request, asset)

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Ready as soon as it answers: a page that says that nobody answers does its job."""
        return PlainTextResponse("ok\n")

    async def stream(self, request: Request) -> Response:
        view, key = request.query_params.get("view", "overview"), request.query_params.get("key", "")
        if view not in VIEWS or len(key) > MAX_NAME:
            error = f"one of the views {', '.join(VIEWS)} expected, with a key of at most {MAX_NAME} characters"
            return JSONResponse({"error": error}, 400)
        if self._streams >= MAX_STREAMS:
            return JSONResponse({"error": f"{MAX_STREAMS} browsers look already: close one"}, 503)
        stream = BrowserStream(self._fleet.fleet, self._fleet.picture, view, key)
        return StreamingResponse(
            self._watched(stream), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _watched(self, stream: BrowserStream) -> AsyncIterator[str]:
        self._streams += 1
        self._fleet.watch(self._streams > 0)
        try:
            async for piece in stream.pieces():
                yield piece
        finally:
            self._streams -= 1
            self._fleet.watch(self._streams > 0)

    async def history(self, request: Request) -> Response:
        query, history = request.query_params, self._fleet.fleet.history
        keys = query.getlist("key")
        names = tuple(name for name in query.get("series", "rate,5xx").split(",") if name in SERIES)
        if len(keys) > MAX_HISTORIES or not names:
            error = f"at most {MAX_HISTORIES} keys expected, and series of {', '.join(SERIES)}"
            return JSONResponse({"error": error}, 400)
        return JSONResponse(
            {
                "newest": history.newest * SLOT_SECONDS,
                "slot": SLOT_SECONDS,
                "total": history.total(),
                "keys": {key: history.of_key(key, names) for key in keys},
            }
        )

    async def container(self, request: Request) -> Response:
        """All that its controller knows of a container."""
        picture: FleetPicture = self._fleet.picture()
        known_container = picture.containers.get(request.path_params["id"])
        if known_container is None:
            return JSONResponse({"error": "no controller knows this container"}, 404)
        controller, container = known_container
        try:
            async with asyncio.timeout(10):
                return JSONResponse(await self._fleet.client(controller).get(f"/v1/containers/{container.id}"))
        except (AdminTrouble, TimeoutError) as error:
            text = str(error) or "it does not answer in time"
            return JSONResponse({"error": f"controller {controller.name}: {text}"}, 502)


def _asset(request: Request, asset: Asset) -> Response:
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
