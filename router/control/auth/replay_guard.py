"""Rejects proven packets that were recorded: sessions, and the nonces used in them.  Pure; ``now`` is monotonic
seconds.

The secret says who, not when; this file says when, without any clock of the announcer's
(docs/reference/wire.md, "Proof"):

* a packet counts only if it names the present *session* or the one before: what was recorded for another router, for an
  earlier start of this one or more than two minutes ago does not;
* within a session each nonce counts once.  An announcer whose packets have an order of their own (instance, seq) may be
  overtaken by up to ``REPLAY_WINDOW`` packets; of all others only a packet that is newer than the last one counts, so
  that a join held back on its way revives nothing.

Memory: what one announcer costs is bounded, and it is forgotten with its last session.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from fastroute.router.protocol.subscription import PacketError

#: Seconds that a session is the present one; it is taken as long again.
SESSION_LENGTH = 60.0
#: More than are ever under way (router_link.UDP_WINDOW and delivery.EXTRA).
REPLAY_WINDOW = 256
#: Announcers within two sessions.  Beyond it everybody is asked again rather than anybody forgotten.
MAX_ANNOUNCERS = 100_000

_NONCE = re.compile(r"([0-9a-f]{16})([0-9a-f]{16})")

Freshness = Literal["fresh", "again", "replay"]


@dataclass(slots=True)
class _Seen:
    """The sliding replay window of one announcer."""

    #: The session in which it was seen last.
    generation: int
    #: Counters up to this one are rejected.
    floor: int = 0
    newest: int = 0
    #: The counters above the floor that were used already.
    recent: set[int] = field(default_factory=set)

    def take(self, count: int, *, ordered: bool) -> bool:
        """Whether ``count`` counts; it never does again."""
        if count <= self.floor or count in self.recent or (not ordered and count <= self.newest):
            return False
        self.newest = max(self.newest, count)
        self.recent.add(count)
        if self.newest - self.floor > 2 * REPLAY_WINDOW:
            self.floor = self.newest - REPLAY_WINDOW
            self.recent = {counter for counter in self.recent if counter > self.floor}
        return True


class ReplayGuard:
    """The router's half of the proof.  ``name`` makes the names of sessions."""

    def __init__(self, now: float, name: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self._name = name
        self._generation = 0
        self._present, self._before = name(), ""
        self._since = now
        self._seen: dict[str, _Seen] = {}

    def session(self, now: float) -> str:
        """The present session's name."""
        age = now - self._since
        if age >= 2 * SESSION_LENGTH or len(self._seen) > MAX_ANNOUNCERS:
            self._begin(now, before="")
            self._seen.clear()
        elif age >= SESSION_LENGTH:
            self._begin(now, before=self._present)
            oldest = self._generation - 1
            self._seen = {prefix: seen for prefix, seen in self._seen.items() if seen.generation >= oldest}
        return self._present

    def check(self, session: str, nonce: str, *, ordered: bool, now: float) -> Freshness:
        """What a packet with a right hmac is worth; ``PacketError`` when its nonce is malformed."""
        match = _NONCE.fullmatch(nonce)
        if match is None:
            raise PacketError("malformed", f"nonce {nonce!r}: {32} hex digits expected")
        if session != self.session(now) and (not self._before or session != self._before):
            return "again"
        seen = self._seen.setdefault(match[1], _Seen(self._generation))
        seen.generation = self._generation
        return "fresh" if seen.take(int(match[2], 16), ordered=ordered) else "replay"

    def _begin(self, now: float, before: str) -> None:
        self._generation += 1
        self._present, self._before, self._since = self._name(), before, now
