"""Memory that is free goes back to the system: imports, and snapshots of large tables, leave holes between what stays,
which malloc keeps.  1 to 3 MB in each of our programs at rest, up to 10 in control with large tables.  Standard library
only.
"""

from __future__ import annotations

import ctypes

#: Bytes from which on a block is a mapping of its own, and free ones at the heap's end that are kept.  glibc begins
#: with these, but raises both, to the size of a large block that was freed and to twice that: after a snapshot of 5 MB
#: it would keep 10 MB for good.
_LARGE_BLOCK = _KEPT_FREE = 128 * 1024
#: mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_little_free_memory() -> None:
    """From now on; best effort: only glibc's malloc can do it.  For a program that has imported what it needs."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        # Python runs one thread at a time: heaps for each of them are only holes.
        mallopt(_M_ARENA_MAX, 1)
    give_back_free_memory()


def give_back_free_memory() -> None:
    """Best effort: only glibc's malloc can do it.  Takes some milliseconds; other threads go on."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
