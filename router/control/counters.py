"""What the relays counted, summed.  Pure.

Each relay reports absolute numbers since its own start (docs/architecture.md, ``counters``); a sum over relays that
never falls when one dies or restarts is kept here: every report adds the difference to what the same relay said before.
Only requests in flight go away with their relay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fastroute.router.control.answer_counts import SIZE, TIMES_AT, AnswerCounts
from fastroute.router.control.count_records import NodeCounters, WaitCounters
from fastroute.router.protocol.static_pools import MARK

NodeId = tuple[str, str]

#: Where these are among the counts of a node: requests, failures, tx, rx, in flight, ejected, timeouts.
_IN_FLIGHT, _EJECTED, _TIMEOUTS = 4, 5, 6
#: Behind them are, from the version on that has them, the sums of its ``AnswerCounts``.
_ANSWERS = 7
_ZEROS = (0,) * (_ANSWERS + SIZE)

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
            row = [0.0] * (len(connect) + len(answer))
            self._add(relay, ("times", key, ""), [*connect, *answer], row)
            self._of_key(key).count(None, 0, [*enumerate(row, TIMES_AT)])
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

    def eject(self, relay: int, key: str, address: str, wall: float = 0.0, reason: str = "") -> bool:
        """``relay`` says so ahead of its next report, at ``wall``.  True when that is news."""
        node = self._nodes.setdefault((key, address), NodeCounters())
        news = relay not in node.ejected_by
        node.ejections += news
        node.ejected_by[relay] = None
        node.failed_at = wall
        if news:
            node.reason = reason
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
            for kind in ("key", "times", "waiting", "waited", "full"):
                seen.pop((kind, key, ""), None)

    def dump(self, relays: Mapping[int, int]) -> dict[str, Any]:
        """All of it as JSON types, for the next control.  ``relays``: of each, the name that it has there too."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "nodes": [[*name, n.requests, n.failures, n.tx, n.rx, n.announced_at, n.failed_at, n.timeouts,
                       n.ejections, None if n.answers is None else n.answers.sums] for name, n in self._nodes.items()],
            "hits": self._hits,
            "answers": {key: answers.sums for key, answers in self._answers.items()},
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
                requests, failures, tx, rx, 0, timeouts, ejections, None if answers is None else AnswerCounts(answers),
                announced_at, failed_at,
            )  # fmt: skip
        for key, (connect, answer) in data.get("times", {}).items():
            self._of_key(key).count(None, 0, [*enumerate((*connect, *answer), TIMES_AT)])
        for key, answers in data.get("answers", {}).items():
            self._answers[key] = AnswerCounts(answers)
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
        self._of_key(key).count(now if news else None, hits, [*enumerate(statuses)])

    def _update_node(self, relay: int, name: NodeId, row: list[Any], now: float) -> None:
        """``row``: as in docs/architecture.md; the version before ends it behind ``ejected``."""
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = NodeCounters()
        left = False
        if len(row) > _EJECTED + 1:
            *row, statuses, times, left = row
            row += statuses
            if times is not None:
                row += times[0]
                row += times[1]
        news = self._is_news(relay, name)
        before = self._swap(relay, name, tuple(row)) or ()
        node.in_flight += row[_IN_FLIGHT] - (before[_IN_FLIGHT] if before else 0)
        if row[_EJECTED]:
            node.ejected_by[relay] = None
        else:
            node.ejected_by.pop(relay, None)
        if len(before) < len(row) or row[0] < before[0]:
            # The relay made the node anew (it left and joined again): its numbers began at nothing.
            before = (before if before and row[0] >= before[0] else ()) + _ZEROS
        node.requests += row[0] - before[0]
        node.failures += max(0, row[1] - before[1])
        node.tx += max(0, row[2] - before[2])
        node.rx += max(0, row[3] - before[3])
        if len(row) > _ANSWERS:
            node.timeouts += max(0, row[_TIMEOUTS] - before[_TIMEOUTS])
            if node.answers is None:
                node.answers = AnswerCounts()
            new = [(at, count - old) for at, (count, old) in enumerate(zip(row[_ANSWERS:], before[_ANSWERS:]))  # noqa: B905
                   if count > old]  # fmt: skip
            at = now if news else None
            node.answers.count(at, row[0] - before[0], new)
            self._of_key(name[0]).count(at, 0, new)
        if left:
            self._seen[relay].pop(name, None)

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
