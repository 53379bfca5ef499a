"""uWSGI's ``fastrouter-use-base`` and ``fastrouter-use-pattern``: an address made from the requested key.

The key is what a client sends, so these rules keep a request in the place that the configuration names:

* A key that is empty, ``.`` or ``..``, has a slash or a NUL, or is too long for a key, maps to nothing; all other bytes
  are just bytes of a file name.
* A path counts only when a socket is there: a scan with random hosts makes no pools, and its requests get a 404.
* What is a socket of this router itself maps to nothing (own_sockets.py).
* At most ``MAX_REQUESTED`` keys are remembered, each for ``MAX_UNUSED_TIME`` seconds after its last request; the one
  that was requested longest ago goes first.  Then it is looked for again.  Spellings of one key share its pool, of
  which there are ``MAX_MAPPED`` at most.

The key is tried in each of its spellings (``key.spellings``), exactly as it came first, as the original would.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Sequence
from typing import Final

from fastroute.router.protocol import static_pools
from fastroute.router.protocol.key import MAX_KEY, spellings
from fastroute.router.protocol.static_pools import MAX_MAPPED
from fastroute.router.relay.pool import MAPPED, Pool

MAX_REQUESTED: Final = 1024
MAX_UNUSED_TIME: Final = 60.0
#: sun_path has 108 bytes, one of them for the closing zero (unix(7)).
MAX_PATH: Final = 107


class Mapper:
    """``parts``: the address around the key, which stands between any two of them.  ``owns``: whether an address is
    one of this router's own sockets."""

    def __init__(self, parts: Sequence[str], chance: random.Random, owns: Callable[[str], bool] | None = None) -> None:
        self._parts = [os.fsencode(part) for part in parts]
        self._checked = self._parts[0][:1] in (b"/", b".")
        self._chance = chance
        self._owns = owns
        #: By what was requested: the key that it means, and when it was requested last.
        self._requested: dict[bytes, tuple[bytes, float]] = {}
        self._pools: dict[bytes, Pool] = {}

    def find(self, requested: bytes, now: float) -> Pool | None:
        """The pool of the one node that ``requested`` maps to; ``None`` when it maps to nothing."""
        known = self._requested.pop(requested, None)
        mapped = self._pool(known[0]) if known else self._search(requested)
        if mapped is None:
            return None
        key, pool = mapped
        if len(requested) > MAX_KEY:
            return pool
        self._requested[requested] = key, now
        if len(self._requested) > MAX_REQUESTED:
            del self._requested[next(iter(self._requested))]
        return pool

    def expire(self, now: float) -> None:
        """Forget what nobody requested lately."""
        while self._requested:
            requested, (_, used) = next(iter(self._requested.items()))
            if now - used < MAX_UNUSED_TIME:
                return
            del self._requested[requested]

    def _search(self, requested: bytes) -> tuple[bytes, Pool] | None:
        for key in spellings(requested):
            if not 0 < len(key) <= MAX_KEY or key in (b".", b"..") or b"/" in key or b"\0" in key:
                continue
            if self._checked and not _is_socket(key.join(self._parts)):
                continue
            if self._owns is not None and self._owns(key.join(self._parts).decode("latin-1")):
                continue
            mapped = self._pool(key)
            if mapped is not None:
                return mapped
        return None

    def _pool(self, key: bytes) -> tuple[bytes, Pool] | None:
        """The pool of ``key``, made if need be; ``None`` when its address is none."""
        pool = self._pools.pop(key, None)
        if pool is None:
            name = key.decode("latin-1")
            pool = Pool(name, "wrr", self._chance, MAPPED, static_pools.MAPPED + name)
            try:
                pool.put(key.join(self._parts).decode("latin-1"))
            except ValueError:
                return None
        self._pools[key] = pool
        if len(self._pools) > MAX_MAPPED:
            del self._pools[next(iter(self._pools))]
        return key, pool


def _is_socket(path: bytes) -> bool:
    """False for what is surely none; where the system does not tell, connecting will say why."""
    if len(path) > MAX_PATH:
        return False
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def mapper_of(base: str | None, pattern: str | None, chance: random.Random,
              owns: Callable[[str], bool] | None = None) -> Mapper | None:  # fmt: skip
    """The mapper that is configured; the original looks at the pattern first."""
    if pattern is not None:
        return Mapper(pattern.split("%s"), chance, owns)
    return Mapper([base, ""], chance, owns) if base is not None else None
