"""Pauses and maintenance that operators ask of the controller: told to the routers, kept in a file, ended in time.

An edge with a thread of its own, which sleeps until something is asked for or a time is over.  To routers all of it is
one source beside those of the engines: an engine that can't be reached holds up no pause.  What is held, and until
when, is decided by the pure :mod:`.decide.key_states`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from fastroute.controller.decide.key_states import HeldKey, HeldKeys
from fastroute.controller.desired import Route, RouteDiff, RouteKey, Sink
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.state_file import StateFile
from fastroute.router.protocol.key_state import PAUSED, AnnouncedState

#: Seconds between two looks whether the controller's name for the routers is known by now.
NAME_POLL_INTERVAL = 0.2


class KeySink(Sink, Protocol):
    """A sink that knows how far its routers are."""

    def routers(self) -> dict[str, str]:
        """Of each router, why it may not have what was applied last; empty: it has."""
        ...


class KeyHolder:
    """Holds keys.  ``named`` tells whether the routers' name for this source is known; until then nothing is told.

    All methods may be called from any thread.
    """

    def __init__(self, sink: KeySink, file: StateFile, events: ControllerEvents, named: Callable[[], bool]) -> None:
        self._sink, self._file, self._events, self._named = sink, file, events, named
        self._keys = HeldKeys()
        self._changed = threading.Condition()
        self._told: dict[RouteKey, Route] = {}
        self._untold = self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Hold what was held before the controller was restarted."""
        with self._changed:
            for problem in self._keys.restore(self._file.load(), time.monotonic(), time.time()):
                self._events.write("warning", f"a pause or maintenance that was kept is not used: {problem}")
            if list(self._keys):
                self._tell()

    def hold(self, key: str, state: AnnouncedState) -> HeldKey:
        """Hold ``key``, known or not, in ``state``."""
        with self._changed:
            held = self._keys.hold(key, state, time.monotonic())
            self._write(held.key, f"{'paused' if state.name == PAUSED else 'in maintenance'} {state.text}")
            self._keep()
        return held

    def release(self, key: str) -> bool:
        """Serve ``key`` again; False when it was not held.

        Routers are told in either case, and a controller that has told them nothing yet can't say False: they may know
        a state that was asked for before it was started."""
        with self._changed:
            released = self._keys.release(key)
            first = self._thread is None
            if released:
                self._write(key, "resumed by an operator")
            self._keep()
        return released or first

    def get(self, key: str) -> HeldKey | None:
        """What ``key`` is held in; None: it serves."""
        with self._changed:
            return self._keys.get(key)

    def held(self) -> list[HeldKey]:
        """All keys that are held."""
        with self._changed:
            return list(self._keys)

    def routers(self) -> dict[str, str]:
        """Of each router, why it may not have what was asked for last; empty: it has."""
        with self._changed:
            if self._untold:
                why = "not told yet" if self._named() else "Docker was not reached yet, so this controller has no name"
                return {"(all)": why}
        return self._sink.routers()

    def close(self) -> None:
        """Tell no more.  Routers keep what they were told, and end it in time."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(5)

    def _keep(self) -> None:
        self._file.save(self._keys.as_json(time.monotonic(), time.time()))
        self._tell()

    def _tell(self) -> None:
        self._untold = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="key-holder", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _write(self, key: str, text: str) -> None:
        self._events.write("operator", f"{key} {text}", key=key)

    def _run(self) -> None:
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                for key in self._keys.over(now):
                    self._keys.release(key)
                    self._write(key, "serves again: its time is over")
                    self._keep()
                if self._untold and self._named():
                    routes = self._keys.routes
                    self._sink.apply(routes, RouteDiff.between(self._told, routes))
                    self._told, self._untold = routes, False
                due = None if (until := self._keys.due) is None else max(0.0, until - now)
                self._changed.wait(NAME_POLL_INTERVAL if self._untold else due)
