"""The one check that every node passes on its way to the relays: this router is no node of itself.

Whoever announced a node and however its address came about (a packet, the configuration, ``--fallback``, a name that
was resolved again), it leaves control as an op, and here the op of a node that is one of our own sockets becomes a
``gone``.  The node stays in the table, so that it can be seen, and gets requests once the address is ours no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from fastroute.router.control.configured_nodes import Op
from fastroute.router.control.table.table import Table
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.own_sockets import OwnSockets

#: Seconds between checks whether this machine has other addresses now.
CHECK_INTERVAL = 5.0
#: Nodes that are checked again in one turn, when it has: about a millisecond of work.
NODES_PER_TURN = 500

log = get_logger("fastroute.router")


class OwnNodes:
    """Screens the ops of ``table``'s nodes, and of configured ones."""

    def __init__(self, sockets: OwnSockets, table: Table, events: EventLog) -> None:
        self._sockets, self._table, self._events = sockets, table, events
        #: Pool and address of the nodes that are our own sockets now.
        self.refused: dict[tuple[str, str], None] = {}
        #: How many nodes were refused so far.
        self.count = 0

    def screen(self, ops: Iterable[Op]) -> Iterator[Op]:
        """``ops`` as the relays may have them; as lazy as they are."""
        for op in ops:
            if op[0] == "node":
                yield op if self._passes(op[1], op[2]) else ["gone", op[1], op[2]]
            elif op[0] == "reserve":
                yield self._reserve(op)
            else:
                if op[0] == "gone":
                    self.refused.pop((op[1], op[2]), None)
                yield op

    def _reserve(self, op: Op) -> Op:
        pool = f"({op[1]})"
        for at in [at for at in self.refused if at[0] == pool and at[1] not in op[2]]:
            del self.refused[at]
        return ["reserve", op[1], [address for address in op[2] if self._passes(pool, address)]]

    def _passes(self, pool: str, address: str) -> bool:
        own = self._sockets.owns(address)
        if own != ((pool, address) in self.refused):
            self._turn(pool, address, own)
        return not own

    def _turn(self, pool: str, address: str, own: bool) -> None:
        if (member := self._table.member(pool, address)) is not None:
            member.own = own
        if not own:
            del self.refused[pool, address]
            return
        self.refused[pool, address] = None
        self.count += 1
        text = "is this router itself: a request sent there would never end, so it gets none"
        log.warning("%s => %s %s", pool, address, text, extra={"key": pool, "node": address})
        self._events.add("node-refused", key=pool, node=address, text=text)

    async def run(self, changed: Callable[[], None]) -> None:
        """Look again at every node whenever this machine's addresses have changed; ``changed``: ops are to be sent."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            if self._sockets.moved():
                for _ in self._look_again():
                    changed()
                    await asyncio.sleep(0)

    def _look_again(self) -> Iterator[None]:
        table, left = self._table, NODES_PER_TURN
        for name in list(table.pools):
            for address in list(pool.members) if (pool := table.pools.get(name)) is not None else ():
                if self._sockets.owns(address) != ((name, address) in self.refused):
                    table.dirty_nodes[name, address] = None
                left -= 1
                if not left:
                    left = NODES_PER_TURN
                    yield
        yield
