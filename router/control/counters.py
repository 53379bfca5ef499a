"""What the relays counted, summed.  Pure.

Each relay reports absolute numbers since its own start (docs/architecture.md, ``counters``); a sum over relays that
never falls when one dies or restarts is kept here: every report adds the difference to what the same relay said before.
Only requests in flight go away with their relay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from fastroute.router.control.answer_counts import AnswerCounts, dump_answers, restore_answers
from fastroute.router.control.count_records import NodeCounters, WaitCounters
from fastroute.router.protocol.latency import CONNECT, LatencyCounts
from fastroute.router.protocol.static_pools import MARK

NodeId = tuple[str, str]

#: Where the numbers of a node are in one row: requests, failures, tx, rx, in flight, ejected, timeouts; statuses; and
#: from ``_TIMES`` on, if anything was measured, the rows of ``LatencyCounts``.
_IN_FLIGHT, _EJECTED, _TIMEOUTS = 4, 5, 6
_STATUSES = slice(7, 12)
_TIMES = 12
_CONNECT, _ANSWER = slice(_TIMES, _TIMES + len(CONNECT) + 2), slice(_TIMES + len(CONNECT) + 2, None)


_NOTHING = NodeCounters()


class Counters:
    """Sums over all relays.  This process counts since ``begun`` (monotonic)."""

    def __init__(self, begun: float = 0.0) -> None:
        self.begun = begun
        self.requests = 0
        self.in_flight = 0
        #: Our own answers by kind (``no-key``, ``no-node``, ...).
        self.errors: dict[str, int] = {}
        #: By key, the requests that found its queue full and were not reported yet (health_reporter.py).
        self.full: Counter[str] = Counter()
        self._nodes: dict[NodeId, NodeCounters] = {}
        self._hits: dict[str, int] = {}
        #: By key: of all nodes that it had, and its own.
        self._answers: dict[str, AnswerCounts] = {}
        self._waits: dict[str, WaitCounters] = {}
        #: By relay and item, what the relay reported last.
        self._seen: dict[int, dict[Any, tuple[Any, ...]]] = {}
        #: Relays that are known since they began, so that what they report first is recent.
        self._followed: set[int] = set()

    def node(self, key: str, address: str) -> NodeCounters:
        """Counters of one node; zeros when it had no request yet."""
        return self._nodes.get((key, address), _NOTHING)

    def hits(self, key: str) -> int:
        """Requests that asked for ``key`` while it was known."""
        return self._hits.get(key, 0)

    def times(self, key: str) -> LatencyCounts | None:
        """How long connecting to nodes of ``key`` and their answers took; None when nobody asked for it yet."""
        return answers.times if (answers := self._answers.get(key)) is not None else None

    def answers(self, key: str) -> AnswerCounts | None:
        """What was answered to those who asked for ``key``; None when nobody did yet."""
        return self._answers.get(key)

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

    def update(self, relay: int, report: Mapping[str, Any], now: float = 0.0) -> None:
        """Add what is new in a ``counters`` message of ``relay``, at ``now`` (monotonic)."""
        for key, address, *numbers in report.get("nodes", ()):
            self._update_node(relay, (key, address), numbers, now)
        for key, hits, *statuses in report.get("keys", ()):
            self._update_key(relay, key, (hits, *(statuses[0] if statuses else ())), now)
        for key, connect, answer in report.get("times", ()):
            # Relays of the version before, which end now, measured by key.
            sums = self._of_key(key)
            connects, answers = [0.0] * len(connect), [0.0] * len(answer)
            self._add(relay, ("connect", key, ""), connect, connects)
            self._add(relay, ("answer", key, ""), answer, answers)
            sums.add_times(connects, answers)
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
        node.ejections += news
        node.ejected_by[relay] = None
        node.failed_at = wall
        return news

    def recover(self, relay: int, key: str, address: str) -> None:
        """``relay`` offers the node again."""
        self.node(key, address).ejected_by.pop(relay, None)

    def relay_gone(self, relay: int) -> None:
        """``relay`` ended, and may have begun anew: its requests in flight and its ejections are gone, everything
        counted stays."""
        self._followed.add(relay)
        for name, numbers in self._seen.pop(relay, {}).items():
            if name == "in_flight":
                self.in_flight -= numbers[0]
            elif len(name) == 3 and name[0] == "waiting" and (waits := self._waits.get(name[1])) is not None:
                waits.waiting -= numbers[0]
            elif len(name) == 2 and (node := self._nodes.get(name)) is not None:
                node.in_flight -= numbers[4]
                node.ejected_by.pop(relay, None)

    def forget_node(self, key: str, address: str) -> bool:
        """Drop a node's numbers, unless requests are still in flight there (then False).

        What relays reported of it stays until they say that it is the end: the key's sums are made of differences.
        """
        node = self._nodes.get((key, address))
        if node is not None and node.in_flight > 0:
            return False
        self._nodes.pop((key, address), None)
        if key.startswith(MARK):
            for seen in self._seen.values():
                seen.pop((key, address), None)
        return True

    def forget_key(self, key: str) -> None:
        """Drop a key's numbers."""
        self._hits.pop(key, None)
        self._answers.pop(key, None)
        self._waits.pop(key, None)
        for seen in self._seen.values():
            for what in ("key", "connect", "answer", "waiting", "waited", "full"):
                seen.pop((what, key, ""), None)

    def dump(self, relays: Mapping[int, int]) -> dict[str, Any]:
        """All of it as JSON types, for the next control.  ``relays``: of each, the name that it has there too."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "nodes": [[*name, n.requests, n.failures, n.tx, n.rx, n.announced_at, n.failed_at, n.timeouts,
                       n.ejections, dump_answers(n.answers)] for name, n in self._nodes.items()],
            "hits": self._hits,
            "answers": {key: dump_answers(answers) for key, answers in self._answers.items()},
            "waits": {key: [waits.waited, waits.full] for key, waits in self._waits.items()},
            "seen": [[relays[relay], list(seen.items())] for relay, seen in self._seen.items() if relay in relays],
        }  # fmt: skip

    def restore(self, data: Mapping[str, Any], relays: Mapping[int, int]) -> None:
        """Go on from what :meth:`dump` wrote.  ``relays``: by name, those that are still there."""
        self.requests, self.errors, self._hits = data["requests"], dict(data["errors"]), dict(data["hits"])
        for key, address, requests, failures, tx, rx, announced_at, failed_at, *more in data["nodes"]:
            # The version before wrote no more than that.
            timeouts, ejections, answers = more or (0, 0, None)
            self._nodes[key, address] = NodeCounters(
                requests, failures, tx, rx, 0, timeouts, ejections, restore_answers(answers), announced_at, failed_at
            )
        for key, (connect, answer) in data.get("times", {}).items():
            self._of_key(key).add_times(connect, answer)
        for key, answers in data.get("answers", {}).items():
            self._answers[key] = restore_answers(answers) or AnswerCounts()
        for key, (waited, full) in data.get("waits", {}).items():
            self._waits[key] = WaitCounters(0, full, waited)
        for name, rows in data["seen"]:
            if name not in relays:
                continue
            relay = relays[name]
            self._followed.add(relay)
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
        return list(self._nodes), list({**self._hits, **self._answers, **self._waits})

    def _of_key(self, key: str) -> AnswerCounts:
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = AnswerCounts()
        return answers

    def _update_key(self, relay: int, key: str, numbers: tuple[int, ...], now: float) -> None:
        name = ("key", key, "")
        news = self._is_news(relay, name)
        hits, *statuses = self._difference(relay, name, numbers)
        self._hits[key] = self._hits.get(key, 0) + hits
        answers = self._of_key(key)
        answers.add_statuses(statuses)
        if news and hits:
            answers.recent.add(now, hits)

    def _update_node(self, relay: int, name: NodeId, row: list[Any], now: float) -> None:
        """``row``: as in docs/architecture.md; the version before ends it behind ``ejected``."""
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = NodeCounters()
        numbers, left = tuple(row), False
        if len(row) > _EJECTED + 1:
            *counts, statuses, times, left = row
            numbers = (*counts, *statuses, *(times[0] + times[1] if times is not None else ()))
        news = self._is_news(relay, name)
        before = self._swap(relay, name, numbers) or ()
        node.in_flight += numbers[_IN_FLIGHT] - (before[_IN_FLIGHT] if before else 0)
        if numbers[_EJECTED]:
            node.ejected_by[relay] = None
        else:
            node.ejected_by.pop(relay, None)
        if before and numbers[0] < before[0]:
            # The relay made the node anew (it left and joined again): its numbers began at nothing.
            before = ()
        new = [max(0, now_ - old) for now_, old in zip_longest(numbers, before, fillvalue=0)]
        node.requests += new[0]
        node.failures += new[1]
        node.tx += new[2]
        node.rx += new[3]
        if len(numbers) > _EJECTED + 1:
            self._add_answers(node, name[0], new, now if news else None)
        if left:
            self._seen[relay].pop(name, None)

    def _add_answers(self, node: NodeCounters, key: str, new: list[Any], now: float | None) -> None:
        """Add what is ``new`` of a node to its own sums and to those of its key; ``now``: None if it is not recent."""
        node.timeouts += new[_TIMEOUTS]
        answers = node.answers
        if answers is None:
            answers = node.answers = AnswerCounts()
        of_key = self._of_key(key)
        for sums in (answers, of_key):
            sums.add_statuses(new[_STATUSES])
            if len(new) > _TIMES:
                sums.add_times(new[_CONNECT], new[_ANSWER])
        if now is not None:
            buckets = new[_ANSWER][:-1]
            answers.recent.add(now, new[0], buckets)
            of_key.recent.add(now, 0, buckets)

    def _is_news(self, relay: int, name: Any) -> bool:
        """False for what ``relay`` may have counted long before this process was there."""
        return relay in self._followed or name in self._seen.get(relay, ())

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
