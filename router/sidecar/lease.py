"""What is sent to one router address about one node, and when.  Pure; times are monotonic seconds.

A node is announced key by key in plain packets, which an original uWSGI understands as well.  To a router that acks, a
packet is sent again until it has acked it; to one that never does, we can only repeat each packet.

* joined: every key again each heartbeat, well inside ``--tolerance`` (25 s, the original's 17 s), so that two lost
  datagrams cost nothing.
* leaving: withdrawn, and the router is asked how many requests are in flight until there are none.  A relay reports
  its requests every 200 ms, so "none" is believed only if it was asked ``REPORT_DELAY`` after the withdrawal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fastroute.router.protocol.subscription import Ack, Entry
from fastroute.router.runtime.backoff import doubled

#: Seconds between announcements of a key whose last one was acked (or can't be): drawn anew each time.
HEARTBEAT = (5.0, 8.0)
#: docs/reference/wire.md: seconds until a packet that was not acked is sent again, doubled from the first
#: to the last.
MIN_RETRY, MAX_RETRY = 0.02, 1.0
#: Packets without an ack until a router that never acked counts as an original uWSGI, and one that did as lost.
MAX_TRIES, MAX_TRIES_ACKED = 6, 35
#: Seconds until a relay's counters have reached control: 0.2, more on a loaded machine.
REPORT_DELAY = 0.4
#: Seconds between questions how many requests are in flight.
DRAIN_POLL_INTERVAL = 0.25
#: When a withdrawal is sent to a router that does not ack, in seconds since it began.
LEAVE_RETRIES = (0.0, 0.1, 0.5)
#: Seconds after which a router that has not acked a withdrawal counts as one that never does.
LEAVE_ACK_TIMEOUT = 2.0


@dataclass(slots=True)
class _Key:
    """What the router knows of one key of the node."""

    #: The entry, without address.
    template: Entry
    #: When it is sent next.
    due: float = math.inf
    #: How often it was sent without an ack.
    tries: int = 0
    #: When its withdrawal was acked.
    left_at: float = math.inf
    #: Requests in flight, as the last ack said.
    in_flight: int = 0
    drained: bool = False


class Lease:
    """One node at one router.  ``entries``: one for each key, without address."""

    def __init__(self, entries: Sequence[Entry], draw: Callable[[float, float], float]) -> None:
        self._keys = [_Key(entry) for entry in entries]
        self._draw = draw
        #: Withdrawals of addresses that the node had before, and when each is sent.
        self._old_addresses: list[tuple[float, Entry]] = []
        self._leaving_since = math.inf
        self.address = ""
        self.joined = False
        #: The router has acked something.
        self.acks = False
        #: Why the router does not take the node; empty: it does, as far as is known.
        self.problem = ""
        #: The router holds every key, as it said itself.
        self.acked = False

    @property
    def original(self) -> bool:
        """The router never acked, however often a packet was sent, or no longer does: as an original uWSGI."""
        return any(key.tries >= self._max_tries for key in self._keys)

    @property
    def due(self) -> float:
        """When :meth:`packets` has something to send."""
        return min([key.due for key in self._keys] + [due for due, _ in self._old_addresses])

    def join(self, address: str, now: float) -> None:
        """The node accepts connections at ``address``."""
        if self.joined and address == self.address:
            return
        if self.joined:
            self._old_addresses = [
                (now + after, replace(key.template, address=self.address, gone=True))
                for key in self._keys
                for after in LEAVE_RETRIES
            ]
        self.address, self.joined, self._leaving_since = address, True, math.inf
        self.acked = False
        for key in self._keys:
            key.due, key.tries, key.left_at, key.in_flight, key.drained = now, 0, math.inf, 0, False

    def leave(self, now: float) -> None:
        """The node is to get no new requests."""
        if not self.joined:
            return
        self.joined, self.acked, self._leaving_since = False, False, now
        for key in self._keys:
            key.due, key.tries = now, 0

    def announce_again(self, now: float) -> None:
        """The router forgot everything: send all of it at once."""
        if self.joined:
            self.acked = False
            for key in self._keys:
                key.due, key.tries = now, 0

    def packets(self, now: float) -> list[tuple[int, Entry]]:
        """What is to be sent now: the index of the key (-1: its ack means nothing to us) and the entry."""
        packets = [(-1, entry) for due, entry in self._old_addresses if due <= now]
        self._old_addresses = [(due, entry) for due, entry in self._old_addresses if due > now]
        for index, key in enumerate(self._keys):
            if key.due <= now:
                packets.append((index, replace(key.template, address=self.address, gone=not self.joined)))
                key.due = self._retry_time(key, now)
                key.tries += 1
        return packets

    def on_ack(self, index: int, sent: float, ack: Ack, now: float) -> None:
        """Take in the ack of the packet about key ``index`` that was sent at ``sent``."""
        self.acks = True
        if index < 0:
            return
        key = self._keys[index]
        if ack.result == "again":
            key.due = now
            return
        key.tries = 0
        self.problem = (ack.reason or "it gives no reason") if ack.result == "refused" else ""
        if self.joined:
            key.due = now + self._draw(*HEARTBEAT)
            self.acked = not self.problem and not any(key.tries for key in self._keys)
        elif sent >= self._leaving_since:
            self._on_leave_ack(key, sent, ack, now)

    def withdrawn(self, now: float) -> bool:
        """The router sends the node no new requests: it acked the withdrawal, or has got it often enough."""
        if self.joined:
            return False
        silent = now - self._leaving_since >= (LEAVE_ACK_TIMEOUT if self.acks else LEAVE_RETRIES[-1])
        return self._leaving_since == math.inf or silent or all(key.left_at < math.inf for key in self._keys)

    def drained(self, now: float, grace: float) -> bool:
        """No request is in flight at the node any more; a router that can't tell was given ``grace`` seconds."""
        if self.joined:
            return False
        if self._leaving_since == math.inf or all(key.drained for key in self._keys):
            return True
        silent = all(key.left_at == math.inf for key in self._keys) and (
            not self.acks or now - self._leaving_since >= LEAVE_ACK_TIMEOUT
        )
        return silent and now - self._leaving_since >= max(grace, LEAVE_RETRIES[-1])

    def drained_at(self, grace: float) -> float:
        """When :meth:`drained` may become true without an ack."""
        return self._leaving_since + max(grace, LEAVE_ACK_TIMEOUT if self.acks else LEAVE_RETRIES[-1])

    @property
    def in_flight(self) -> int:
        """Requests in flight at the withdrawn node, as the last acks said."""
        return sum(key.in_flight for key in self._keys)

    @property
    def _max_tries(self) -> int:
        return MAX_TRIES_ACKED if self.acks else MAX_TRIES

    def _retry_time(self, key: _Key, now: float) -> float:
        if not self.joined and not self.acks:
            later = [self._leaving_since + after for after in LEAVE_RETRIES if self._leaving_since + after > now]
            return later[0] if later else math.inf
        if key.tries >= self._max_tries:
            return now + self._draw(*HEARTBEAT)
        return now + doubled(MIN_RETRY, MAX_RETRY, key.tries)

    def _on_leave_ack(self, key: _Key, sent: float, ack: Ack, now: float) -> None:
        key.left_at, key.in_flight = min(key.left_at, now), ack.in_flight
        key.drained = ack.result == "refused" or (not ack.in_flight and sent >= key.left_at + REPORT_DELAY)
        earliest = key.left_at + REPORT_DELAY if not ack.in_flight else 0.0
        key.due = math.inf if key.drained else max(now + DRAIN_POLL_INTERVAL, earliest)
