"""``fastroute-controller``: the program's entry.  Reads the configuration, then puts the rooms together.

A signal ends the program and changes no route: who stops a controller does
not mean to stop a site.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fastroute.controller.admin import Admin, Published
from fastroute.controller.engines import Engines
from fastroute.controller.journal import Journal
from fastroute.controller.metrics import collect_from, make_registry
from fastroute.controller.options import parse
from fastroute.controller.routers import Routers
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
    journal, routers = Journal(), Routers(settings)
    registry, seconds = make_registry()
    engines = Engines(settings, journal, routers.part, seconds.observe)
    collect_from(registry, engines.reconcilers)
    published = Published(
        engines.reconcilers, journal, registry, engines.post, routers.status, settings.admin_token_file
    )
    with _admin(published, listeners), _signals(engines.stop, published):
        try:
            engines.run()
        finally:
            routers.close()
    return 0


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
