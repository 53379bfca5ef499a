"""Files and directories that people edit while we run: calls back once one has changed and is quiet again.

Directories are watched, not files: an atomic replace makes a new file, and a Kubernetes ConfigMap swaps a symbolic
link two levels up, so every directory that a link on the way stands in is watched too.  What no event tells (a file
bound into a container, network file systems, a kernel out of inotify watches) is found by a look every
``POLL_INTERVAL`` seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver, ObservedWatch

#: Seconds between two looks when no event comes.
POLL_INTERVAL = 2.0
#: Seconds without an event until a change counts as complete, and the longest wait for that.
QUIET_TIME, MAX_WAIT = 0.1, 1.0
#: Links followed in one path, as the kernel does; files of a directory that are looked at.
_MAX_LINKS = 40
_MAX_FILES = 10_000
#: Events that say that content or names changed; reading a file makes events too.
_CHANGES = ("created", "modified", "moved", "deleted", "closed")

log = logging.getLogger("fastroute.controller.files.watch")

_Print = tuple[object, ...]


class Watcher(FileSystemEventHandler):
    """Calls ``changed`` with each of ``paths`` (as given) that changed, came or went, from a thread of its own.

    A path may be a file or a directory (then everything below counts).  What ``changed`` raises is logged, and the
    watch goes on.
    """

    def __init__(self, paths: Iterable[Path], changed: Callable[[Path], None], *, poll: float = POLL_INTERVAL) -> None:
        self._changed, self._poll = changed, poll
        self._prints = {path: _look(path) for path in paths}
        self._asked = False
        self._stirred = threading.Event()
        self._stopping = threading.Event()
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, ObservedWatch] = {}
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch; a change since the construction counts."""
        try:
            self._observer = Observer()
            self._observer.start()
        except OSError as error:
            self._observer = None
            log.info("no file events here (%s); looking every %g s", error, self._poll)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; returns once no call is under way."""
        self._stopping.set()
        self._stirred.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def ask(self) -> None:
        """Take every path for changed."""
        self._asked = True
        self._stirred.set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Something stirred in a watched directory; watchdog's thread."""
        if event.event_type in _CHANGES:
            self._stirred.set()

    def _run(self) -> None:
        try:
            self._follow()
            while not self._stopping.is_set():
                self._compare()
                if self._stirred.wait(self._poll):
                    self._settle()
        finally:
            if self._observer is not None:
                self._observer.stop()
                self._observer.join()

    def _settle(self) -> None:
        """Wait until nothing stirs any more: what is being written is not to be read."""
        latest = time.monotonic() + MAX_WAIT
        while self._stirred.is_set() and time.monotonic() < latest and not self._stopping.is_set():
            self._stirred.clear()
            self._stopping.wait(QUIET_TIME)

    def _compare(self) -> None:
        self._stirred.clear()
        requested, self._asked = self._asked, False
        for path, before in list(self._prints.items()):
            now = _look(path)
            if (now == before and not requested) or self._stopping.is_set():
                continue
            self._prints[path] = now
            self._follow()
            try:
                self._changed(path)
            except Exception:
                log.exception("%s has changed, and what follows from that failed", path)

    def _follow(self) -> None:
        """Watch the directories that the paths go through now."""
        if self._observer is None:
            return
        wanted: dict[Path, bool] = {}
        for path in self._prints:
            for directory, deep in directories(path).items():
                wanted[directory] = deep or wanted.get(directory, False)
        for directory in self._watches.keys() - wanted.keys():
            self._observer.unschedule(self._watches.pop(directory))
        for directory in wanted.keys() - self._watches.keys():
            try:
                self._watches[directory] = self._observer.schedule(self, str(directory), recursive=wanted[directory])
            except OSError as error:
                log.info("%s: no file events (%s); looking every %g s", directory, error, self._poll)


def directories(path: Path) -> dict[Path, bool]:
    """The directories where a change may make ``path`` mean something else; True: everything below matters."""
    watched: dict[Path, bool] = {}
    todo = list(reversed(Path(os.path.abspath(path)).parts))
    at, links = Path(todo.pop()), 0
    while todo:
        step = at / todo.pop()
        if step.is_symlink() and links < _MAX_LINKS:
            links += 1
            watched[at] = False
            target = Path(os.path.normpath(at / os.readlink(step)))
            todo.extend(reversed(target.parts))
            at = Path(todo.pop())
        else:
            at = step
    if at.is_dir():
        watched[at] = True
    elif at.parent.is_dir():
        watched.setdefault(at.parent, False)
    return watched


def _look(path: Path) -> _Print:
    """What differs when the content does; empty when there is nothing to read."""
    try:
        if not path.is_dir():
            return _stat(path)
        files = sorted(Path(top, name) for top, _, names in os.walk(path, followlinks=True) for name in names)
        return tuple((str(file), *_stat(file)) for file in files[:_MAX_FILES])
    except OSError:
        return ()


def _stat(path: Path) -> _Print:
    info = os.stat(path)
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size
