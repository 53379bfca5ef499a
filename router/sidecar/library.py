"""Announcing from inside an application: the engine of ``fastroute-ctl announce`` on a thread of its own.

Rules: the thread is a daemon and holds nothing that the interpreter waits for; a forked child has no such thread, so
nothing here has any effect there; a signal handler only starts the end, it never waits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from fastroute.router.config.configuration import ConfigurationError, Text, convert
from fastroute.router.sidecar.announcer import AnnouncedNode, WorkerAnnouncer
from fastroute.router.sidecar.options import OPTIONS, AnnounceSettings
from fastroute.router.sidecar.watched_worker import WatchedWorker

#: Seconds between looks whether the worker is drained.
_DRAIN_POLL_INTERVAL = 0.05
_MAX_SLEEP = 30.0


def settings_of(arguments: Mapping[str, object]) -> AnnounceSettings:
    """The settings that ``arguments`` (by option name) write; ``ValueError`` when one is wrong."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = arguments.get(option.name)
        if value is None:
            continue
        texts = [str(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        try:
            values[option.field] = convert(option, [Text(_plain(text), option.field) for text in texts]).value
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
    settings = AnnounceSettings(**values)
    if not settings.key or not settings.router:
        raise ValueError("at least one key and one router expected")
    if settings.address is None or (not settings.address.port and not settings.address.path):
        raise ValueError("address: the port that this process listens on expected")
    settings.credentials()
    return settings


def _plain(value: object) -> str:
    return f"{value:f}" if isinstance(value, float) else str(value)


class BackgroundAnnouncement:
    """One worker, announced from :meth:`start` to :meth:`close`."""

    def __init__(self, settings: AnnounceSettings, *, before_sigterm: bool = False) -> None:
        self._settings, self._before_sigterm = settings, before_sigterm
        self._announcer: WorkerAnnouncer | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._acked = threading.Event()
        #: The process that called :meth:`start`.
        self._pid = 0
        #: SIGTERM came, and is handed to the earlier handler once the worker is withdrawn.
        self._sigterm_pending = False
        self._earlier_handler: Any = None

    @property
    def announced(self) -> bool:
        """A router has acked this worker, and it was not withdrawn since."""
        return self._acked.is_set() and not self._ending.is_set()

    def start(self) -> BackgroundAnnouncement:
        """Start the thread; returns itself.  The worker is announced once its port accepts connections."""
        if self._pid == os.getpid():
            return self
        self._pid = os.getpid()
        self._ending, self._acked = threading.Event(), threading.Event()
        self._announcer = WorkerAnnouncer(self._settings.router, self._settings.credentials())
        self._thread = threading.Thread(target=self._run, args=(self._announcer,), name="announce", daemon=True)
        self._thread.start()
        if self._before_sigterm:
            self._earlier_handler = signal.signal(signal.SIGTERM, self._on_sigterm)
        return self

    def close(self) -> None:
        """Withdraw, and wait until no request is in flight here (at most ``grace`` or ``drain_timeout``)."""
        if self._pid != os.getpid() or self._thread is None or self._announcer is None:
            return
        self._ending.set()
        self._announcer.wake()
        self._thread.join()
        self._thread = None
        self._pid = 0

    def __enter__(self) -> BackgroundAnnouncement:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> BackgroundAnnouncement:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self._pid != os.getpid() or self._announcer is None or self._sigterm_pending or self._ending.is_set():
            self._restore()
            os.kill(os.getpid(), number)
            return
        self._sigterm_pending = True
        self._ending.set()
        self._announcer.wake()

    def _restore(self) -> None:
        signal.signal(signal.SIGTERM, self._earlier_handler if self._earlier_handler is not None else signal.SIG_DFL)

    def _run(self, announcer: WorkerAnnouncer) -> None:
        settings, pattern = self._settings, self._settings.address
        assert pattern is not None
        entries = settings.entries()
        node = AnnouncedNode(f"{', '.join(settings.key)} at {pattern.text}", entries)
        worker = WatchedWorker(announcer, node, pattern, pattern.port, settings.probe, settings.protocol)
        worker.start(time.monotonic())
        while not self._ending.is_set():
            now = time.monotonic()
            worker.step(now)
            announcer.step(now)
            if announcer.acked(node):
                self._acked.set()
            else:
                self._acked.clear()
            announcer.wait(min(worker.due, announcer.due, now + _MAX_SLEEP) - time.monotonic())
        now = time.monotonic()
        worker.stop(now)
        deadline = now + settings.drain_timeout
        while now < deadline and not announcer.drained(node, now, settings.grace):
            announcer.step(now)
            announcer.wait(min(_DRAIN_POLL_INTERVAL, announcer.due - now))
            now = time.monotonic()
        announcer.close()
        if self._sigterm_pending:
            # Our handler runs in the main thread, sees that all is done, and hands the signal to the earlier one.
            os.kill(os.getpid(), signal.SIGTERM)
