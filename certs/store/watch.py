"""Notices that entries of a directory have come or gone: a look at its time of change, twice a second.  One edge."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

LOOK_INTERVAL = 0.5


class DirectoryWatch:
    """Calls ``changed``, on a thread of its own, when entries of ``directory`` have come or gone."""

    def __init__(self, directory: Path, changed: Callable[[], None]) -> None:
        self._directory, self._changed = directory, changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directory", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        before = self._time()
        while not self._stop.wait(LOOK_INTERVAL):
            now = self._time()
            if now != before:
                before = now
                self._changed()

    def _time(self) -> int:
        try:
            return os.stat(self._directory).st_mtime_ns
        except OSError:
            return 0
