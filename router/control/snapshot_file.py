"""The snapshot on disk (``--state-dir``).  A thread writes it, so that a slow disk holds up no ack and no start."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path

from fastroute.router.runtime.logs import get_logger
from fastroute.router.runtime.own_files import read_own, replace_own

#: Seconds after which nobody is still writing a snapshot: another router that uses the directory may be.
MAX_WRITE_TIME = 60.0

log = get_logger("fastroute.router")


class SnapshotFile:
    """One file.  Only the newest snapshot is written when the disk is slower than the changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = threading.Condition()
        self._wanted: bytes | None = None
        self._writing = self._current = False
        self._thread: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        """Have ``data`` written soon; a disk that fails is said and stops nothing."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
                self._thread.start()
            self._wanted = data
            self._changed.notify_all()

    def wait_written(self, seconds: float) -> bool:
        """Wait until all is written, at most so long; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._wanted is None and not self._writing, seconds)

    def touch(self) -> None:
        """Set the file's time to now, if the newest snapshot is in it."""
        if self._current and self.wait_written(0):
            with contextlib.suppress(OSError):
                os.utime(self.path, follow_symlinks=False)

    def read(self) -> tuple[bytes, float]:
        """The snapshot, and seconds since the last write or sign of life; ``OSError`` when there is none of ours."""
        data, written = read_own(self.path)
        return data, time.time() - written

    def reject(self, why: str) -> None:
        """It does not count: keep it under another name, and say so."""
        aside = self.path.with_suffix(".refused")
        try:
            self.path.replace(aside)
            now = f"it is now {aside}"
        except OSError as error:
            now = f"it can't be moved away ({error.strerror})"
        log.warning("snapshot %s does not count: %s; %s", self.path, why, now)

    def clear_remains(self) -> None:
        """Remove what writers left that were killed."""
        with contextlib.suppress(OSError):
            for leftover in self.path.parent.glob(f"{self.path.stem}.*.tmp"):
                if time.time() - leftover.stat().st_mtime > MAX_WRITE_TIME:
                    leftover.unlink()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None)
                data, self._wanted, self._writing = self._wanted, None, True
            assert data is not None
            self._write(data)
            # Until the next snapshot, this one would have its 5 MB (10,000 nodes) for nothing.
            del data
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        # Two controls may write at once, for a moment, when one takes over from the other: in containers of their own
        # both may have the same process id.
        temporary = self.path.with_suffix(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            replace_own(self.path, data, temporary, sync=True)
            self._current = True
        except OSError as error:
            self._current = False
            with contextlib.suppress(OSError):
                temporary.unlink()
            log.error("snapshot %s could not be written: %s", self.path, error)
