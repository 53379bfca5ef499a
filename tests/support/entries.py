"""Entries and nodes, with their settings written flat."""

from __future__ import annotations

from typing import Any

from fastroute.router.protocol.node_options import NodeOptions, take_options
from fastroute.router.protocol.subscription import Entry
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool


def make_entry(key: str, address: str = "", **fields: Any) -> Entry:
    """An entry; the settings among ``fields`` become its options."""
    options = take_options(fields)
    return Entry(key, address, options, **fields)


def put(pool: Pool, address: str, *, draining: bool = False, via: str = "", **settings: Any) -> Node:
    """``address`` joins ``pool`` with ``settings``."""
    return pool.put(address, NodeOptions(**settings), draining, via)


def pool_row(key: str, algorithm: str = "wrr") -> list[Any]:
    """Control's op for a known key."""
    return ["pool", key, {"algorithm": algorithm}]


def node_row(
    key: str, address: str, weight: int = 1, backup: int = 0, draining: int = 0, modifier1: int = 0, modifier2: int = 0,
    protocol: str = "uwsgi", via: str = "",
) -> list[Any]:  # fmt: skip
    """Control's op for a node."""
    named = {"weight": weight, "backup": backup, "draining": draining, "modifier1": modifier1, "modifier2": modifier2,
             "protocol": protocol, "via": via}  # fmt: skip
    return ["node", key, address, named]


def offered(pool: Pool) -> int:
    """How many nodes of ``pool`` a request may have now."""
    return pool.levels.available()
