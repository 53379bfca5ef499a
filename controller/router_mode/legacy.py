"""What a router that never acks is told: one plain packet a node, again and again.  Pure; times are monotonic seconds.

Such a router is taken for an original uWSGI.  It knows one node per key and address, whoever owns it, and neither
draining nor keys without nodes: a drained node is withdrawn, a key without address is not mentioned.  Nothing tells us
that a packet was lost, so every node is repeated at every heartbeat and a withdrawal is said three times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fastroute.router.subscription import Entry

#: Seconds between the repetitions of a withdrawal: a burst of losses is shorter.
WITHDRAWAL_TIMES = (0.0, 0.1, 0.5)
#: Packets per slice, and seconds between slices: the default receive buffer of a UDP socket holds about 256.
SLICE = 64
SLICE_PAUSE = 0.010

Node = tuple[str, str]


@dataclass(slots=True)
class _Withdrawal:
    entry: Entry
    said: int
    due: float


class PlainTeller:
    """Nodes as an original uWSGI knows them, and what is to be said about them."""

    def __init__(self, entries: Iterable[Entry], heartbeat: float, now: float) -> None:
        self._heartbeat = heartbeat
        self._owners: dict[Node, dict[str, Entry]] = {}
        self._unsaid: dict[Node, None] = {}
        self._withdrawals: dict[Node, _Withdrawal] = {}
        self._next_round = now + heartbeat
        self._next_slice = now
        self.change((), entries, now)

    @property
    def pending(self) -> int:
        """Nodes to be announced or withdrawn that were not yet, not even once."""
        return len(self._unsaid) + sum(1 for one in self._withdrawals.values() if not one.said)

    @property
    def due(self) -> float:
        """When there is something to say."""
        withdrawal = min((one.due for one in self._withdrawals.values()), default=math.inf)
        return min(withdrawal, self._next_slice if self._unsaid else self._next_round)

    def change(self, gone: Iterable[Entry], come: Iterable[Entry], now: float) -> None:
        """Entries left and joined (or changed)."""
        for entry in gone:
            node = entry.key, entry.address
            if self._owners.get(node, {}).pop(entry.owner, None) is not None:
                self._settle(node, entry, now)
        for entry in come:
            if entry.address:
                node = entry.key, entry.address
                owners = self._owners.setdefault(node, {})
                owners.pop(entry.owner, None)
                owners[entry.owner] = entry
                self._settle(node, entry, now)

    def say(self, now: float) -> list[Entry]:
        """The entries to be sent now, each in a packet of its own; withdrawals first."""
        said = [entry for node in list(self._withdrawals) if (entry := self._withdraw(node, now))]
        if now >= self._next_round:
            self._next_round = now + self._heartbeat
            self._unsaid.update(dict.fromkeys(node for node in self._owners if self._entry(node)))
        if self._unsaid and now >= self._next_slice:
            self._next_slice = now + SLICE_PAUSE
            for node in list(self._unsaid)[:SLICE]:
                del self._unsaid[node]
                if entry := self._entry(node):
                    said.append(entry)
        return said

    def _entry(self, node: Node) -> Entry | None:
        """What the router should know of ``node``: the newest claim that wants requests."""
        owners = self._owners.get(node, {})
        return next((entry for entry in reversed(owners.values()) if not entry.drain), None)

    def _settle(self, node: Node, last: Entry, now: float) -> None:
        if self._entry(node):
            self._withdrawals.pop(node, None)
            self._unsaid[node] = None
            return
        if not self._owners.get(node):
            self._owners.pop(node, None)
        self._unsaid.pop(node, None)
        self._withdrawals[node] = _Withdrawal(replace(last, gone=True, drain=False), 0, now)

    def _withdraw(self, node: Node, now: float) -> Entry | None:
        one = self._withdrawals[node]
        if now < one.due:
            return None
        one.said += 1
        if one.said == len(WITHDRAWAL_TIMES):
            del self._withdrawals[node]
        else:
            one.due = now + WITHDRAWAL_TIMES[one.said] - WITHDRAWAL_TIMES[one.said - 1]
        return one.entry
