"""When the table is saved, and how: a small one at once, a large one on a thread, a millisecond of work at a time, so
that it does not hold up what else control does.

A kill -9 meanwhile costs nothing: until a snapshot is whole the one before counts, with every packet since.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from fastroute.router.control.state import TOUCH_INTERVAL, StateStore
from fastroute.router.control.table_dump import TableDump
from fastroute.router.runtime.free_memory import give_back_free_memory

#: docs/reference/router.md, --state-dir: written within 1 s of a change.
SNAPSHOT_DELAY = 0.5
#: Claims from which on a table is large: each takes some 10 us.
LARGE_TABLE = 500
#: Seconds to sleep after each part of a large one, so that the thread that decides gets the interpreter.
PART_PAUSE = 0.001
#: Seconds from the end of a large one until what it took is given back to the system.
TRIM_DELAY = 0.1
#: The pause after the snapshot of a large table is this many times as long as that took.  Only without --state-dir: no
#: disk waits for the next one then, and kill -9 loses nothing.
PAUSE_FACTOR = 5


class BackgroundSave:
    """One snapshot on its way into ``store``; needs a running loop, in which ``done`` is called at the end."""

    def __init__(self, store: StateStore, table_dump: TableDump, done: Callable[[], None]) -> None:
        self._store, self._dump, self._done = store, table_dump, done
        self._generation = store.begin()
        self._cancelled = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="save", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Write nothing more; what was there before counts."""
        self._cancelled = True
        self._thread.join()

    def _run(self) -> None:
        parts = []
        for part in self._dump.parts():
            parts.append(part)
            if self._cancelled:
                return
            time.sleep(PART_PAUSE)
        data = b"".join(parts)
        del parts
        frame = self._store.stage(self._generation, data)
        self._loop.call_soon_threadsafe(self._commit, frame, data)

    def _commit(self, frame: bytes, data: bytes) -> None:
        if not self._cancelled:
            self._store.commit(self._generation, frame, data)
            self._done()
            # The snapshot's parts are free by then.
            self._loop.call_later(TRIM_DELAY, self._loop.run_in_executor, None, give_back_free_memory)


class TableSaver:
    """Saves a table into ``store`` soon after it has changed.

    ``make_dump`` gets the time (monotonic).  ``on_disk``: the store is on a disk, too (``--state-dir``).
    """

    def __init__(self, store: StateStore, make_dump: Callable[[float], TableDump], *, on_disk: bool) -> None:
        self._store, self._make_dump, self._on_disk = store, make_dump, on_disk
        self._unsaved_since: float | None = None
        self._saved_at = self._began = self._pause_until = 0.0
        #: A snapshot that is being made.
        self._under_way: BackgroundSave | None = None

    def changed(self, now: float) -> None:
        """The table is not what was saved."""
        if self._unsaved_since is None:
            self._unsaved_since = now

    def save(self, now: float) -> None:
        """Write the snapshot now."""
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None
        self._unsaved_since, self._saved_at = None, now
        self._store.write(b"".join(self._make_dump(now).parts()))

    def tick(self, now: float) -> None:
        """Time passes: save what has changed, or say that we live."""
        if self._unsaved_since is not None:
            if now - self._unsaved_since >= SNAPSHOT_DELAY and now >= self._pause_until and self._under_way is None:
                self._save_soon(now)
        elif now - self._saved_at >= TOUCH_INTERVAL:
            self._saved_at = now
            self._store.touch()

    def _save_soon(self, now: float) -> None:
        table_dump = self._make_dump(now)
        if table_dump.size < LARGE_TABLE:
            self.save(now)
            return
        self._unsaved_since, self._saved_at, self._began = None, now, now
        self._under_way = BackgroundSave(self._store, table_dump, self._saved)

    def _saved(self) -> None:
        self._under_way = None
        if not self._on_disk:
            now = asyncio.get_running_loop().time()
            self._pause_until = now + PAUSE_FACTOR * (now - self._began)
