"""The router's admin HTTP: health, metrics, status and events.  docs/reference/http.md.  One edge, in control's loop.

Every answer that grows with the number of keys is made in pieces with other work between them, so no reader holds the
loop for more than a few milliseconds.  Reading changes nothing; a change is a POST of those who may
(:mod:`fastroute.router.admin_http.access`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import fastroute
from fastroute.router.admin_http.access import AccessPolicy, HostCheck, refuse_change
from fastroute.router.admin_http.event_stream import event_stream
from fastroute.router.admin_http.responses import JSONResponse
from fastroute.router.admin_http.server import BodyTooLarge, read_body
from fastroute.router.control import status
from fastroute.router.control.control import Control
from fastroute.router.control.table import overrides
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.entry import PacketError
from fastroute.router.protocol.key import KeyProblem, named_key, parse_key
from fastroute.router.protocol.key_state import STATE_VERBS, StateProblem, read_state_change
from fastroute.router.protocol.override_target import AmbiguousTarget
from fastroute.router.runtime.event_log import Event
from fastroute.router.runtime.logs import timestamp

#: Sources, and nodes that are this router itself, shown: a status is for people, and the metrics have them all.
MAX_SOURCES = 100
_TAKEN_OVER = "a new process takes over: nothing was changed, ask again"


def make_app(control: Control, *, read_only: bool = False) -> Starlette:
    """The application that shows ``control``; ``read_only``: it takes no change, whoever asks."""
    api = _RouterApi(control, read_only=read_only)
    paths = {
        "/healthz": api.healthz,
        "/readyz": api.readyz,
        "/metrics": api.metrics,
        "/v1/status": api.status,
        "/v1/keys/{key:path}": api.key,
        "/v1/events": api.events,
    }
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()]
    changes = [Route(f"/v1/{verb}", api.change, methods=["POST"]) for verb in ("drain", "undrain", "weight")]
    changes += [Route(f"/v1/{verb}", api.change_state, methods=["POST"]) for verb in STATE_VERBS]
    return Starlette(routes=[*routes, *changes], middleware=[Middleware(HostCheck, policy=api.policy)])


class _RouterApi:
    def __init__(self, control: Control, *, read_only: bool) -> None:
        self._control, self._read_only = control, read_only

    def policy(self, request: Request) -> AccessPolicy:
        """The policy for ``request``, by the present settings."""
        settings = self._control.settings
        if self._read_only:
            name = next((address.host for address in settings.admin_read), "")
            return AccessPolicy(request.client is None, settings.admin_token_file, name, read_only=True)
        admin = settings.admin
        # Who comes over TCP has an address; the kind of a socket that was passed on (fd://) shows by that alone.
        unix = admin is not None and (admin.kind == "unix" or (admin.kind == "fd" and request.client is None))
        return AccessPolicy(unix, settings.admin_token_file, admin.host if admin is not None else "")

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        if self._control.ready:
            return PlainTextResponse("ok\n")
        reason = "draining" if self._control.draining else "no relay runs yet"
        return PlainTextResponse(f"not ready: {reason}\n", 503)

    async def metrics(self, request: Request) -> Response:
        # Not imported before the first scrape: it has 3 MB.  In a thread, as the loop goes on.
        metrics = await asyncio.to_thread(import_module, "fastroute.router.control.metrics")
        return StreamingResponse(_slowly(metrics.render(self._control, time.monotonic())),
                                 headers={"Content-Type": metrics.CONTENT_TYPE})  # fmt: skip

    async def status(self, request: Request) -> Response:
        block = router_block(self._control, time.monotonic(), time.time())
        return _json(status.render(_context(self._control), block))

    async def key(self, request: Request) -> Response:
        name = request.path_params["key"]
        pools = self._control.table.pools
        pool = pools.get(name) or pools.get(named_key(name))
        if pool is None:
            return JSONResponse({"error": f"key {name[:80]!r} is not known"}, 404)
        return _json(status.render_key(_context(self._control), pool))

    async def change(self, request: Request) -> Response:
        """drain, undrain or weight of what ``target`` names; answered once every relay has applied it."""
        control = self._control
        if problem := refuse_change(request, self.policy(request)):
            return JSONResponse({"error": problem}, 403)
        try:
            body = await read_body(request)
            target, change = overrides.read_change(request.url.path.rpartition("/")[2], body)
            nodes: list[overrides.NodeName] = []
            for part in overrides.find(control.table, target):
                nodes = part or []
                await asyncio.sleep(0)
        except (overrides.ChangeError, AmbiguousTarget, BodyTooLarge) as error:
            return JSONResponse({"error": str(error)}, 400)
        if control.closed:
            return JSONResponse({"error": _TAKEN_OVER}, 503)
        changed = await control.operators.change(nodes, change)
        if not changed:
            text = f"no container id, node or key is called {target[:80]!r}"
            return JSONResponse({"error": text}, 404)
        return JSONResponse({"targets": [self._target(*node) for node in changed]})

    async def change_state(self, request: Request) -> Response:
        """pause, resume or maintenance of a key; answered once every relay has applied it."""
        control, wall = self._control, time.time()
        if problem := refuse_change(request, self.policy(request)):
            return JSONResponse({"error": problem}, 403)
        try:
            change = read_state_change(request.url.path.rpartition("/")[2], await read_body(request), int(wall * 1000))
            # A worker may have announced any bytes; a key that is not there yet is one that people can write.
            key = change.key if change.key in control.table.pools else parse_key(change.key)
        except (StateProblem, KeyProblem, BodyTooLarge) as error:
            return JSONResponse({"error": str(error)}, 400)
        if control.closed:
            return JSONResponse({"error": _TAKEN_OVER}, 503)
        if change.state is not None:
            try:
                held = await control.operators.hold(key, change.state)
            except PacketError as error:
                return JSONResponse({"error": str(error)}, 409)
            return JSONResponse({"key": key, **status.key_state(held, time.monotonic(), time.time())})
        if key not in control.table.pools:
            return JSONResponse({"error": f"key {key[:80]!r} is not known, so it is held in no state"}, 404)
        if holder := await control.operators.release(key):
            text = f"{key} is held by {holder.source}: ask that controller; here it can be ended once that is silent"
            return JSONResponse({"error": text}, 409)
        return JSONResponse({"key": key, **status.key_state(None, time.monotonic(), time.time())})

    def _target(self, key: str, address: str) -> dict[str, object]:
        member = self._control.table.member(key, address)
        return {
            "key": key,
            "address": address,
            "container": status.container_of(member) if member else None,
            "in_flight": self._control.counters.node(key, address).in_flight,
        }

    async def events(self, request: Request) -> Response:
        return event_stream(request, self._control.events, _event_json)


def _event_json(event: Event) -> dict[str, Any]:
    return {"id": event.id, "time": event.time, "kind": event.kind, **event.fields}


def _json(pieces: Iterator[str]) -> Response:
    return StreamingResponse(_slowly(piece.encode() for piece in pieces), media_type="application/json")


async def _slowly(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """``pieces``, with a turn for everybody else between them."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def _context(control: Control) -> status.StatusContext:
    return status.StatusContext(control.table, control.counters, time.monotonic(), time.time())


