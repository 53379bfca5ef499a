"""The control process: owns the truth about pools and composes the edges around it.

Nothing here decides: the table does.  This file moves what arrives (datagrams, relays' reports, time, names) into the
table, and what changed out of it (ops to the relays, log lines, acks once the relays have applied, snapshots).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from socket import socket
from typing import Any

from fastroute.router.admin_http.connections import OpenConnections
from fastroute.router.compat.resubscription import Resubscription
from fastroute.router.config.settings import Settings, key_defaults
from fastroute.router.control.auth.authenticator import Admitted
from fastroute.router.control.authentication import (
    make_authenticator,
    make_challenge_authenticator,
    read_subscription_secret,
)
from fastroute.router.control.configured_entries import configured_entries
from fastroute.router.control.configured_nodes import ConfiguredNodes, Op
from fastroute.router.control.counters import Counters
from fastroute.router.control.health_reporter import HealthReporter
from fastroute.router.control.name_watcher import NameWatcher
from fastroute.router.control.operators import Operators
from fastroute.router.control.own_nodes import OwnNodes
from fastroute.router.control.relays import Relays, node_op, pool_op, state_op
from fastroute.router.control.saving import TableSaver
from fastroute.router.control.spans import SpanQueue
from fastroute.router.control.state import StateStore
from fastroute.router.control.static_pools import StaticPools
from fastroute.router.control.subscriptions import Sender, SubscriptionServer
from fastroute.router.control.table.membership import Note
from fastroute.router.control.table.overrides import end_sessions
from fastroute.router.control.table.sessions import session_value
from fastroute.router.control.table.table import MAX_RECORDS, Table
from fastroute.router.control.table_dump import TableDump
from fastroute.router.protocol.static_pools import MAPPED, MARK
from fastroute.router.protocol.subscription import Ack, Announcement, Result
from fastroute.router.runtime.event_log import EventLog
from fastroute.router.runtime.listen import socket_name
from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.own_sockets import OwnSockets, Row

#: Kinds of events that anybody can cause who may send a datagram.
FROM_STRANGERS = ("subscription-refused", "subscriptions-dropped")
#: Seconds between checks of expiry and snapshots; both are coarse by contract (seconds; within 1 s).
TICK_INTERVAL = 0.25
#: docs/reference/wire.md: an ack that can't be given in this time is not given; the announcer asks again.  One that is
#: late is better than none: what is asked again has to be read again, too, which makes a busy router later still.
ACK_TIMEOUT = 1.0

log = get_logger("fastroute.router")


class Control:
    """State of the control process; :mod:`admin`, :mod:`stats` and :mod:`metrics` read it."""

    def __init__(self, settings: Settings, store: StateStore) -> None:
        self.settings = settings
        self.table = Table(
            tolerance=settings.tolerance,
            key_grace=settings.key_grace,
            stale_max=settings.stale_max,
            defaults=key_defaults(settings),
        )
        self.configured_nodes = ConfiguredNodes(fallback=settings.fallback, to=settings.to)
        self.counters = Counters(time.monotonic())
        self.static_pools = StaticPools(self.configured_nodes, self.counters)
        self.spans = SpanQueue()
        self.events = EventLog(FROM_STRANGERS)
        self.started = time.monotonic()
        self.cheap = False
        self.draining = self.closed = False
        self.processes = settings.processes
        #: Keys need no subscription, so there is always a node.
        self._maps = bool(settings.to) or settings.base is not None or settings.pattern is not None
        self.connections = {"admin": OpenConnections(), "admin-read": OpenConnections(), "stats": OpenConnections()}
        self.boot_id = secrets.token_hex(8)
        self.bound: list[str] = []
        self.relays: Relays
        self.own_nodes: OwnNodes
        self.operators: Operators
        self.subscriptions: SubscriptionServer
        self._health_reporter: HealthReporter
        self._resubscription: Resubscription
        self._name_watcher: NameWatcher
        self._store = store
        self._saver = TableSaver(
            store, lambda now: TableDump(self.table, self.boot_id, now), on_disk=bool(settings.state_dir)
        )
        self._acks: list[tuple[Sender, Announcement, Result]] = []

    @property
    def ready(self) -> bool:
        """Whether requests are served: a relay has the pools, and the end has not begun."""
        return not self.draining and any(channel.informed for channel in self.relays.channels)

    def start(
        self,
        channels: list[socket],
        leaving: list[socket],
        subscription_sockets: list[socket],
        challenge_sockets: list[socket],
        own: list[str],
        own_sockets: list[Row],
        on_ready: Callable[[], None],
    ) -> None:
        """Restore the pools, then open the channels and the subscription sockets.  Needs a running loop.

        ``leaving``: channels of relays that only finish what they have; ``on_ready``: all others have the pools.
        """
        now = asyncio.get_running_loop().time()
        self.bound = [*own, *(name for sock in subscription_sockets if (name := socket_name(sock)))]
        self.boot_id = self.table.router_id = self._store.read(self.table, now) or self.boot_id
        self.table.notes.clear()
        self.save()
        self.table.fixed(configured_entries(self.settings), now)
        secret = read_subscription_secret(self.settings)
        self.table.session_secret = secret or b""
        sockets = OwnSockets(own_sockets)
        self.own_nodes = OwnNodes(sockets, self.table, self.events)
        screen = self.own_nodes.screen
        self.relays = Relays(self.table, self.configured_nodes, channels, self._on_report, leaving, on_ready, screen)
        self.operators = Operators(self.table, self._store, self.relays, self.flush)
        if (memory := self._store.memory) is not None:
            self.started = memory["started"]
            self.events.restore(memory["events"])
            self.counters.restore(
                memory["counters"], {channel.inode: channel.index for channel in self.relays.channels}
            )
        self._resubscription = Resubscription(self.settings.resubscribe, own[0], self.table)
        self._name_watcher = NameWatcher((self.table, self.configured_nodes, self._resubscription.book), self.flush)
        self.flush()
        self.subscriptions = self._subscription_server(subscription_sockets, challenge_sockets, sockets, secret, now)
        # Before a relay may accept: whoever spoke while we started is not answered 404.
        self.subscriptions.read()
        self._check_cheap()
        for channel in self.relays.channels:
            channel.restart()
        self._health_reporter = HealthReporter(self.events, self.subscriptions, self.relays, self.counters)

    def _subscription_server(
        self,
        subscription_sockets: list[socket],
        challenge_sockets: list[socket],
        own: OwnSockets,
        secret: bytes | None,
        now: float,
    ) -> SubscriptionServer:
        everybody = make_authenticator(self.settings, secret, own.owns, now, self.table.stamps)
        challengers = make_challenge_authenticator(self.settings, own.owns, now)
        return SubscriptionServer(
            {
                **dict.fromkeys(subscription_sockets, everybody),
                **dict.fromkeys(challenge_sockets, challengers),
            },
            self._on_admitted,
            self._on_burst,
            self.boot_id,
            secret,
            self.events,
        )

    async def run(self) -> None:
        """Run expiry, names and snapshots, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._name_watcher.run(), name="names")
            tasks.create_task(self.own_nodes.run(self._on_move), name="own-nodes")
            tasks.create_task(self._tick(), name="tick")

    def drain(self) -> None:
        """Begin to end: not ready any more; everything else goes on until the master ends it."""
        self.draining = True
        self._resubscription.withdraw()

    def close(self) -> None:
        """Save, and close all that a successor takes over; the admin only shows what is known from now on."""
        self.save()
        relays = {channel.index: channel.inode for channel in self.relays.channels}
        counters, events = self.counters.dump(relays), self.events.dump()
        self._store.remember({"started": self.started, "counters": counters, "events": events})
        self._store.wait_written()
        self.closed = True
        self.subscriptions.close()
        self.relays.close()

    def save(self) -> None:
        """Write the snapshot now."""
        self._saver.save(asyncio.get_running_loop().time())

    def flush(self) -> None:
        """Tell relays, log and event log what changed in the table and the configured nodes since the last call."""
        if self.configured_nodes.changed:
            self.configured_nodes.changed = False
            self.relays.broadcast(self.configured_nodes.ops())
        if not self.table.changed:
            return
        if self.settings.resubscribe:
            self._resubscription.changed({key for key, _ in self.table.dirty_nodes}, asyncio.get_running_loop().time())
        # Relays stop accepting before the last node goes and resume after the first one came: no pool is met empty.
        if self._wants_cheap:
            self._check_cheap()
        self.relays.broadcast(self._changes())
        for note in self.table.notes:
            self._report(note)
        self.table.notes.clear()
        self._name_watcher.poke()
        self._check_cheap()
        self._saver.changed(asyncio.get_running_loop().time())

    def _on_move(self) -> None:
        self.configured_nodes.changed = True
        self.flush()

    def _changes(self) -> list[Op]:
        """The dirty names as ops, removals first; clears them."""
        table = self.table
        gone: list[Op] = []
        joined: list[Op] = []
        for key, address in table.dirty_nodes:
            if (member := table.member(key, address)) is None:
                gone.append(["gone", key, address])
                self.counters.forget_node(key, address)
            else:
                joined.append(node_op(key, member, session_value(table.pools[key], member, table.session_secret)))
        pools: list[Op] = [pool_op(table.pools[key]) for key in table.dirty_pools if key in table.pools]
        now = asyncio.get_running_loop().time()
        states = [state_op(key, table.states.of(key), now) for key in table.states.dirty if key in table.pools]
        forgotten: list[Op] = [["forget", key] for key in table.dirty_pools if key not in table.pools]
        for _, key in forgotten:
            self.counters.forget_key(key)
        table.dirty_nodes.clear()
        table.dirty_pools.clear()
        table.states.dirty.clear()
        return gone + pools + states + joined + forgotten

    @property
    def _wants_cheap(self) -> bool:
        return self.settings.cheap and self.table.node_count == 0 and not self._maps

    def _check_cheap(self) -> None:
        cheap = self._wants_cheap
        if cheap != self.cheap:
            self.cheap = cheap
            log.info("entering cheap mode" if cheap else "leaving cheap mode")
            self.relays.accept(not cheap)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._check_cheap()
        while True:
            await asyncio.sleep(TICK_INTERVAL)
            if self.closed:
                return
            # Others have their turn between the parts of what is much.
            while not self.closed and self.table.expire(loop.time()):
                self.flush()
                await asyncio.sleep(0)
            end_sessions(self.table, loop.time())
            self.flush()
            self.relays.check_shares(loop.time())
            self._health_reporter.check(loop.time())
            self._resubscription.refresh(loop.time())
            self._saver.tick(loop.time())

    def _on_admitted(self, admitted: Admitted, sender: Sender, datagram: bytes) -> None:
        now, announcement = asyncio.get_running_loop().time(), admitted.announcement
        share = MAX_RECORDS if admitted.max_nodes is None else admitted.max_nodes
        result = self.table.apply(announcement, sender.own_ip, now, share)
        if self.table.changed:
            self._store.append(datagram, sender.own_ip, now)
        self.subscriptions.count(result or "overtaken")
        if announcement.ack and result is not None:
            self._acks.append((sender, announcement, result))

    def _ack(self, announcement: Announcement, result: Result) -> Ack:
        source = self.table.sources.get(announcement.source)
        leaving = [self.counters.node(e.key, e.address) for e in announcement.entries if e.gone or e.drain]
        instance = source.instance if source is not None and result == "behind" else -1
        return Ack(announcement.seq, self.boot_id, result, instance, max(0, sum(node.in_flight for node in leaving)))

    def _on_burst(self) -> None:
        self.flush()
        self.relays.broadcast(["retry", *node] for node in self.table.heard if self.counters.node(*node).ejected)
        for node in self.table.heard:
            self.counters.announced(*node)
        self.table.heard.clear()
        if not self._acks:
            return
        acks, self._acks = self._acks, []

        def send() -> None:
            # Only now: a relay tells how many requests run before it says that it sends no more.
            for sender, announcement, result in acks:
                sender.answer(self._ack(announcement, result))

        self.relays.when_applied(asyncio.get_running_loop().time() + ACK_TIMEOUT, send)

    def _on_report(self, relay: int, message: list[Any]) -> None:
        kind = message[0]
        if kind == "counters":
            report = message[1]
            self.counters.update(relay, report, asyncio.get_running_loop().time())
            keys = list({row[0] for name in ("keys", "nodes", "times", "waits") for row in report.get(name, ())})
            self._forget_gone([(row[0], row[1]) for row in report.get("nodes", ())], keys)
        elif kind == "spans":
            self.spans.add(*message[1:])
        elif kind in ("hello", "ended"):
            self.counters.relay_gone(relay)
            self._forget_gone(*self.counters.names())
        elif kind in ("failed", "ejected"):
            _, key, address, reason, seconds = message
            if self.counters.eject(relay, key, address, time.time(), reason):
                text = f"{reason}; tried again in {seconds:g} s"
                self.events.add("node-ejected", key=key.removeprefix(MAPPED), node=address, text=text, relay=relay)
            if kind == "failed":
                self.table.failed(key, address, asyncio.get_running_loop().time())
                self.flush()
        elif kind == "recovered":
            _, key, address, *why = message
            self.counters.recover(relay, key, address)
            text = why[0] if why else "accepts connections again"
            self.events.add("node-recovered", key=key.removeprefix(MAPPED), node=address, text=text, relay=relay)

    def _forget_gone(self, nodes: list[tuple[str, str]], keys: list[str]) -> None:
        """Drop the numbers of what is not in the table: a relay speaks of nodes and keys a little longer."""
        for node in nodes:
            if node[0].startswith(MARK):
                self.static_pools.reported(*node)
            elif self.table.member(*node) is None:
                self.counters.forget_node(*node)
        for key in keys:
            if key.startswith(MARK):
                self.static_pools.reported(key)
            elif key not in self.table.pools:
                self.counters.forget_key(key)

    def _report(self, note: Note) -> None:
        level = log.warning if note.kind in ("stale", "key-disputed") else log.info
        level("%s", note.sentence, extra={"event": note.kind, "key": note.key, "node": note.address})
        self.events.add(note.kind, key=note.key, node=note.address, text=note.text)
