"""How the pools that nobody announced are called where a relay reports their numbers.  Pure.

``(fallback)`` and ``(to)`` are whole pools of the configuration, ``(mapped)KEY`` is what ``fastrouter-use-base`` or
``-pattern`` makes of ``KEY``: beside an announced pool of the same key, and with numbers of its own.
"""

from __future__ import annotations

from typing import Final

FALLBACK: Final = "(fallback)"
TO: Final = "(to)"
MAPPED: Final = "(mapped)"
#: What all of them begin with: no key does.
MARK: Final = "("
#: Keys that are mapped, at most: a relay keeps a pool of that many, and control their numbers.
MAX_MAPPED: Final = 1024
