"""What operators ask of this router, made so: a change in the table, in the log of changes, and in every relay.

An edge without sockets: who may ask, and how, is the admin's business (admin.py); what a change means, the table's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from fastroute.router.control.relays import Relays
from fastroute.router.control.state import StateStore
from fastroute.router.control.table.key_states import HeldState
from fastroute.router.control.table.overrides import Change, NodeName, apply
from fastroute.router.control.table.sources import OPERATOR, RecordId
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.key_state import STATE_OWNER, AnnouncedState
from fastroute.router.protocol.subscription import Announcement, Entry, encode

#: Seconds that an operator waits for relays; one that lags applies the change a little later.
CHANGE_TIMEOUT = 1.0


class Operators:
    """Carries out changes; each returns once every relay has applied it.  ``flush`` tells relays and logs."""

    def __init__(self, table: Table, store: StateStore, relays: Relays, flush: Callable[[], None]) -> None:
        self._table, self._store, self._relays, self._flush = table, store, relays, flush

    async def change(self, nodes: list[NodeName], change: Change) -> list[NodeName]:
        """Make ``change`` of ``nodes``; returns those that exist."""
        changed = [node for node in nodes if apply(self._table, node, change)]
        if changed:
            self._store.append_change(changed, change)
            await self._applied()
        return changed

    async def hold(self, key: str, state: AnnouncedState) -> HeldState | None:
        """Hold ``key``, known or not, in ``state``; returns what it is held in now."""
        self._announce(OPERATOR, Entry(key, owner=STATE_OWNER, state=state))
        await self._applied()
        return self._table.states.of(key)

    async def release(self, key: str) -> RecordId | None:
        """Serve ``key`` again.  Returns who holds it all the same: a controller that is there has to be asked itself,
        as it would only announce the state once more."""
        for record in self._table.states.records(key):
            source = self._table.sources.get(record.source)
            if record.source == OPERATOR or source is None or source.silent:
                state = self._table.states.state(record)
                self._announce(record.source, Entry(key, owner=record.owner, state=state, gone=True))
        await self._applied()
        return self._table.states.holder(key)

    def _announce(self, source: str, entry: Entry) -> None:
        """An entry without order: it counts now.  The log of changes has it as a packet, as if it had come by wire."""
        now, announcement = asyncio.get_running_loop().time(), Announcement(entries=(entry,), source=source)
        self._table.apply(announcement, "127.0.0.1", now)
        self._store.append(encode(announcement), "127.0.0.1", now)

    async def _applied(self) -> None:
        self._flush()
        applied = asyncio.Event()
        self._relays.when_applied(asyncio.get_running_loop().time() + CHANGE_TIMEOUT, applied.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(applied.wait(), CHANGE_TIMEOUT)
