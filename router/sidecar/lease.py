"""What one router address is told of one node, and when.  Pure; times are monotonic seconds.

A node is announced key by key in plain packets, which an original uWSGI understands as well.  A router that acks is
asked until it has; of one that never does we can only repeat ourselves.

* joined: every key again each heartbeat, well inside ``--tolerance`` (25 s, the original's 17 s), so that two lost
  datagrams cost nothing.
* leaving: withdrawn, and asked how many requests are still in flight until none is.  A relay reports what it has every
  200 ms, so "none" is believed only of a question that came ``SETTLE`` after the withdrawal was applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fastroute.router.subscription import Ack, Entry

#: Seconds between announcements of a key whose last one was acked (or can't be): drawn anew each time.
HEARTBEAT = (5.0, 8.0)
#: docs/reference/wire.md: what is not acked is asked again after this, doubling, up to that.
FIRST_ASK, LONGEST_ASK = 0.02, 1.0
#: Questions without an ack until a router that never acked counts as an original, and one that did as lost.
PATIENCE, PATIENCE_ACKED = 6, 35
#: A relay's counters reach control within 200 ms; on a loaded machine later.
SETTLE = 0.4
#: Seconds between questions how many requests are left.
DRAIN_ASK = 0.25
#: When a withdrawal is repeated to who does not ack, in seconds since it began.
FAREWELLS = (0.0, 0.1, 0.5)
#: A router that does not ack a withdrawal within this counts as one that never does.
SILENCE = 2.0


@dataclass(slots=True)
class _Key:
    """One key: when it is said next, and how often in vain; when its withdrawal was acked, and with how many left."""

    template: Entry
    due: float = math.inf
    tries: int = 0
    left_at: float = math.inf
    in_flight: int = 0
    drained: bool = False


class Lease:
    """One node at one router.  ``entries``: one for each key, without address."""

    def __init__(self, entries: Sequence[Entry], draw: Callable[[float, float], float]) -> None:
        self._keys = [_Key(entry) for entry in entries]
        self._draw = draw
        self._farewells: list[tuple[float, Entry]] = []
        self._leaving_since = math.inf
        self.address = ""
        self.joined = False
        self.acks = False
        self.problem = ""
        """Why the router does not take the node; empty: it does, as far as is known."""
        self.acked = False
        """The router holds every key, as it said itself."""

    @property
    def original(self) -> bool:
        """It was asked often enough and never acked, or no longer does."""
        return any(key.tries >= self._patience for key in self._keys)

    @property
    def due(self) -> float:
        """When :meth:`say` has something to say."""
        return min([key.due for key in self._keys] + [due for due, _ in self._farewells])

    def join(self, address: str, now: float) -> None:
        """The node accepts connections at ``address``."""
        if self.joined and address == self.address:
            return
        if self.joined:
            self._farewells = [
                (now + after, replace(key.template, address=self.address, gone=True))
                for key in self._keys
                for after in FAREWELLS
            ]
        self.address, self.joined, self._leaving_since = address, True, math.inf
        self.acked = False
        for key in self._keys:
            key.due, key.tries, key.left_at, key.in_flight, key.drained = now, 0, math.inf, 0, False

    def leave(self, now: float) -> None:
        """No new requests, please."""
        if not self.joined:
            return
        self.joined, self.acked, self._leaving_since = False, False, now
        for key in self._keys:
            key.due, key.tries = now, 0

    def again(self, now: float) -> None:
        """The router forgot everything: say all of it at once."""
        if self.joined:
            self.acked = False
            for key in self._keys:
                key.due, key.tries = now, 0

    def say(self, now: float) -> list[tuple[int, Entry]]:
        """What is to be sent now: index of the key (-1: nobody waits for its ack) and entry."""
        said = [(-1, entry) for due, entry in self._farewells if due <= now]
        self._farewells = [one for one in self._farewells if one[0] > now]
        for index, key in enumerate(self._keys):
            if key.due <= now:
                said.append((index, replace(key.template, address=self.address, gone=not self.joined)))
                key.due = self._next(key, now)
                key.tries += 1
        return said

    def heard(self, index: int, asked: float, ack: Ack, now: float) -> None:
        """The ack of what was said of key ``index`` at ``asked``."""
        self.acks = True
        if index < 0:
            return
        key = self._keys[index]
        if ack.result == "again":
            key.due = now
            return
        key.tries = 0
        self.problem = (ack.reason or "it says no more") if ack.result == "refused" else ""
        if self.joined:
            key.due = now + self._draw(*HEARTBEAT)
            self.acked = not self.problem and all(not one.tries for one in self._keys)
        elif asked >= self._leaving_since:
            self._left(key, asked, ack, now)

    def withdrawn(self, now: float) -> bool:
        """The router knows (or was told often enough) that the node takes no new requests."""
        if self.joined:
            return False
        silent = now - self._leaving_since >= (SILENCE if self.acks else FAREWELLS[-1])
        return self._leaving_since == math.inf or silent or all(key.left_at < math.inf for key in self._keys)

    def drained(self, now: float, grace: float) -> bool:
        """No request is in flight there any more; of a router that can't tell: ``grace`` is over."""
        if self.joined:
            return False
        if self._leaving_since == math.inf or all(key.drained for key in self._keys):
            return True
        silent = all(key.left_at == math.inf for key in self._keys) and (
            not self.acks or now - self._leaving_since >= SILENCE
        )
        return silent and now - self._leaving_since >= max(grace, FAREWELLS[-1])

    def drained_at(self, grace: float) -> float:
        """When :meth:`drained` may change its mind without an ack."""
        return self._leaving_since + max(grace, SILENCE if self.acks else FAREWELLS[-1])

    @property
    def in_flight(self) -> int:
        """Requests still on the withdrawn node, as the router told last."""
        return sum(key.in_flight for key in self._keys)

    @property
    def _patience(self) -> int:
        return PATIENCE_ACKED if self.acks else PATIENCE

    def _next(self, key: _Key, now: float) -> float:
        if not self.joined and not self.acks:
            later = [self._leaving_since + after for after in FAREWELLS if self._leaving_since + after > now]
            return later[0] if later else math.inf
        if key.tries >= self._patience:
            return now + self._draw(*HEARTBEAT)
        return float(now + min(FIRST_ASK * 2**key.tries, LONGEST_ASK))

    def _left(self, key: _Key, asked: float, ack: Ack, now: float) -> None:
        key.left_at, key.in_flight = min(key.left_at, now), ack.in_flight
        key.drained = ack.result == "refused" or (not ack.in_flight and asked >= key.left_at + SETTLE)
        key.due = math.inf if key.drained else max(now + DRAIN_ASK, key.left_at + SETTLE if not ack.in_flight else 0.0)