def router_block(control: Control, now: float, wall: float) -> dict[str, object]:
    """The router's own block in ``/v1/status``; ``now`` is monotonic, ``wall`` seconds since the epoch."""
    return {
        "version": fastroute.__version__,
        "boot_id": control.boot_id,
        "uptime": round(now - control.started, 3),
        "cheap": control.cheap,
        "processes": control.processes,
        "requests": control.counters.requests,
        "errors": dict(sorted(control.counters.errors.items())),
        "subscriptions": _subscriptions(control),
        "sources": _sources(control.table, now, wall),
        "refused_nodes": [{"key": key, "address": at} for key, at in islice(control.own_nodes.refused, MAX_SOURCES)],
        "relays": [
            {"relay": relay.index, "alive": relay.alive, "lag": relay.lag if relay.alive else 0, "resets": relay.resets}
            for relay in control.relays.channels
        ],
    }


def _subscriptions(control: Control) -> dict[str, object]:
    results: dict[str, int] = {}
    refused: dict[str, int] = {}
    for (result, reason), count in sorted(control.subscriptions.results.items()):
        (refused if reason else results)[reason or result] = count
    return {
        "results": results,
        "refused": refused,
        "dropped": control.subscriptions.dropped,
    }


def _sources(table: Table, now: float, wall: float) -> list[dict[str, object]]:
    return [
        {
            "source": source.name,
            "instance": source.instance,
            "entries": source.count,
            "repeated": source.repeated,
            "silent": source.silent,
            "last_seen": timestamp(wall - now + source.seen),
        }
        for source in islice(table.sources.values(), MAX_SOURCES)
    ]
