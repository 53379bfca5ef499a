"""What our own engine, a manager, told of its swarm: for other controllers, and for routers.  Used by any thread."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass

from fastroute.controller.decide.messages import SwarmTold, SwarmUntold
from fastroute.controller.decide.swarm import SwarmView


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """A view with its JSON (``body``), and a ``digest`` that no other view has."""

    view: SwarmView
    body: bytes
    digest: str


class SwarmBoard:
    """The view of a manager; ``changed`` is called, on the deciding thread, when there is another one, or none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entry: BoardEntry | None = None
        self._watchers: list[Callable[[BoardEntry | None], None]] = []

    @property
    def entry(self) -> BoardEntry | None:
        """What was told last; None: the engine is no manager, or does not answer."""
        return self._entry

    def watch(self, watcher: Callable[[BoardEntry | None], None]) -> None:
        """``watcher`` is called at every change."""
        self._watchers.append(watcher)

    def heard(self, message: SwarmTold | SwarmUntold) -> None:
        """The engine told its view of the swarm, or that it has none."""
        entry = entry_of(message.view) if isinstance(message, SwarmTold) else None
        with self._changed:
            has_changed = (entry and entry.digest) != (self._entry and self._entry.digest)
            self._entry = entry
            self._changed.notify_all()
        if has_changed:
            for watcher in self._watchers:
                watcher(entry)

    def wait(self, seconds: float) -> BoardEntry | None:
        """The entry, once something is heard, or after ``seconds``."""
        with self._changed:
            self._changed.wait(seconds)
            return self._entry


def entry_of(view: SwarmView) -> BoardEntry:
    """The entry for ``view``."""
    body = json.dumps(view.to_json(), separators=(",", ":")).encode()
    return BoardEntry(view, body, hashlib.blake2b(body, digest_size=16).hexdigest())
