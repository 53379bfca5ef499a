"""Why a container gets no traffic, in words.  Pure.

The controller says why a container is not routed.  This says why one that is routed gets nothing all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastroute.page.answers import ContainerStatus
from fastroute.page.merge import MergedKey, MergedNode
from fastroute.page.problems import count

_NOT_ROUTED = {
    "pending": "it is not ready yet",
    "probing": "its probe has not been answered yet",
    "draining": "it gets no new requests and finishes what it has",
    "unhealthy": "its health check fails",
    "paused": "docker pause holds it",
    "stopped": "it does not run",
    "disabled": "it is not to be routed",
    "error": "its labels or its network are wrong",
}


def why_no_node_traffic(node: MergedNode, key: MergedKey) -> str:
    """Why ``node`` gets no requests; empty: it does, or nobody counts them."""
    if node.state == "draining":
        return "draining: it gets no new requests and finishes what it has"
    if node.state == "ejected":
        at = f" at {', '.join(node.where('ejected'))}" if len(node.where("ejected")) < len(node.states) else ""
        return (
            f"ejected{at}: connecting fails, or it answered errors only ({count(node.failures, 'failure', 'failures')},"
            f" {count(node.timeouts, 'time-out', 'time-outs')}); it is tried again by itself"
        )
    if key.state != "serving":
        return f"{key.key} is {'paused' if key.state == 'paused' else 'in maintenance'}"
    if key.nginx:
        return ""
    if node.weight == 0:
        return "its weight is 0: it gets no new requests"
    if node.rate > 0 or node.now.requests > 0:
        return ""
    if node.max and node.in_flight >= node.max:
        return f"full: it works on {node.in_flight} requests, and its max is {node.max}"
    if node.in_flight:
        return f"it works on {count(node.in_flight, 'request', 'requests')} and got no new one in the last 10 s"
    if before := key.serving_before(node.backup):
        return f"a backup (level {node.backup}): {count(before, 'node', 'nodes')} before it can take the requests"
    if key.rate == 0:
        return f"nobody asks for {key.key} now"
    return f"{key.key} has few requests: its other nodes got them, or clients stick to those"


def why_no_traffic(container: ContainerStatus, nodes: Sequence[MergedNode], keys: Mapping[str, MergedKey]) -> str:
    """Why ``container`` gets no requests; empty: it gets some, or nobody counts them."""
    if container.state != "ready":
        return container.reason or _NOT_ROUTED.get(container.state, "it is not routed")
    if not container.routes:
        return container.reason or "it has no key"
    known_nodes = [node for node in nodes if node.key in keys]
    if not known_nodes:
        routed_keys = ", ".join(key for key, _ in container.routes[:3])
        return f"it is ready, but no router that answers has a node of it for {routed_keys}"
    reasons = {node.key: why_no_node_traffic(node, keys[node.key]) for node in known_nodes}
    if not all(reasons.values()):
        return ""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{key}: {reason}" for key, reason in list(reasons.items())[:4])
