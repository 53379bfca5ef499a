"""uWSGI's ``fastrouter-use-base`` and ``fastrouter-use-pattern``: an address made from the key that is asked for.

The key is what a client sends, so these rules keep a request in the place that the configuration names:

* A key that is empty, ``.`` or ``..``, has a slash or a NUL, or is too long for a key, maps to nothing; all other bytes
  are just bytes of a file name.
* A path counts only when a socket is there: a scan with random hosts makes no pools, and its requests get a 404.
* What is a socket of this router itself maps to nothing (own_sockets.py).
* At most ``MAX_ASKED`` keys are remembered, the one asked for longest ago goes first, and ``IDLE`` seconds at most;
  then it is looked for again.  Spellings of one key share its pool, of which there are ``MAX_MAPPED`` at most.

The key is tried in each of its spellings (``key.spellings``), exactly as it came first, as the original would.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Sequence
from typing import Final

from fastroute.router import unannounced
from fastroute.router.key import MAX_KEY, spellings
from fastroute.router.relay.pool import MAPPED, Pool
from fastroute.router.unannounced import MAX_MAPPED

MAX_ASKED: Final = 1024
IDLE: Final = 60.0
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
        #: What was asked for: the key that it means, and when it was last asked for.
        self._asked: dict[bytes, tuple[bytes, float]] = {}
        self._pools: dict[bytes, Pool] = {}

    def find(self, asked: bytes, now: float) -> Pool | None:
        """The pool of the one node that ``asked`` maps to; ``None`` when it maps to nothing."""
        known = self._asked.pop(asked, None)
        found = self._pool(known[0]) if known else self._search(asked)
        if found is None:
            return None
        key, pool = found
        if len(asked) > MAX_KEY:
            return pool
        self._asked[asked] = key, now
        if len(self._asked) > MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        return pool

    def expire(self, now: float) -> None:
        """Forget what nobody asked for lately."""
        while self._asked:
            asked, (_, used) = next(iter(self._asked.items()))
            if now - used < IDLE:
                return
            del self._asked[asked]

    def _search(self, asked: bytes) -> tuple[bytes, Pool] | None:
        for key in spellings(asked):
            if not 0 < len(key) <= MAX_KEY or key in (b".", b"..") or b"/" in key or b"\0" in key:
                continue
            if self._checked and not _is_socket(key.join(self._parts)):
                continue
            if self._owns is not None and self._owns(key.join(self._parts).decode("latin-1")):
                continue
            found = self._pool(key)
            if found is not None:
                return found
        return None

    def _pool(self, key: bytes) -> tuple[bytes, Pool] | None:
        """The pool of ``key``, made if need be; ``None`` when its address is none."""
        pool = self._pools.pop(key, None)
        if pool is None:
            name = key.decode("latin-1")
            pool = Pool(name, "wrr", self._chance, MAPPED, unannounced.MAPPED + name)
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
