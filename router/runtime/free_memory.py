"""Memory that is free goes back to the system: imports, and snapshots of large tables, leave holes between what stays,
which malloc keeps.  1 to 3 MB in each of our programs at rest.  Standard library only.
"""

from __future__ import annotations

import ctypes


def give_back_free_memory() -> None:
    """Best effort: only glibc's malloc can do it.  Takes some milliseconds; other threads go on."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
