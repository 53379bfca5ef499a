"""How much of the router's time a sender without proof may have.  Pure; ``now`` is monotonic seconds.

A token bucket for each sender, in bounded memory: what is over the limit is dropped before it is decoded, which costs a
tenth of taking it, so a flood from one sender leaves the time of all others to them.  Tokens are bytes, because a
datagram of 64 KiB may name three thousand nodes: decoding takes up to 0.25 us a byte, a small packet 20 us at least.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

#: Senders remembered; the one silent for longest is forgotten first, and begins anew.
MAX_SENDERS = 4096


@dataclass(frozen=True, slots=True)
class Allowance:
    """``burst`` tokens at once, and ``rate`` a second."""

    rate: float
    burst: float


#: Tokens that a datagram costs besides its bytes.  With it a worker's announcement (some 120 bytes) costs 200.
PACKET_COST = 80
#: A host of 1,000 workers that announce themselves every 10 s, twice over, all of them starting at once.
REMOTE = Allowance(40e3, 400e3)
#: One socket on this machine: a controller that tells 40,000 nodes at once and 5,000 a second; a quarter of a core.
LOCAL = Allowance(1e6, 8e6)
#: All senders outside the allowed networks together, a packet a token, for signatures that they may have: 100 us each.
STRANGERS = Allowance(2_000.0, 4_000.0)


class RateLimits:
    """The buckets of all senders."""

    def __init__(self) -> None:
        #: Sender -> when its bucket has enough tokens again; until then its packets are dropped unread.
        self.cut: dict[Hashable, float] = {}
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def allow(self, sender: Hashable, allowance: Allowance, now: float, cost: float = 1.0) -> bool:
        """Whether ``sender`` may have a packet of ``cost`` tokens looked at; if so it is charged for it."""
        left, at = self._buckets.get(sender, (allowance.burst, now))
        left = min(allowance.burst, left + (now - at) * allowance.rate)
        allowed = left >= cost
        self._buckets[sender] = (left - cost if allowed else left, now)
        self._buckets.move_to_end(sender)
        if not allowed:
            self.cut[sender] = now + (cost - left) / allowance.rate
        if len(self._buckets) > MAX_SENDERS:
            self.cut.pop(self._buckets.popitem(last=False)[0], None)
        return allowed
