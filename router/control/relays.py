"""Control's end of the channels to the relays: one edge.  docs/architecture.md, "Channel between control and a
relay".

Rules: control never waits for a relay, and a relay that lags costs bounded memory: past ``MAX_QUEUED`` messages its
queue is dropped and it is brought up to date by a snapshot, made in slices only as fast as it reads.  Every message is
built from the table as it is at that moment and delivered in order, so whatever mix of changes and slices a relay sees,
the last word on each node is the newest.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastroute.router.control.configured_nodes import ConfiguredNodes, Op
from fastroute.router.control.earlier_relays import positional
from fastroute.router.control.shares import LeavingShares
from fastroute.router.control.table.key_states import HeldState
from fastroute.router.control.table.membership import AnnouncedPool, Member
from fastroute.router.control.table.sessions import session_value
from fastroute.router.control.table.table import Table
from fastroute.router.protocol.key_state import SERVING
from fastroute.router.protocol.node_options import KEY_SETTINGS, NODE_SETTINGS, non_defaults
from fastroute.router.runtime.logs import get_logger

#: One message; both sides' socket buffers hold several (net.core.wmem_default is 212,992).
MAX_MESSAGE = 60_000
#: One op, and the frame around all of a message: key and address of 255 bytes each, every byte escaped as \u00ff; or a
#: key and a message of 300 characters, some of which are written as two escapes.
MAX_OP = 7_000
#: Messages waiting for one relay before it counts as lagging: 64 * 60 KB is under 4 MB.
MAX_QUEUED = 64
#: Operations in one slice of a snapshot: about a millisecond of work (2 us an operation, measured, plus JSON).
MAX_OPS_PER_MESSAGE = 200

log = get_logger("fastroute.router")


def node_op(key: str, member: Member, session: str = "") -> Op:
    """The op that makes a relay's replica of ``member`` what the table says; ``session``: the value of its cookie."""
    named = non_defaults(member.options, NODE_SETTINGS)
    if session:
        named["session"] = session
    if member.draining:
        named["draining"] = 1
        if member.sessions:
            named["sessions"] = member.sessions
    if via := member.entry.via:
        named["via"] = via
    return ["node", key, member.address, named]


def pool_op(pool: AnnouncedPool) -> Op:
    """The op that makes a relay know the key of ``pool``, with its settings."""
    return ["pool", pool.name, non_defaults(pool.options, KEY_SETTINGS)]


def state_op(key: str, held: HeldState | None, now: float) -> Op:
    """The op that makes a relay hold ``key`` in a state, or serve it (None); ``seconds``: what is left of the time."""
    if held is None:
        return ["state", key, {"state": SERVING}]
    state, left = held.state, held.left(now)
    named: dict[str, Any] = {"state": state.name}
    if state.message:
        named["message"] = state.message
    if state.allow:
        named["allow"] = list(state.allow)
    if left is not None:
        named["seconds"] = round(left, 3)
    return ["state", key, named]


def take_part(ops: Iterator[Op]) -> list[str]:
    """The next ops as JSON, as many as fit into one message and one slice; empty when there are none left."""
    part: list[str] = []
    size = 0
    for op in ops:
        part.append(json.dumps(op, separators=(",", ":")))
        size += len(part[-1]) + 1
        if len(part) == MAX_OPS_PER_MESSAGE or size > MAX_MESSAGE - MAX_OP:
            break
    return part


def snapshot_ops(
    table: Table, configured: ConfiguredNodes, accepting: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Op]:
    """Everything, between ``reset`` and ``done``.  Lazy: may be advanced while the table changes.  A key without a
    ``state`` op there is served."""
    yield ["reset"]
    # Before ``done``: a relay that is to wait in cheap mode must not answer 404 meanwhile.
    yield ["accept", int(accepting)]
    yield ["router", table.router_id]
    yield from configured.ops()
    for name in list(table.pools):
        if (pool := table.pools.get(name)) is None:
            continue
        yield pool_op(pool)
        if (held := table.states.of(name)) is not None:
            yield state_op(name, held, clock())
        for address in list(pool.members):
            if (member := pool.members.get(address)) is not None:
                yield node_op(name, member, session_value(pool, member, table.session_secret))
    yield ["done"]


