"""uWSGI's ``fastrouter-use-base`` and ``fastrouter-use-pattern``: an address made from the key that is asked for.

The key is what a client sends, so these rules keep a request in the place that the configuration names:

* A key that is empty, ``.`` or ``..``, or has a slash or a NUL, maps to nothing; all other bytes are just bytes of a
  file name.
* A path counts only when a socket is there: a scan with random hosts makes no pools, and its requests get a 404.
* At most ``MAX_POOLS`` pools, the one used longest ago goes first; what is idle for ``IDLE`` seconds is forgotten.

The key is tried in each of its spellings (``key.spellings``), exactly as it came first, as the original would.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Sequence
from typing import Final

from fastroute.router.key import spellings
from fastroute.router.relay.pool import MAPPED, Pool

MAX_POOLS: Final = 1024
IDLE: Final = 60.0
#: sun_path has 108 bytes, one of them for the closing zero (unix(7)).
MAX_PATH: Final = 107


class Mapper:
    """``parts``: the address around the key, which stands between any two of them."""

    def __init__(self, parts: Sequence[str], chance: random.Random) -> None:
        self._parts = [os.fsencode(part) for part in parts]
        self._checked = self._parts[0][:1] in (b"/", b".")
        self._chance = chance
        self._pools: dict[bytes, tuple[Pool, float]] = {}

    def find(self, asked: bytes, now: float) -> Pool | None:
        """The pool of the one node that ``asked`` maps to; ``None`` when it maps to nothing."""
        found = self._pools.pop(asked, None)
        pool = found[0] if found else self._open(asked)
        if pool is not None:
            self._pools[asked] = pool, now
            if len(self._pools) > MAX_POOLS:
                del self._pools[next(iter(self._pools))]
        return pool

    def expire(self, now: float) -> None:
        """Forget what nobody asked for lately."""
        while self._pools:
            asked, (_, used) = next(iter(self._pools.items()))
            if now - used < IDLE:
                return
            del self._pools[asked]

    def _open(self, asked: bytes) -> Pool | None:
        for key in spellings(asked):
            if key in (b"", b".", b"..") or b"/" in key or b"\0" in key:
                continue
            address = key.join(self._parts)
            if self._checked and not _is_socket(address):
                continue
            pool = Pool(key.decode("latin-1"), "wrr", self._chance, MAPPED)
            try:
                pool.put(address.decode("latin-1"))
            except ValueError:
                continue
            return pool
        return None


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


def mapper_of(base: str | None, pattern: str | None, chance: random.Random) -> Mapper | None:
    """The mapper that is configured; the original looks at the pattern first."""
    if pattern is not None:
        return Mapper(pattern.split("%s"), chance)
    return Mapper([base, ""], chance) if base is not None else None
