"""Where a request goes when no announced node takes it: a mapper or the static nodes, then the fallback.  Pure.

The order is one for all: announced nodes, then those that a mapper makes of the key (compat/mapper.py) or, without
one, those of ``fastrouter-to``, then ``--fallback``.  A pool that is configured but has no node at the moment (a name
that does not resolve) is still where the request goes: the answer is 503, not 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fastroute.router.relay.pool import ANNOUNCED, FALLBACK, Pool


class PoolMapper(Protocol):
    """Makes pools of keys that nobody announced."""

    def find(self, requested: bytes, now: float) -> Pool | None:
        """The pool of the key ``requested``; ``None`` when it has none."""

    def expire(self, now: float) -> None:
        """Forget what nobody asked for lately."""


class FallbackPools:
    """``pools``: what control keeps current, by option."""

    def __init__(self, settings: Mapping[str, Any], pools: Mapping[str, Pool], mapper: PoolMapper | None) -> None:
        self._mapper = mapper
        self._to = pools["to"] if settings.get("to") else None
        self._fallback = pools["fallback"] if settings.get("fallback") else None
        # To the original, a socket that is not there is a node that failed, and its fallback is for these.
        self._on_no_key = bool(settings.get("fallback_on_no_key", True)) or mapper is not None

    @property
    def configured(self) -> bool:
        """True when there is any place to go behind announced nodes."""
        return self._mapper is not None or self._to is not None or self._fallback is not None

    def find(self, requested: bytes, pool: Pool | None, now: float) -> Pool | None:
        """Where to look for a node for ``requested`` after ``pool``; after ``None``: nobody announced the key."""
        if pool is None or pool.origin == ANNOUNCED:
            mapped = self._to if self._mapper is None else self._mapper.find(requested, now)
            if mapped is not None:
                return mapped
            return self._fallback if pool is not None or self._on_no_key else None
        return self._fallback if pool.origin != FALLBACK else None

    def expire(self, now: float) -> None:
        """Forget what was made on demand and is not asked for."""
        if self._mapper is not None:
            self._mapper.expire(now)