class Channel:
    """One relay as control sees it."""

    def __init__(self, index: int, sock: socket.socket, relays: Relays, *, leaving: bool = False) -> None:
        self._leaving = leaving
        self.index = index
        #: Whether it has said hello, or acked something of ours (it was there before this control).
        self.alive = False
        #: Whether it has a whole snapshot.
        self.informed = False
        #: How often it lagged and got a snapshot.
        self.resets = 0
        self._complete: int | None = None
        #: The same for every control that holds this end.
        self.inode = os.fstat(sock.fileno()).st_ino
        self._sock, self._relays = sock, relays
        self._queue: deque[bytes] = deque()
        self._snapshot: Iterator[Op] | None = None
        self._writing = False
        self.sent = self.acked = 0
        sock.setblocking(False)
        asyncio.get_running_loop().add_reader(sock, self._readable)

    @property
    def lag(self) -> int:
        """Versions sent (or waiting to be) that the relay has not acked."""
        return self.sent - self.acked

    def restart(self) -> None:
        """Forget what was queued and bring the relay up to date from the table."""
        self._queue.clear()
        self._complete = None
        self._snapshot = self._relays.snapshot()
        self._pump()

    def post(self, part: list[str]) -> None:
        """Queue ops (as :func:`take_part` made them) as one message."""
        if len(self._queue) >= MAX_QUEUED:
            self.resets += 1
            log.warning("relay %d lags by %d messages: it gets a snapshot", self.index, len(self._queue))
            self.restart()
            return
        self._append(part)
        self._pump()

    def _append(self, part: list[str]) -> None:
        self.sent = self._relays.next_version()
        if self._leaving:
            part = positional(part)
        message = f'{{"v":{self.sent},"epoch":"{self._relays.epoch}","ops":[{",".join(part)}]}}'
        self._queue.append(message.encode())

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue and not self._slice():
                if self._writing:
                    loop.remove_writer(self._sock)
                    self._writing = False
                return
            try:
                self._sock.send(self._queue[0])
            except BlockingIOError:
                if not self._writing:
                    loop.add_writer(self._sock, self._pump)
                    self._writing = True
                return
            except OSError as error:
                log.error("channel to relay %d: %s", self.index, error)
                self._queue.clear()
                self._snapshot = None
                return
            self._queue.popleft()

    def _slice(self) -> bool:
        if self._snapshot is None:
            return False
        part = take_part(self._snapshot)
        if not part:
            self._snapshot = None
            self._complete = self.sent
            return False
        self._append(part)
        return True

    def applied(self, version: int) -> None:
        """The relay has applied everything up to ``version``."""
        self.alive, self.acked = True, max(self.acked, version)
        self.informed |= self._complete is not None and self.acked >= self._complete

    def close(self) -> None:
        """Close our end."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.remove_writer(self._sock)
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                log.error("channel to relay %d: %s", self.index, error)
                return
            if not data:
                self._relays.ended(self)
                return
            self._relays.handle(self, json.loads(data))


class Relays:
    """All relays: broadcasts ops, knows what all live ones have applied, hands their reports to ``on_report``.

    ``leaving`` ones finish what they have: they are told everything too (a request may still try another node), and
    nobody waits for them to begin.  ``on_informed`` is called once, when all others have the pools.  Every op passes
    ``screen`` before it is sent (own_nodes.py).
    """

    def __init__(
        self,
        table: Table,
        configured: ConfiguredNodes,
        sockets: list[socket.socket],
        on_report: Callable[[int, list[Any]], None],
        leaving: Iterable[socket.socket] = (),
        on_informed: Callable[[], None] = lambda: None,
        screen: Callable[[Iterable[Op]], Iterator[Op]] = iter,
    ) -> None:
        self.table, self.configured_nodes = table, configured
        self.epoch = secrets.token_hex(4)
        self._screen = screen
        self._version = 0
        self.accepting = True
        self._on_report = on_report
        self._waiting: deque[tuple[int, float, Callable[[], None]]] = deque()
        self._on_informed, self._informed = on_informed, False
        self._own = [Channel(index, sock, self) for index, sock in enumerate(sockets)]
        self.channels = self._own + [
            Channel(index, sock, self, leaving=True) for index, sock in enumerate(leaving, len(sockets))
        ]
        self._shares = LeavingShares(table, range(len(sockets), len(self.channels)), len(sockets))

    def next_version(self) -> int:
        """A number above all given before."""
        self._version += 1
        return self._version

    @property
    def applied(self) -> int:
        """The highest version that every live relay has applied, along with all before it."""
        return min((c.acked if c.lag else self._version for c in self.channels if c.alive), default=0)

    def broadcast(self, ops: Iterable[Op]) -> None:
        """Send ``ops`` to every relay, in as many messages as it takes."""
        remaining = self._screen(self._shares.mark(ops))
        while part := take_part(remaining):
            for channel in self.channels:
                channel.post(part)

    def snapshot(self) -> Iterator[Op]:
        """All that a relay has to know, as :func:`snapshot_ops`."""
        return self._screen(self._shares.mark(snapshot_ops(self.table, self.configured_nodes, self.accepting)))

    def accept(self, accepting: bool) -> None:
        """Whether relays take new connections (cheap mode); part of every snapshot from now on."""
        self.accepting = accepting
        self.broadcast([["accept", int(accepting)]])

    def when_applied(self, deadline: float, then: Callable[[], None]) -> None:
        """Call ``then`` once all that was sent so far is applied by every live relay; not at all after ``deadline``."""
        self._waiting.append((self._version, deadline, then))
        self._flush()

    def handle(self, channel: Channel, message: list[Any]) -> None:
        """One message of a relay."""
        kind = message[0]
        if kind == "ack":
            if message[1] == self.epoch:
                channel.applied(message[2])
                if not self._informed and all(channel.informed for channel in self._own):
                    self._informed = True
                    self._shares.began(asyncio.get_running_loop().time())
                    self._on_informed()
                self._flush()
            return
        if kind == "hello":
            channel.alive, channel.informed = True, False
            channel.acked = self._version
            channel.restart()
        if kind in ("held", "leaving"):
            self._share_out(self._shares.heard(channel.index, kind, message[1]))
            return
        self._on_report(channel.index, message)

    def ended(self, channel: Channel) -> None:
        """A leaving relay has ended (those of our own are started again, and keep their channel)."""
        channel.close()
        self.channels.remove(channel)
        self._share_out(self._shares.ended(channel.index))
        self._on_report(channel.index, ["ended"])
        self._flush()

    def check_shares(self, now: float) -> None:
        """Time passes: relays that leave do not keep their shares of each ``max`` for ever."""
        self._share_out(self._shares.check(now))

    def _share_out(self, nodes: list[tuple[str, str]]) -> None:
        """Tell the relays what is left to them of each ``max``."""
        members = ((key, self.table.member(key, address)) for key, address in nodes)
        self.broadcast(node_op(key, member) for key, member in members if member is not None)

    def close(self) -> None:
        """Close our end of all channels: another control speaks to the relays now."""
        for channel in self.channels:
            channel.close()
        self.channels.clear()

    def _flush(self) -> None:
        if not self._waiting:
            return
        now, applied = asyncio.get_running_loop().time(), self.applied
        while self._waiting and (self._waiting[0][0] <= applied or self._waiting[0][1] < now):
            version, deadline, then = self._waiting.popleft()
            if version <= applied and now <= deadline:
                then()
