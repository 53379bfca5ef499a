"""``fastroute-controller``: the program's entry.  Reads the configuration, then puts the rooms together.

The main thread is the deciding thread.  A signal ends the program and changes no route: who stops a controller does
not mean to stop a site.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fastroute.controller.admin import Admin, Published
from fastroute.controller.announce.announcer import Announcer
from fastroute.controller.desired import Desired
from fastroute.controller.journal import Journal
from fastroute.controller.loop import Loop
from fastroute.controller.messages import Engine
from fastroute.controller.metrics import make_registry
from fastroute.controller.options import parse
from fastroute.controller.reconciler import Reconciler
from fastroute.controller.scope import Scope
from fastroute.controller.settings import ControllerSettings
from fastroute.router import logs
from fastroute.router.listen import Listener, open_streams
from fastroute.router.main import start

#: Permissions of a unix admin socket: whoever may write to it may change things.
_ADMIN_MODE = 0o660


def main() -> int:
    """Run the controller as the command line, the environment and FILE say; the exit code of the process."""
    return start(lambda width: parse(sys.argv[1:], os.environ, width), run)


def run(settings: ControllerSettings) -> int:
    """Run until a signal ends it."""
    logs.set_up(settings.log_format, settings.log_level)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    listeners = open_streams([settings.admin], _ADMIN_MODE) if settings.admin else []
    journal = Journal()
    scope = Scope(settings.label_prefix, settings.filter, settings.network or "")
    reconciler = Reconciler(scope, settings.resync, journal)
    registry, seconds = make_registry(reconciler)
    routers = Routers(settings, lambda: reconciler.engine)
    loop = Loop(reconciler, settings.docker_host[0].url, routers, seconds.observe)
    published = Published(
        reconciler, journal, registry, loop.post, lambda: routers.name, routers.status, settings.admin_token_file
    )
    with _admin(published, listeners), _signals(loop.stop, published):
        try:
            loop.run()
        finally:
            routers.close()
    return 0


class Routers:
    """The sink of router mode.  The announcer begins with the first desired state: one that began with nothing would
    take every route from the routers."""

    def __init__(self, settings: ControllerSettings, engine: Callable[[], Engine | None]) -> None:
        self._settings, self._engine = settings, engine
        self._announcer: Announcer | None = None
        #: Who we are to the routers; empty until it is known.
        self.name = ""

    def apply(self, desired: Desired) -> None:
        """Tell all routers."""
        if self._announcer is not None:
            self._announcer.apply(desired)
            return
        self.name = self._settings.name or source_name(self._settings, self._engine())
        self._announcer = Announcer(self._settings.router, self.name, self._settings.heartbeat)
        self._announcer.apply(desired)
        self._announcer.start()

    def status(self) -> dict[str, object]:
        """What routers there are and what they hold."""
        return self._announcer.status() if self._announcer else {}

    def close(self) -> None:
        """Say no more."""
        if self._announcer:
            self._announcer.close()


def source_name(settings: ControllerSettings, engine: Engine | None) -> str:
    """``--name``'s default: the same when the controller is recreated, another for another engine or selection."""
    parts = (engine.id if engine else "", settings.label_prefix, *sorted(settings.filter))
    return f"docker-{hashlib.blake2b('|'.join(parts).encode(), digest_size=6).hexdigest()}"


@contextmanager
def _admin(published: Published, listeners: list[Listener]) -> Iterator[None]:
    admin = Admin(published, listeners) if listeners else None
    if admin:
        admin.start()
    try:
        yield
    finally:
        if admin:
            admin.stop()


@contextmanager
def _signals(stop: Callable[[], None], published: Published) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        published.ending.set()
        stop()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
