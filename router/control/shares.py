"""How much of each node's ``max`` relays that only finish what they have still use.  Pure; time is handed in.

A reload, or an upgrade in place, leaves relays behind that have requests in flight.  Each of them says how many it has
at which node (``held``), and gives back what it needs no more; the relays that serve share the rest.  Until the last of
them has said all (``leaving``), it is taken for granted that they use everything.

* A key without ``wait`` would refuse what finds no room: there each serving relay has one request at least.
* So it is everywhere when this has taken ``STRICT_TIME``: a worker that is full for minutes with requests of before the
  reload would serve nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastroute.router.control.configured_nodes import Op
from fastroute.router.control.table.table import Table

NodeId = tuple[str, str]

#: Seconds after which a relay that has not said what it uses counts as one that uses nothing: relays of the version
#: before this one never say it.
SILENCE_LIMIT = 1.0
#: Seconds after which each serving relay may have one request at each node, whatever others have there.
STRICT_TIME = 10.0


class LeavingShares:
    """What ``leaving`` relays (their numbers) use of the nodes in ``table``; ``processes`` serve beside them."""

    def __init__(self, table: Table, leaving: Iterable[int], processes: int) -> None:
        self._table = table
        self._processes = processes
        self._leaving = set(leaving)
        #: The leaving relays that have not said all that they use.
        self._silent = set(self._leaving)
        self._held: dict[NodeId, dict[int, int]] = {}
        #: When the serving relays began; None: they have not.
        self._began: float | None = None
        self._strict = True

    def taken(self, key: str, address: str) -> int:
        """How much of the node's ``max`` is not for the relays that serve."""
        member = self._table.member(key, address) if self._leaving else None
        if member is None or not (limit := member.options.max):
            return 0
        taken = limit if self._silent else sum(self._held.get((key, address), {}).values())
        if not self._strict or not self._table.pools[key].options.wait:
            taken = min(taken, limit - self._processes)
        return max(0, min(taken, limit))

    def mark(self, ops: Iterable[Op]) -> Iterable[Op]:
        """``ops`` with what is taken of each node; as lazy as they are."""
        return self._marked(ops) if self._leaving else ops

    def _marked(self, ops: Iterable[Op]) -> Iterator[Op]:
        for op in ops:
            if op[0] == "node" and (taken := self.taken(op[1], op[2])):
                op[3]["taken"] = taken
            yield op

    def began(self, now: float) -> None:
        """The relays that serve accept from now on."""
        self._began = now

    def heard(self, relay: int, kind: str, rows: list[Any]) -> list[NodeId]:
        """A leaving relay says how much it uses, or that it has said all.  Returns the nodes where this changes
        something."""
        if relay not in self._leaving:
            return []
        if kind == "leaving":
            return self._spoke({relay})
        for key, address, held in rows:
            shares = self._held.setdefault((key, address), {})
            if held:
                shares[relay] = held
            elif shares.pop(relay, 0) and not shares:
                del self._held[key, address]
        return [] if self._silent else [(key, address) for key, address, _ in rows]

    def ended(self, relay: int) -> list[NodeId]:
        """A relay has ended.  Returns the nodes where this changes something."""
        if relay not in self._leaving:
            return []
        nodes = [node for node, shares in self._held.items() if shares.pop(relay, 0)]
        changed = self._spoke({relay})
        self._leaving.discard(relay)
        return changed or nodes

    def check(self, now: float) -> list[NodeId]:
        """Time passes.  Returns the nodes where this changes something."""
        if self._began is None or not self._leaving:
            return []
        changed: list[NodeId] = []
        if self._silent and now >= self._began + SILENCE_LIMIT:
            changed = self._spoke(set(self._silent))
        if self._strict and now >= self._began + STRICT_TIME:
            self._strict = False
            changed += self._held
        return changed

    def _spoke(self, relays: set[int]) -> list[NodeId]:
        """``relays`` are silent no more.  Returns all limited nodes if these were the last silent ones."""
        before, self._silent = self._silent, self._silent - relays
        if not before or self._silent:
            return []
        return [
            (key, address)
            for key, pool in self._table.pools.items()
            for address, member in pool.members.items()
            if member.options.max
        ]
