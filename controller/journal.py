"""What happened and what was decided: the last entries, for ``events``, ``describe`` and the log.

Written by any thread, read by any.  Bounded; whoever follows is called for each entry, in the writer's thread, and
must not block.  One entry is one line of log; the kinds of ``_QUIET`` only at level debug.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

_KEPT = 2000
_QUIET = ("event", "probe", "packet", "ack")
_log = logging.getLogger("fastroute.controller")


@dataclass(frozen=True, slots=True)
class Note:
    """One entry.  ``number`` counts up; ``container`` is a name, ``id`` its id, ``key`` where one is concerned."""

    number: int
    time: str
    kind: str
    text: str
    container: str = ""
    id: str = ""
    key: str = ""


def timestamp() -> str:
    """Now, as people and scripts read it: UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """The last 2,000 notes of one controller."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque(maxlen=_KEPT)
        self._followers: set[Callable[[Note], None]] = set()
        self._lock = threading.Lock()
        self._number = 0

    def note(self, kind: str, text: str, container: str = "", id: str = "", key: str = "") -> Note:
        """Remember, log and pass on."""
        with self._lock:
            self._number += 1
            note = Note(self._number, timestamp(), kind, text, container, id, key)
            self._notes.append(note)
            followers = tuple(self._followers)
        level = logging.DEBUG if kind in _QUIET else logging.WARNING if kind == "warning" else logging.INFO
        _log.log(level, "%s%s", f"{container}: " if container else "", text)
        for follower in followers:
            follower(note)
        return note

    def last(self) -> tuple[Note, ...]:
        """All that is remembered, oldest first."""
        with self._lock:
            return tuple(self._notes)

    def follow(self, follower: Callable[[Note], None]) -> Callable[[], None]:
        """Call ``follower`` for every note from now on; returns what ends it."""
        with self._lock:
            self._followers.add(follower)

        def stop() -> None:
            with self._lock:
                self._followers.discard(follower)

        return stop
