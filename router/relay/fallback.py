"""Where a request goes when no announced node takes it: a mapper or the static nodes, then the fallback.  Pure.

The order is one for all: announced nodes, then what ``fastrouter-use-pattern``, ``fastrouter-use-base`` or
``fastrouter-to`` say (one of them, in this order, as in the original), then ``--fallback``.  A pool that is configured
but has no node at the moment (a name that does not resolve) is still where the request goes: that is a 503, no 404.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from fastroute.router.relay.mapper import mapper_of
from fastroute.router.relay.pool import ANNOUNCED, FALLBACK, Pool


class FallbackPools:
    """``pools``: what control keeps current, by option; ``owns``: whether an address is this router itself."""

    def __init__(self, settings: Mapping[str, Any], pools: Mapping[str, Pool], chance: random.Random,
                 owns: Callable[[str], bool] | None = None) -> None:  # fmt: skip
        self._mapper = mapper_of(settings.get("base"), settings.get("pattern"), chance, owns)
        self._to = pools["to"] if settings.get("to") else None
        self._fallback = pools["fallback"] if settings.get("fallback") else None
        # To the original, a socket that is not there is a node that failed, and its fallback is for these.
        self._on_no_key = bool(settings.get("fallback_on_no_key", True)) or self._mapper is not None

    def find(self, asked: bytes, pool: Pool | None, now: float) -> Pool | None:
        """Where to look for a node for ``asked`` after ``pool``; after ``None``: nobody announced the key."""
        if pool is None or pool.origin == ANNOUNCED:
            mapped = self._to if self._mapper is None else self._mapper.find(asked, now)
            if mapped is not None:
                return mapped
            return self._fallback if pool is not None or self._on_no_key else None
        return self._fallback if pool.origin != FALLBACK else None

    def expire(self, now: float) -> None:
        """Forget what was made on demand and is not asked for."""
        if self._mapper is not None:
            self._mapper.expire(now)
