"""What routers and controllers answer, made by hand: for the page's pure modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastroute.page.answers import read_containers, read_status
from fastroute.page.merge import AdminState
from fastroute.page.meter import Meter


def node(address: str, **fields: Any) -> dict[str, Any]:
    """A node of a router's status."""
    plain = {"address": address, "state": "ready", "source": "worker", "container": None, "weight": 1, "backup": 0,
             "max": 0, "requests": 0, "in_flight": 0, "failures": 0, "tx": 0, "rx": 0, "last_seen": None}  # fmt: skip
    return plain | fields


def key(name: str, *nodes: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A key of a router's status."""
    ready = sum(node["state"] in ("ready", "stale") for node in nodes)
    plain = {"key": name, "algorithm": "wrr", "state": "serving", "until": None, "message": "", "wait": 0, "waiting": 0,
             "requests": 0, "ready": ready, "total": len(nodes), "nodes": list(nodes)}  # fmt: skip
    return plain | fields


def router_status(*keys: Mapping[str, Any], **block: Any) -> dict[str, Any]:
    """A router's ``/v1/status``."""
    router = {"version": "1", "boot_id": "b", "uptime": 60.0, "cheap": False, "processes": 1, "requests": 0,
              "errors": {}, "sources": [], "relays": [{"relay": 0, "alive": True, "lag": 0, "resets": 0}]}  # fmt: skip
    return {"schema": "fastroute.status/v1", "router": router | block, "controller": None, "keys": list(keys)}


def controller_status(*keys: Mapping[str, Any], mode: str = "router", **sink: Any) -> dict[str, Any]:
    """A controller's ``/v1/status``."""
    engine = {"url": "", "connected": True, "trouble": None, "last_event": None, "last_sync": None}
    block = {"mode": mode, "connected": True, "last_event": None, "last_sync": None, "sources": [], "engines": [engine],
             "sink": sink}  # fmt: skip
    return {"schema": "fastroute.status/v1", "router": None, "controller": block, "keys": list(keys)}


def container(id: str, *routes: tuple[str, str], state: str = "ready", reason: str = "") -> dict[str, Any]:
    """A row of ``/v1/containers``."""
    return {"id": id, "name": f"{id}-name", "state": state, "reason": reason, "health": None,
            "since": "2026-11-30T12:00:00.000Z",
            "routes": [{"key": name, "address": address or None} for name, address in routes]}  # fmt: skip


def admin_state(
    name: str, status: Mapping[str, Any] | None, containers: tuple[Mapping[str, Any], ...] = (), *, problem: str = "",
    meter: Meter | None = None,
) -> AdminState:  # fmt: skip
    """A router or controller that answered ``status``, now or (with ``problem``) 30 s ago."""
    kind = "router" if status is None or status["router"] is not None else "controller"
    age = None if status is None else 30.0 if problem else 0.1
    read = None if status is None else read_status(status)
    return AdminState(kind, name, f"http://{name}", read, read_containers({"containers": containers}), age, 1.0,
                      problem or ("not there" if status is None else ""), meter or Meter(0.0))  # fmt: skip
