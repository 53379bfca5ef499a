"""What the relays counted, summed.  Pure.

Each relay reports absolute numbers since its own start (docs/architecture.md, ``counters``); a sum over relays that
never falls when one dies or restarts is kept here: every report adds the difference to what the same relay said before.
Only requests in flight go away with their relay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastroute.router.protocol.latency import WAITED, LatencyCounts
from fastroute.router.protocol.static_pools import MARK

NodeId = tuple[str, str]


@dataclass(slots=True)
class NodeCounters:
    """The counts of one node, over all relays."""

    requests: int = 0
    failures: int = 0
    #: Bytes that the node sent, and bytes sent to it (as in uWSGI's stats).
    tx: int = 0
    rx: int = 0
    in_flight: int = 0
    #: Requests that it had when it was announced last.
    announced_at: int = 0
    #: Seconds since the epoch; 0: it has not failed.
    failed_at: float = 0.0
    #: Relays, as keys: an empty set takes 216 bytes, an empty dict 64.
    ejected_by: dict[int, None] = field(default_factory=dict)

    @property
    def ejected(self) -> bool:
        """True while at least one relay does not offer it requests, because connecting failed."""
        return bool(self.ejected_by)

    @property
    def last_requests(self) -> int:
        """Requests since the node was last announced."""
        return self.requests - self.announced_at


@dataclass(slots=True)
class WaitCounters:
    """Of one key, over all relays: its queues."""

    #: Requests that wait now.
    waiting: int = 0
    #: Requests that found the queue full.
    full: int = 0
    #: How long those waited that wait no more: a row like those of ``LatencyCounts``, by the bounds ``WAITED``.
    waited: list[float] = field(default_factory=lambda: [0] * (len(WAITED) + 2))


_NOTHING = NodeCounters()


class Counters:
    """Sums over all relays."""

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = 0
        #: Our own answers by kind (``no-key``, ``no-node``, ...).
        self.errors: dict[str, int] = {}
        #: By key, the requests that found its queue full and were not reported yet (health_reporter.py).
        self.full: Counter[str] = Counter()
        self._nodes: dict[NodeId, NodeCounters] = {}
        self._hits: dict[str, int] = {}
        self._times: dict[str, LatencyCounts] = {}
        self._waits: dict[str, WaitCounters] = {}
        self._seen: dict[int, dict[Any, tuple[Any, ...]]] = {}

    def node(self, key: str, address: str) -> NodeCounters:
        """Counters of one node; zeros when it had no request yet."""
        return self._nodes.get((key, address), _NOTHING)

    def hits(self, key: str) -> int:
        """Requests that asked for ``key`` while it was known."""
        return self._hits.get(key, 0)

    def times(self, key: str) -> LatencyCounts | None:
        """How long connecting to nodes of ``key`` and their answers took; None when nobody asked for it yet."""
        return self._times.get(key)

    def waits(self, key: str) -> WaitCounters | None:
        """The queues of ``key``; None when nobody waited there yet."""
        return self._waits.get(key)

    def waiting(self, key: str) -> int:
        """Requests that wait for a node of ``key`` now."""
        return waits.waiting if (waits := self._waits.get(key)) is not None else 0

    def announced(self, key: str, address: str) -> None:
        """The node was announced (again)."""
        if (node := self._nodes.get((key, address))) is not None:
            node.announced_at = node.requests

    def update(self, relay: int, report: Mapping[str, Any]) -> None:
        """Add what is new in a ``counters`` message of ``relay``."""
        for key, address, *numbers in report.get("nodes", ()):
            self._update_node(relay, (key, address), tuple(numbers))
        for key, hits in report.get("keys", ()):
            (new,) = self._difference(relay, ("key", key, ""), (hits,))
            self._hits[key] = self._hits.get(key, 0) + new
        for key, connect, answer in report.get("times", ()):
            sums = self._times.setdefault(key, LatencyCounts())
            self._add(relay, ("connect", key, ""), connect, sums.connect)
            self._add(relay, ("answer", key, ""), answer, sums.answer)
        for key, waiting, waited, full in report.get("waits", ()):
            self._update_waits(relay, key, waiting, waited, full)
        for kind, count in report.get("errors", {}).items():
            (new,) = self._difference(relay, ("error", kind, ""), (count,))
            self.errors[kind] = self.errors.get(kind, 0) + new
        if "requests" in report:
            (new,) = self._difference(relay, "requests", (report["requests"],))
            self.requests += new
        if "in_flight" in report:
            before = self._swap(relay, "in_flight", (report["in_flight"],))
            self.in_flight += report["in_flight"] - (before[0] if before else 0)

    def own(self, address: str) -> NodeCounters:
        """Of a node that serves every key or unknown ones: requests, and when it failed last."""
        total = NodeCounters()
        for (key, at), node in self._nodes.items():
            if at == address and key.startswith(MARK):
                total.requests += node.requests
                total.failed_at = max(total.failed_at, node.failed_at)
        return total

    def eject(self, relay: int, key: str, address: str, wall: float = 0.0) -> bool:
        """``relay`` says so ahead of its next report, at ``wall``.  True when that is news."""
        node = self._nodes.setdefault((key, address), NodeCounters())
        news = relay not in node.ejected_by
        node.ejected_by[relay] = None
        node.failed_at = wall
        return news

    def recover(self, relay: int, key: str, address: str) -> None:
        """``relay`` offers the node again."""
        self.node(key, address).ejected_by.pop(relay, None)

    def relay_gone(self, relay: int) -> None:
        """``relay`` ended: its requests in flight and its ejections are gone, everything counted stays."""
        for name, numbers in self._seen.pop(relay, {}).items():
            if name == "in_flight":
                self.in_flight -= numbers[0]
            elif len(name) == 3 and name[0] == "waiting" and (waits := self._waits.get(name[1])) is not None:
                waits.waiting -= numbers[0]
            elif len(name) == 2 and (node := self._nodes.get(name)) is not None:
                node.in_flight -= numbers[4]
                node.ejected_by.pop(relay, None)

    def forget_node(self, key: str, address: str) -> bool:
        """Drop a node's numbers, unless requests are still in flight there (then False)."""
        node = self._nodes.get((key, address))
        if node is not None and node.in_flight > 0:
            return False
        self._nodes.pop((key, address), None)
        for seen in self._seen.values():
            seen.pop((key, address), None)
        return True

    def forget_key(self, key: str) -> None:
        """Drop a key's numbers."""
        self._hits.pop(key, None)
        self._times.pop(key, None)
        self._waits.pop(key, None)
        for seen in self._seen.values():
            for what in ("key", "connect", "answer", "waiting", "waited", "full"):
                seen.pop((what, key, ""), None)

    def dump(self, relays: Mapping[int, int]) -> dict[str, Any]:
        """All of it as JSON types, for the next control.  ``relays``: of each, the name that it has there too."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "nodes": [[*name, n.requests, n.failures, n.tx, n.rx, n.announced_at, n.failed_at]
                      for name, n in self._nodes.items()],
            "hits": self._hits,
            "times": {key: [times.connect, times.answer] for key, times in self._times.items()},
            "waits": {key: [waits.waited, waits.full] for key, waits in self._waits.items()},
            "seen": [[relays[relay], list(seen.items())] for relay, seen in self._seen.items() if relay in relays],
        }  # fmt: skip

    def restore(self, data: Mapping[str, Any], relays: Mapping[int, int]) -> None:
        """Go on from what :meth:`dump` wrote.  ``relays``: by name, those that are still there."""
        self.requests, self.errors, self._hits = data["requests"], dict(data["errors"]), dict(data["hits"])
        for key, address, requests, failures, tx, rx, announced_at, failed_at in data["nodes"]:
            node = NodeCounters(requests, failures, tx, rx, 0, announced_at, failed_at)
            self._nodes[key, address] = node
        for key, (connect, answer) in data["times"].items():
            times = self._times[key] = LatencyCounts()
            times.connect, times.answer = connect, answer
        for key, (waited, full) in data.get("waits", {}).items():
            self._waits[key] = WaitCounters(0, full, waited)
        for name, rows in data["seen"]:
            if name not in relays:
                continue
            relay = relays[name]
            seen = self._seen[relay] = {at if isinstance(at, str) else tuple(at): tuple(n) for at, n in rows}
            self.in_flight += seen.get("in_flight", (0,))[0]
            for at, numbers in seen.items():
                if len(at) == 3 and at[0] == "waiting" and at[1] in self._waits:
                    self._waits[at[1]].waiting += numbers[0]
                elif len(at) == 2 and at in self._nodes:
                    self._nodes[at].in_flight += numbers[4]
                    if numbers[5]:
                        self._nodes[at].ejected_by[relay] = None

    def names(self) -> tuple[list[NodeId], list[str]]:
        """The nodes and keys that there are numbers of."""
        return list(self._nodes), list({**self._hits, **self._times, **self._waits})

    def _update_node(self, relay: int, name: NodeId, numbers: tuple[int, ...]) -> None:
        node = self._nodes.setdefault(name, NodeCounters())
        before = self._swap(relay, name, numbers) or (0,) * len(numbers)
        node.in_flight += numbers[4] - before[4]
        # The relay made the node anew (it left and joined again): its numbers began at nothing.
        old = before if numbers[0] >= before[0] else (0,) * len(numbers)
        node.requests += numbers[0] - old[0]
        node.failures += max(0, numbers[1] - old[1])
        node.tx += max(0, numbers[2] - old[2])
        node.rx += max(0, numbers[3] - old[3])
        if numbers[5]:
            node.ejected_by[relay] = None
        else:
            node.ejected_by.pop(relay, None)

    def _update_waits(self, relay: int, key: str, waiting: int, waited: list[float], full: int) -> None:
        waits = self._waits.setdefault(key, WaitCounters())
        before = self._swap(relay, ("waiting", key, ""), (waiting,))
        waits.waiting += waiting - (before[0] if before else 0)
        self._add(relay, ("waited", key, ""), waited, waits.waited)
        (new,) = self._difference(relay, ("full", key, ""), (full,))
        if new:
            waits.full += new
            self.full[key] += new

    def _add(self, relay: int, name: Any, numbers: list[float], sums: list[float]) -> None:
        """Add to ``sums`` what is new in ``numbers``; all of it when any fell: they began at nothing again."""
        before = self._swap(relay, name, tuple(numbers))
        if before is None or any(new < old for new, old in zip(numbers, before, strict=True)):
            before = (0.0,) * len(numbers)
        for at, (new, old) in enumerate(zip(numbers, before, strict=True)):
            sums[at] += new - old

    def _difference(self, relay: int, name: Any, numbers: tuple[int, ...]) -> Sequence[int]:
        before = self._swap(relay, name, numbers) or (0,) * len(numbers)
        return [new - old if new >= old else new for new, old in zip(numbers, before, strict=True)]

    def _swap(self, relay: int, name: Any, numbers: tuple[Any, ...]) -> tuple[Any, ...] | None:
        seen = self._seen.setdefault(relay, {})
        before = seen.get(name)
        seen[name] = numbers
        return before
