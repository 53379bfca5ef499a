"""Requests that go to a router which subscribed here (``fastrouter-resubscribe``): they must not go in circles.  Pure.

The var ``FASTROUTE_VIA`` names the routers that a request has passed (docs/reference/wire.md).
"""

from __future__ import annotations

from typing import Final

from fastroute.router.relay.vars import variable, with_variable

VIA: Final = b"FASTROUTE_VIA"


def passed_routers(packet: bytes, end: int) -> list[bytes]:
    """The ids of the routers that the request with the vars ``packet[4:end]`` has passed."""
    value = variable(packet, end, VIA)
    return value.split(b",") if value else []


def with_router(packet: bytes, end: int, passed: list[bytes], router_id: bytes) -> tuple[bytes, int]:
    """``packet`` with ``router_id``, which is ours, among those that it has ``passed``, and where its vars end."""
    if router_id in passed:
        return packet, end
    return with_variable(packet, end, VIA, b",".join([*passed, router_id]))
