"""The relay's end of the channel to control: ops in; acks, counters and failures out (docs/architecture.md).

Control may be away, slow or new at any moment, and the relay never waits for it: what cannot be sent now waits in a
short queue, counters are absolute numbers and are simply told later.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from fastroute.router.relay.level import GONE
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import Pool
from fastroute.router.relay.quoting import quoted

#: Bytes of one message; docs/architecture.md allows 60,000.
MAX_MESSAGE: Final = 55_000
#: Rows of what is held of nodes: a key and an address of 255 bytes each may be written as \u00ff six times as long.
MAX_HELD_ROWS: Final = 16
#: Requests in one message that become spans: each has some 4,000 bytes at most.
SPANS_PER_MESSAGE: Final = 12
#: Messages that wait for a control that does not read; the oldest go first (acks are asked for again).
MAX_UNSENT: Final = 1024
#: Bytes that the numbers of a row take at most, or nearly so.
_NUMBERS: Final = {"nodes": 450, "keys": 120, "waits": 300}


class ControlChannel:
    """One SOCK_SEQPACKET socket, non-blocking."""

    def __init__(self, fd: int, apply: Callable[[list[Any]], None]) -> None:
        self.fd = fd
        self._socket = socket.SocketType(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)
        self._socket.setblocking(False)
        self._apply = apply
        self._waiting: deque[bytes] = deque(maxlen=MAX_UNSENT)
        self.open = True
        self.send(["hello", os.getpid()])

    @property
    def waiting(self) -> bool:
        """True while control has not taken all messages."""
        return bool(self._waiting)

    def receive(self) -> str:
        """Apply one message and acknowledge it: only one, so that a snapshot holds up requests for as short as it can.

        Returns what was wrong with it, empty if nothing was.
        """
        try:
            data = self._socket.recv(1 << 17)
        except BlockingIOError:
            return ""
        except OSError as error:
            self.open = False
            return f"channel to control: {error}"
        if not data:
            self.open = False
            return "channel to control: closed"
        try:
            message = json.loads(data)
            self._apply(message["ops"])
            self.send(["ack", message["epoch"], message["v"]])
        except (ValueError, TypeError, KeyError) as mistake:
            return f"message of control not understood ({mistake}): {quoted(data, 100)}"
        return ""

    def send(self, message: list[Any]) -> None:
        """Send ``message`` now, or as soon as control reads."""
        self._waiting.append(json.dumps(message, separators=(",", ":")).encode())
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as control takes it."""
        while self._waiting and self.open:
            try:
                self._socket.send(self._waiting[0])
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                self.open = False
                return
            self._waiting.popleft()

    def send_held(self, rows: list[list[Any]]) -> None:
        """Send what this relay needs of nodes' ``max``, in as many messages as it takes."""
        for at in range(0, len(rows), MAX_HELD_ROWS):
            self.send(["held", rows[at : at + MAX_HELD_ROWS]])

    def send_counters(self, nodes: Iterable[Node], pools: Iterable[Pool], totals: dict[str, Any]) -> None:
        """Send the numbers of ``nodes`` and ``pools``, in as many messages as they need, ``totals`` in the first."""
        report: dict[str, Any] = {name: [] for name in _NUMBERS} | totals
        size = 1000
        for name, row in _rows(nodes, pools):
            size += len(row[0]) * 6 + (len(row[1]) * 6 if name == "nodes" else 0) + _NUMBERS[name]
            if size > MAX_MESSAGE:
                self.send(["counters", report])
                report, size = {name: [] for name in _NUMBERS}, 5000
            report[name].append(row)
        self.send(["counters", report])

    def send_spans(self, rows: list[list[Any]], dropped: int) -> None:
        """Send what becomes of these requests; nothing while control does not read, as acks matter more."""
        if self._waiting:
            rows, dropped = [], dropped + len(rows)
        for at in range(0, len(rows), SPANS_PER_MESSAGE):
            self.send(["spans", rows[at : at + SPANS_PER_MESSAGE], 0])
        if dropped:
            self.send(["spans", [], dropped])


def _rows(nodes: Iterable[Node], pools: Iterable[Pool]) -> Iterable[tuple[str, list[Any]]]:
    for node in nodes:
        key, address = node.pool.name, node.address
        numbers = [node.requests, node.failures, node.tx, node.rx, node.in_flight, int(node.ejected), node.timeouts]
        times = None if node.times is None else node.times.report()
        left = node.state == GONE and not node.in_flight
        yield "nodes", [key, address, *numbers, node.statuses, times, int(left)]
    for pool in pools:
        yield "keys", [pool.name, pool.hits, pool.statuses]
        if pool.waiting is not None:
            queue = pool.waiting.queue
            yield "waits", [pool.name, len(queue), queue.counts.report(), queue.full]
