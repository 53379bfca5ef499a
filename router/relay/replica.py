"""A relay's copy of the pools, kept current by control's ops, and the search for the pool of a request.  Pure.

The common request finds its pool with one dict lookup (:meth:`Replica.find`): key as it came, no key has a path.  All
else takes the slow way, whose cost depends on the labels and path segments of the request, never on the number of keys.
A request may ask with 64 KiB, but a key has 255 bytes: only what is short enough for one is looked up or remembered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastroute.router.protocol import static_pools
from fastroute.router.protocol.key import MAX_KEY, hosts_of, path_prefixes
from fastroute.router.protocol.node_options import from_names
from fastroute.router.relay.limits import share_of
from fastroute.router.relay.node import Node
from fastroute.router.relay.pool import FALLBACK, MAPPED, Pool
from fastroute.router.relay.serving_state import NORMAL, SERVING, ServingState
from fastroute.router.relay.vars import path_of
from fastroute.router.relay.waiting import QueueSchedule

#: Path segments that belong to a key, at most, when nothing limits them.
MAX_SEGMENTS: Final = MAX_KEY
#: Remembered answers of the slow way: a scan with random hosts must not fill the memory.
MAX_REMEMBERED: Final = 1024


class OpProblem(ValueError):
    """An op that cannot be applied; it is skipped, the rest of the message counts."""


def _named(op: Sequence[Any]) -> dict[str, Any]:
    named = op[-1]
    if not isinstance(named, dict):
        raise OpProblem(f"settings by name expected as the last item, {named!r:.40} found")
    return named


def stops(op: Sequence[Any]) -> bool:
    """Whether the node of this ``node`` op gets no new requests."""
    named = op[-1]
    return isinstance(named, dict) and (bool(named.get("draining")) or named.get("weight") == 0)


class Replica:
    """All pools by key.

    ``more_hosts`` names hosts that are looked up besides those of :func:`~fastroute.router.protocol.key.hosts_of`;
    ``max_segments`` of a request's path are looked at.  ``relay``: which one this is, of how many that share each
    node's ``max``.  ``zone``: where we stand.
    """

    def __init__(self, chance: random.Random, more_hosts: Callable[[bytes], list[bytes]] | None = None,
                 max_segments: int = MAX_SEGMENTS, relay: tuple[int, int] = (0, 1),
                 zone: str = "") -> None:  # fmt: skip
        self._zone = zone
        self.pools: dict[bytes, Pool] = {}
        #: Pools of keys that are not known any more, for which requests still wait.
        self.forgotten: dict[bytes, Pool] = {}
        #: Which queues are to be looked at.
        self.queues: QueueSchedule[Pool] = QueueSchedule()
        #: The pools that have, or had, nodes whose share grows when they join.
        self.ramped: dict[Pool, None] = {}
        #: What control says of ``--fallback`` and ``fastrouter-to``, by the names of these options.
        self.static_pools = {
            "fallback": Pool(static_pools.FALLBACK, "wrr", chance, FALLBACK),
            "to": Pool(static_pools.TO, "wrr", chance, MAPPED),
        }
        #: Our router's id, as others have it in ``via``.
        self.router = b""
        #: Whether to accept: not in cheap mode, and never before the first snapshot is complete (404s would be lies).
        self.serves = False
        #: This relay only finishes what it has: it gives back what it needs no more of its shares, and takes none.
        self.leaving = False
        self._cheap = False
        self._chance = chance
        self._more_hosts = more_hosts
        self._max_segments = max_segments
        self._relay = relay
        #: Of each host that has keys with a path, how many have how many segments.
        self.depths: dict[bytes, dict[int, int]] = {}
        self._remembered: dict[bytes, Pool] = {}
        self._generation = 0
        self._started = False
        self._informed = False

    def find(self, requested: bytes, packet: bytes, end: int) -> Pool | None:
        """The pool of a request for ``requested`` with the vars ``packet[4:end]``; ``None``: the key is unknown."""
        if not self.depths:
            return self.pools.get(requested) or self._remembered.get(requested) or self._search(requested)
        return self._search_with_path(requested, path_of(packet, end))

    def apply(self, ops: Sequence[Sequence[Any]], now: float = 0.0) -> list[str]:
        """Apply the ops of one message in order; the problems of those that could not be applied."""
        problems = []
        for op in ops:
            name = op[0] if op else ""
            if name == "reset":
                self._started = True
                self._generation += 1
            if not self._started:
                continue
            try:
                self._apply(name, op, now)
            except (ValueError, TypeError, IndexError, KeyError) as error:
                problems.append(f"op {op!r:.200}: {error}")
        return problems

    def _apply(self, name: str, op: Sequence[Any], now: float) -> None:
        if name == "node":
            # By name, the last item; places before it are for relays of the version before (control/relays.py).
            named = _named(op)
            pool = self._pool(op[1])
            taken = named.get("taken", 0)
            if limit := named.get("max"):
                named["max"] = self._share_of(pool.nodes.get(op[2]), limit, taken)
            node = pool.put(op[2], from_names(named), bool(named.get("draining")), named.get("via", ""), now)
            if node.options.ramp:
                self.ramped[pool] = None
            pool.sessions.put(node, named.get("session", "").encode("latin-1"))
            if (sessions := float(named.get("sessions", 0.0))) != node.sessions:
                # Told again, it does not last longer.
                node.sessions, node.sessions_until = sessions, now + sessions
            node.seen = self._generation
            if taken >= 0:
                node.taken = taken
        elif name == "pool":
            key_options = from_names(_named(op))
            self._pool(op[1]).set_options(key_options)
        elif name == "state":
            self._set_state(op, now)
        elif name == "retry":
            announced = self.pools.get(op[1].encode("latin-1"))
            if announced is not None:
                announced.retry(op[2])
        elif name == "gone":
            left = self.pools.get(op[1].encode("latin-1"))
            if left is not None:
                left.gone(op[2], now)
        elif name == "forget":
            self._forget(op[1].encode("latin-1"), now)
        elif name == "reserve":
            self._reserve(self.static_pools[op[1]], op[2], now)
        elif name == "router":
            self.router = op[1].encode("latin-1")
        elif name == "done":
            self._done(now)
        elif name == "accept":
            self._cheap = not op[1]
            self.serves = self._informed and not self._cheap
        elif name != "reset":
            raise OpProblem("unknown")

    def _share_of(self, node: Node | None, limit: int, taken: int) -> int:
        """This relay's share of a node's ``limit``, of which so many are ``taken`` (negative: as many as before)."""
        if taken < 0:
            taken = 0 if node is None else node.taken
        share = share_of(limit, *self._relay, taken)
        if self.leaving:
            # What it gave back is others' now.
            share = min(share, node.options.max if node is not None and node.options.max else 1)
        return share

    def _pool(self, key: str) -> Pool:
        name = key.encode("latin-1")
        pool = self.pools.get(name)
        if pool is None:
            pool = self.forgotten.pop(name, None) or Pool(key, "wrr", self._chance, zone=self._zone)
            pool.forgotten = False
            self.pools[name] = pool
            self._changed(name)
        pool.seen = self._generation
        return pool

    def _set_state(self, op: Sequence[Any], now: float) -> None:
        named = _named(op)
        pool = self._pool(op[1])
        pool.state_seen = self._generation
        if named["state"] == SERVING and pool.waiting is None:
            return
        ends = now + named["seconds"] if "seconds" in named else 0.0
        state = ServingState(named["state"], named.get("message", ""), named.get("allow", ()), ends)
        self._hold(pool, NORMAL if state.name == SERVING else state, now)

    def _hold(self, pool: Pool, state: ServingState, now: float) -> None:
        pool.make_queue(self.queues).set_state(state, now, pool.options.wait or 0.0)
        pool.end_turn()

    def _forget(self, name: bytes, now: float) -> None:
        pool = self.pools.pop(name, None)
        if pool is None:
            return
        self.ramped.pop(pool, None)
        for address in list(pool.nodes):
            pool.gone(address, now)
        self._changed(name)
        self.forgotten = {key: other for key, other in self.forgotten.items() if other.waited_for}
        if pool.waited_for:
            # They have the time that they were given: the key may be back by then, or another one may serve them.
            pool.forgotten = True
            self.forgotten[name] = pool
            self.queues.wake(pool)

    def _reserve(self, pool: Pool, addresses: Sequence[str], now: float) -> None:
        for address in set(pool.nodes) - set(addresses):
            pool.gone(address, now)
        for address in addresses:
            pool.put(address)

    def _done(self, now: float) -> None:
        self._informed = True
        self.serves = not self._cheap
        for name, pool in list(self.pools.items()):
            if pool.seen != self._generation:
                self._forget(name, now)
                continue
            if pool.state_seen != self._generation and pool.waiting is not None:
                self._hold(pool, NORMAL, now)
            for address, node in list(pool.nodes.items()):
                if node.seen != self._generation:
                    pool.gone(address, now)

    def _changed(self, name: bytes) -> None:
        self._remembered.clear()
        host, slash, path = name.partition(b"/")
        if slash:
            depths = self.depths.setdefault(host, {})
            depth = path.count(b"/") + 1
            count = depths.get(depth, 0) + (1 if name in self.pools else -1)
            if count:
                depths[depth] = count
            else:
                del depths[depth]
            if not depths:
                del self.depths[host]

    def _search(self, requested: bytes) -> Pool | None:
        for name in self._candidates(requested):
            pool = self.pools.get(name)
            if pool is not None:
                if len(requested) <= MAX_KEY:
                    if len(self._remembered) >= MAX_REMEMBERED:
                        self._remembered.clear()
                    self._remembered[requested] = pool
                return pool
        return None

    def _search_with_path(self, requested: bytes, path: bytes) -> Pool | None:
        prefixes: list[bytes] | None = None
        for host in self._candidates(requested):
            depths = self.depths.get(host)
            if depths:
                if prefixes is None:
                    prefixes = path_prefixes(path, self._max_segments)
                for prefix in prefixes[-min(max(depths), self._max_segments) :]:
                    pool = self.pools.get(host + prefix)
                    if pool is not None:
                        return pool
            pool = self.pools.get(host)
            if pool is not None:
                return pool
        return None

    def _candidates(self, requested: bytes) -> list[bytes]:
        """Hosts to look up, in order: the key's spellings, then wildcards (longest first), then ``more_hosts``."""
        hosts = hosts_of(requested)
        return hosts if self._more_hosts is None else hosts + self._more_hosts(requested)
