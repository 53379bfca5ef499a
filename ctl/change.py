"""Changes of what is routed: asked of the controller when it knows the target, else of the router.

A controller's drains survive what its routers go through, so it is asked first.  A key may have nodes that no
controller announced; those are the router's to change, whatever the controller did with the others.
"""

from __future__ import annotations

import time
from typing import Any

import click

from fastroute.ctl.api import Api
from fastroute.ctl.errors import DONE, NOT_THERE, TIMED_OUT, Answered, CtlError, Unreachable
from fastroute.ctl.keys import key_row
from fastroute.ctl.settings import Settings
from fastroute.ctl.show import show, table
from fastroute.router.key import named_key, shown_key

#: Seconds between two looks; and how long a node without requests must stay so, as relays count with a delay.
LOOK = 0.1
SETTLED = 0.5
#: Seconds that ``--wait`` waits where nothing else is said.
PATIENCE = 60.0

Target = dict[str, Any]


def change(settings: Settings, verb: str, target: str, **more: int) -> list[Target]:
    """Ask for ``verb`` of ``target``; what was changed: ``key``, ``address``, ``container``, ``in_flight``."""
    body = {"target": target, **more}
    trouble: CtlError
    try:
        found: list[Target] = Api(settings, "controller").post(f"/v1/{verb}", body)["targets"]
    except Unreachable as error:
        trouble = error
    except Answered as error:
        if error.status not in NOT_THERE:
            raise
        trouble = error
    else:
        return [*found, *_others(settings, verb, target, found, more)]
    try:
        changed: list[Target] = Api(settings, "router").post(f"/v1/{verb}", body)["targets"]
    except Unreachable as error:
        # The controller's no is worth more than a router's silence, which may be nginx mode's.
        raise (trouble if isinstance(trouble, Answered) else error) from None
    except Answered as error:
        if error.status in NOT_THERE:
            text = f"no container, node or key is called {target!r} (fastroute-ctl status and ps show all)"
            raise CtlError(text) from None
        raise
    return changed


def report(settings: Settings, done: str, targets: list[Target]) -> int:
    """Show what was changed."""

    def names() -> list[str]:
        return [f"{one['key']}@{one['address']}" for one in targets]

    found = {"schema": "fastroute.change/v1", "change": done, "targets": targets}
    columns = ("KEY", "NODE", "CONTAINER", "RUNNING", "CHANGE")
    rows = [
        (shown_key(one["key"]), one["address"] or "-", one.get("container") or "-", _known(one.get("in_flight")), done)
        for one in targets
    ]
    show(settings, found, lambda _: [table(columns, rows)], names())
    return DONE


def _known(number: int | None) -> int | str:
    return "-" if number is None else number


def wait_drained(settings: Settings, targets: list[Target], patience: float) -> int:
    """Until no request runs on any of ``targets`` and none is sent there; exit code 6 when that takes too long."""
    end = time.monotonic() + patience
    since: float | None = None
    while True:
        busy = [text for one in targets if (text := _busy(settings, one))]
        now = time.monotonic()
        since = None if busy else since or now
        if since is not None and now - since >= SETTLED:
            return DONE
        if now >= end:
            break
        time.sleep(min(LOOK, max(end - now, 0.0)))
    still = ", ".join(busy) or "quiet only just now"
    click.echo(f"fastroute-ctl: not drained after {patience:g} s: {still}", err=True)
    return TIMED_OUT


def _others(settings: Settings, verb: str, target: str, found: list[Target], more: dict[str, int]) -> list[Target]:
    """The nodes of a key that are not the controller's."""
    known = {(one["key"], one["address"]) for one in found}
    key = named_key(target)
    if "@" in target or key not in {one["key"] for one in found}:
        return []
    changed: list[Target] = []
    try:
        for node in (key_row(settings, key) or {}).get("nodes", ()):
            if not node.get("container") and (key, node["address"]) not in known:
                one = {"target": f"{key}@{node['address']}", **more}
                changed += Api(settings, "router").post(f"/v1/{verb}", one)["targets"]
    except Unreachable:
        return []
    except Answered as error:
        if error.status not in NOT_THERE:
            raise
    return changed


def _busy(settings: Settings, target: Target) -> str:
    """What still goes to the node, for people; empty: nothing."""
    nodes = (key_row(settings, target["key"]) or {}).get("nodes", ())
    node = next((one for one in nodes if one["address"] == target["address"]), None)
    if node is None:
        return ""
    name = f"{target['key']}@{target['address']}"
    if node["state"] == "ready" and node.get("weight"):
        return f"{name} still takes requests"
    running = node["in_flight"]
    return f"{running} request{'' if running == 1 else 's'} on {name}" if running else ""
