"""The router's own block in ``/v1/status``: what it is, who announces to it, and how far its relays are."""

from __future__ import annotations

from itertools import islice

import fastroute
from fastroute.router.control.control import Control
from fastroute.router.control.table import Table
from fastroute.router.runtime.logs import timestamp

#: Sources, and nodes that are this router itself, shown: a status is for people, and the metrics have them all.
MAX_SOURCES = 100


def router_block(control: Control, now: float, wall: float) -> dict[str, object]:
    """As JSON; ``now`` is monotonic, ``wall`` seconds since the epoch."""
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
            {"relay": one.index, "alive": one.alive, "lag": one.lag if one.alive else 0, "resets": one.resets}
            for one in control.relays.channels
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
