"""Announcing to a router that never acks: one plain packet a node, again and again.  Pure; times are monotonic seconds.

Such a router is taken for an original uWSGI.  It knows one node per key and address, whoever owns it, and neither
draining nor keys without nodes: a drained node is withdrawn, a key without address is not mentioned.  Nothing tells us
that a packet was lost, so every node is repeated at every heartbeat and a withdrawal is sent three times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fastroute.router.protocol.subscription import Entry

#: When a withdrawal is sent, in seconds after the first time: a burst of losses is shorter.
WITHDRAWAL_OFFSETS = (0.0, 0.1, 0.5)
#: Packets per slice, and seconds between slices: the default receive buffer of a UDP socket holds about 256.
PACKETS_PER_SLICE = 64
SLICE_PAUSE = 0.010
#: Seconds that more than a slice waits in the beginning: a router that acks meanwhile gets it in batches.
ANSWER_TIME = 2.0

Node = tuple[str, str]


@dataclass(slots=True)
class _Withdrawal:
    """A withdrawal that is repeated; ``sent``: how often it was sent."""

    entry: Entry
    sent: int
    due: float


class LegacyAnnouncer:
    """The nodes as an original uWSGI knows them, and the packets about them that are due."""

    def __init__(self, entries: Iterable[Entry], heartbeat: float, now: float) -> None:
        self._heartbeat = heartbeat
        self._owners: dict[Node, dict[str, Entry]] = {}
        self._unannounced: dict[Node, None] = {}
        self._withdrawals: dict[Node, _Withdrawal] = {}
        self._next_round = now + heartbeat
        self._next_slice = now
        self._began = False
        self.change((), entries, now)

    @property
    def pending(self) -> int:
        """Nodes to be announced or withdrawn that were not yet, not even once."""
        return len(self._unannounced) + sum(1 for withdrawal in self._withdrawals.values() if not withdrawal.sent)

    @property
    def due(self) -> float:
        """When :meth:`take_due` has something to send."""
        withdrawal_due = min((withdrawal.due for withdrawal in self._withdrawals.values()), default=math.inf)
        return min(withdrawal_due, self._next_slice if self._unannounced else self._next_round)

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

    def take_due(self, now: float) -> list[Entry]:
        """The entries to be sent now, each in a packet of its own; withdrawals first."""
        due = [entry for node in list(self._withdrawals) if (entry := self._withdraw(node, now))]
        if now >= self._next_round:
            self._next_round = now + self._heartbeat
            self._unannounced.update(dict.fromkeys(node for node in self._owners if self._entry(node)))
        if not self._began and self._unannounced:
            self._began = True
            if len(self._unannounced) > PACKETS_PER_SLICE:
                self._next_slice = now + ANSWER_TIME
        if self._unannounced and now >= self._next_slice:
            self._next_slice = now + SLICE_PAUSE
            for node in list(self._unannounced)[:PACKETS_PER_SLICE]:
                del self._unannounced[node]
                if entry := self._entry(node):
                    due.append(entry)
        return due

    def _entry(self, node: Node) -> Entry | None:
        """What the router should know of ``node``: the newest claim that wants requests."""
        owners = self._owners.get(node, {})
        return next((entry for entry in reversed(owners.values()) if not entry.drain), None)

    def _settle(self, node: Node, last: Entry, now: float) -> None:
        if self._entry(node):
            self._withdrawals.pop(node, None)
            self._unannounced[node] = None
            return
        if not self._owners.get(node):
            self._owners.pop(node, None)
        self._unannounced.pop(node, None)
        self._withdrawals[node] = _Withdrawal(replace(last, gone=True, drain=False), 0, now)

    def _withdraw(self, node: Node, now: float) -> Entry | None:
        withdrawal = self._withdrawals[node]
        if now < withdrawal.due:
            return None
        withdrawal.sent += 1
        if withdrawal.sent == len(WITHDRAWAL_OFFSETS):
            del self._withdrawals[node]
        else:
            withdrawal.due = now + WITHDRAWAL_OFFSETS[withdrawal.sent] - WITHDRAWAL_OFFSETS[withdrawal.sent - 1]
        return withdrawal.entry
