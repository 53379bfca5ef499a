"""Importing a library without those of its modules, or of its own imports, that a program that runs for months never
uses: a command line, a guess of character sets, files that configure logs.  Standard library only.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def replaced(name: str, stand_in: ModuleType | None) -> Iterator[None]:
    """While it lasts, importing ``name`` gives ``stand_in``; None: an ImportError, as if it were not installed.

    Whoever imports it later gets the real one.  Nothing is replaced where it is imported already.
    """
    if name in sys.modules:
        yield
        return
    # What stands in sys.modules is not looked for; the type of None is not told there.
    sys.modules[name] = stand_in  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
