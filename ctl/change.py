"""Sends drains and weights to the controller when it knows the target, else to the router.

A controller's drains outlive its routers, so the controller comes first.  A key may have nodes that no controller
announced: the router changes those, whatever the controller did with the others.
"""

from __future__ import annotations

import time
from typing import Any

import click

from fastroute.ctl.api import Api, post_to_either
from fastroute.ctl.errors import DONE, NOT_THERE, TIMED_OUT, Answered, Unreachable
from fastroute.ctl.keys import key_row
from fastroute.ctl.settings import CtlSettings
from fastroute.ctl.show import show, table
from fastroute.router.protocol.key import named_key, shown_key

#: Seconds between two requests for the state of a node.
POLL_INTERVAL = 0.1
#: Seconds for which a node must have no requests to count as drained, as relays count with a delay.
IDLE_SECONDS = 0.5
#: Seconds that ``--wait`` waits, unless it says how long.
DRAIN_TIMEOUT = 60.0

Target = dict[str, Any]


def change(settings: CtlSettings, verb: str, target: str, **more: float) -> list[Target]:
    """Send ``verb`` for ``target``; returns what was changed: ``key``, ``address``, ``container``, ``in_flight``."""
    nobody = f"no container, node or key is called {target!r} (fastroute-ctl status and ps show all)"
    program, answer = post_to_either(settings, f"/v1/{verb}", {"target": target, **more}, nobody)
    targets: list[Target] = answer["targets"]
    return [*targets, *_others(settings, verb, target, targets, more)] if program == "controller" else targets


def report(settings: CtlSettings, done: str, targets: list[Target]) -> int:
    """Show what was changed."""

    def names() -> list[str]:
        return [f"{target['key']}@{target['address']}" for target in targets]

    result = {"schema": "fastroute.change/v1", "change": done, "targets": targets}
    columns = ("KEY", "NODE", "CONTAINER", "RUNNING", "CHANGE")
    rows = [
        (
            shown_key(node["key"]),
            node["address"] or "-",
            node.get("container") or "-",
            _known(node.get("in_flight")),
            done,
        )
        for node in targets
    ]
    show(settings, result, lambda _: [table(columns, rows)], names())
    return DONE


def _known(number: int | None) -> int | str:
    return "-" if number is None else number


def wait_drained(settings: CtlSettings, targets: list[Target], timeout: float) -> int:
    """Wait until no request runs on any of ``targets`` and none is sent there; exit code 6 after ``timeout``
    seconds."""
    end = time.monotonic() + timeout
    since: float | None = None
    while True:
        busy = [text for target in targets if (text := _busy(settings, target))]
        now = time.monotonic()
        since = None if busy else since or now
        if since is not None and now - since >= IDLE_SECONDS:
            return DONE
        if now >= end:
            break
        time.sleep(min(POLL_INTERVAL, max(end - now, 0.0)))
    reason = ", ".join(busy) or f"idle for less than {IDLE_SECONDS:g} s"
    click.echo(f"fastroute-ctl: not drained after {timeout:g} s: {reason}", err=True)
    return TIMED_OUT


def _others(settings: CtlSettings, verb: str, target: str, ours: list[Target], more: dict[str, float]) -> list[Target]:
    """The nodes of a key that are not the controller's."""
    known = {(node["key"], node["address"]) for node in ours}
    key = named_key(target)
    if "@" in target or key not in {node["key"] for node in ours}:
        return []
    changed: list[Target] = []
    try:
        for node in (key_row(settings, key) or {}).get("nodes", ()):
            if not node.get("container") and (key, node["address"]) not in known:
                body = {"target": f"{key}@{node['address']}", **more}
                changed += Api(settings, "router").post(f"/v1/{verb}", body)["targets"]
    except Unreachable:
        return []
    except Answered as error:
        if error.status not in NOT_THERE:
            raise
    return changed


def _busy(settings: CtlSettings, target: Target) -> str:
    """Why the node is not drained yet, for people; empty when it is."""
    nodes = (key_row(settings, target["key"]) or {}).get("nodes", ())
    node = next((node for node in nodes if node["address"] == target["address"]), None)
    if node is None:
        return ""
    name = f"{target['key']}@{target['address']}"
    if node["state"] == "ready" and node.get("weight"):
        return f"{name} still takes requests"
    if node.get("sessions"):
        return f"{name} still has its sessions"
    running = node["in_flight"]
    return f"{running} request{'' if running == 1 else 's'} on {name}" if running else ""
