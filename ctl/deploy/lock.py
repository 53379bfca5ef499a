"""One rollout of a service at a time, and what it wrote down for a run that goes on with it.  An edge.

The lock is held by this program and by the ``docker compose`` that it has started: when a run is killed, its docker
compose still holds the lock, and the next run waits for its end.  A run that meets another one that lives is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastroute.ctl.deploy.observed import Journal
from fastroute.ctl.errors import CtlError

#: Seconds that the docker compose of a killed run is waited for, and between two tries.
ORPHAN_TIMEOUT, RETRY_INTERVAL = 120.0, 0.2


class RolloutFiles:
    """The lock and the journal of one service; use :meth:`locked` first."""

    def __init__(self, project: str, service: str) -> None:
        engine = os.environ.get("DOCKER_HOST", "") + os.environ.get("DOCKER_CONTEXT", "")
        digest = hashlib.blake2b(f"{engine}|{project}|{service}".encode(), digest_size=6).hexdigest()
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "fastroute/rollouts"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._name = f"{project}/{service}"
        self._lock = folder / f"{project}.{service}.{digest}.lock"
        self._journal = self._lock.with_suffix(".json")

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock; returns its descriptor.  ``CtlError``: a rollout of this service is under way."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._acquire(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> None:
        end = time.monotonic() + ORPHAN_TIMEOUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                pid = os.pread(descriptor, 20, 0).decode(errors="replace")
                if _lives(pid):
                    raise CtlError(
                        f"a rollout of {self._name} is under way (process {pid}): nothing was changed"
                    ) from None
                if time.monotonic() >= end:
                    raise CtlError(
                        f"a rollout of {self._name} was killed, and the docker compose that it started still runs after"
                        f" {ORPHAN_TIMEOUT:g} s: nothing was changed; run it again when that has ended"
                    ) from None
            time.sleep(RETRY_INTERVAL)

    def read(self) -> Journal | None:
        """What a run that did not end wrote down."""
        try:
            written = json.loads(self._journal.read_text())
            return Journal(tuple(map(str, written["old"])), tuple(map(str, written["serving"])))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, journal: Journal) -> None:
        """Write it down, as a whole or not at all."""
        text = json.dumps({"old": journal.old, "serving": journal.serving})
        new = self._journal.with_suffix(".new")
        with open(new, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._journal)

    def forget(self) -> None:
        """The run has ended."""
        self._journal.unlink(missing_ok=True)


def _lives(pid: str) -> bool:
    """Whether the process ``pid`` runs; also true where the lock's owner has not written its number yet."""
    if not pid.isdecimal():
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
