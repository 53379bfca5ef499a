"""``iphash``: the client's address decides, and few clients move when nodes change.  Pure."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from fastroute.router.relay.picker import BalancedNode, M, Picker

#: Places that one client's hash gets on the ring: the busiest node then carries about 1.1 times the mean.
PROBES: Final = 16
#: Places of one node on the ring (its weight, up to this): joining costs as many insertions.
MAX_PLACES: Final = 100
_RING: Final = 0xFFFF_FFFF


class AddressHash(Picker[M]):
    """``iphash``: consistent.  A client has :data:`PROBES` places on a ring and takes the closest node behind one.

    A node has few places (its weight, up to :data:`MAX_PLACES`), so that joining stays cheap with 10,000 of them; many
    probes make up for it.  A node that joins takes clients from all others and moves none between those.
    """

    def __init__(self) -> None:
        self._places: list[int] = []
        self._owners: list[M] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, member: M) -> None:
        """Put the node's places on the ring."""
        self._size += 1
        for place in _places(member):
            at = bisect_left(self._places, place)
            while at < len(self._places) and self._places[at] == place and self._owners[at].address < member.address:
                at += 1
            self._places.insert(at, place)
            self._owners.insert(at, member)

    def remove(self, member: M) -> None:
        """Take the node's places off the ring."""
        self._size -= 1
        for place in _places(member):
            at = bisect_left(self._places, place)
            while self._owners[at] is not member:
                at += 1
            del self._places[at]
            del self._owners[at]

    def choose(self, client: bytes) -> M | None:
        """The same node for the same client, as long as it is there."""
        places = self._places
        if not places:
            return None
        best, nearest = 0, _RING + 1
        state = zlib.crc32(client)
        for _ in range(PROBES):
            state, probe = _next(state)
            at = bisect_left(places, probe)
            if at == len(places):
                at = 0
            distance = (places[at] - probe) & _RING
            if distance < nearest:
                best, nearest = at, distance
        return self._owners[best]

    def choose_other(self, client: bytes, tried: Sequence[M]) -> M | None:
        """Where the client would go if ``tried`` had no places."""
        places, owners = self._places, self._owners
        if len(tried) >= self._size:
            return None
        best, nearest = 0, _RING + 1
        state = zlib.crc32(client)
        for _ in range(PROBES):
            state, probe = _next(state)
            at = bisect_left(places, probe) % len(places)
            while owners[at] in tried:
                at = (at + 1) % len(places)
            distance = (places[at] - probe) & _RING
            if distance < nearest:
                best, nearest = at, distance
        return owners[best]


def _next(state: int) -> tuple[int, int]:
    """A 64-bit linear congruential step (Knuth's constants): new state, and its upper 32 bits as a place."""
    state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
    return state, state >> 32


def _places(member: BalancedNode) -> list[int]:
    state = zlib.crc32(member.address.encode("latin-1", "replace")) << 32 | 0x9E37_79B9
    places = []
    for _ in range(min(member.weight, MAX_PLACES)):
        state, place = _next(state)
        places.append(place)
    return places
