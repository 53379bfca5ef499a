"""How much of the router's time a sender without proof may have.  Pure; ``now`` is monotonic seconds.

A token bucket for each sender, in bounded memory: what is over the limit is dropped before it is decoded, which costs a
tenth of taking it (2 us against 30), so a flood from one sender leaves the time of all others to them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

#: Senders remembered; the one silent for longest is forgotten first, and begins anew.
MAX_SENDERS = 4096


@dataclass(frozen=True, slots=True)
class Allowance:
    """``burst`` packets at once, and ``rate`` a second."""

    rate: float
    burst: float


#: A host of 1,000 workers that announce themselves every 10 s, twice over, all of them starting at once.
REMOTE = Allowance(200.0, 2_000.0)
#: One socket on this machine: an announcer of 10,000 nodes, a packet each, every 5 s, twice over.
LOCAL = Allowance(4_000.0, 20_000.0)
#: All senders that are not in the allowed networks, for signatures that they may have: 100 us each, a fifth of a core.
STRANGERS = Allowance(2_000.0, 4_000.0)


class Limits:
    """The buckets of all senders."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def allow(self, sender: Hashable, allowance: Allowance, now: float) -> bool:
        """Whether ``sender`` may have one more packet looked at; if so it is charged for it."""
        left, at = self._buckets.get(sender, (allowance.burst, now))
        left = min(allowance.burst, left + (now - at) * allowance.rate)
        allowed = left >= 1
        self._buckets[sender] = (left - 1 if allowed else left, now)
        self._buckets.move_to_end(sender)
        if len(self._buckets) > MAX_SENDERS:
            self._buckets.popitem(last=False)
        return allowed
