"""Ops as relays need them that only finish what they have, and may be of the version before.  Pure.

Such a relay may be another router's, whose sockets came through ``--run-dir``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from fastroute.router.control.configured_nodes import Op
from fastroute.router.protocol.node_options import from_names


def positional(part: Iterable[str]) -> list[str]:
    """The ops of ``part`` (JSON) as relays of the version before understand them too: places first, names behind.

    What is taken of a node's ``max`` is for relays that serve: these keep their share (-1).  A full message grows to
    90,000 bytes at most; relays read 131,072.
    """
    return [
        json.dumps(_with_places(json.loads(op)), separators=(",", ":")) if op.startswith(('["node"', '["pool"')) else op
        for op in part
    ]


def _with_places(op: Op) -> Op:
    if op[0] == "pool":
        return [*op[:2], from_names(op[2]).algorithm, op[2]]
    if op[0] != "node":
        return op
    named = op[3] | {"taken": -1} if "max" in op[3] else op[3]
    options = from_names(named)
    return [*op[:3], options.weight, options.backup, named.get("draining", 0), options.modifier1, options.modifier2,
            options.protocol, named.get("via", ""), named]  # fmt: skip
