"""``fastroute-page`` as a whole: one loop that asks routers and controllers and answers browsers.

SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from types import FrameType

from fastroute.page.app import make_app
from fastroute.page.assets import read_assets
from fastroute.page.settings import PageSettings
from fastroute.page.watched_fleet import WatchedFleet
from fastroute.router.admin_http.server import AdminServer
from fastroute.router.runtime import logs
from fastroute.router.runtime.descriptor_limit import raise_descriptor_limit
from fastroute.router.runtime.free_memory import keep_little_free_memory
from fastroute.router.runtime.listen import Listener, open_streams, remove_paths
from fastroute.router.runtime.notify import Notifier
from fastroute.router.runtime.signals import signals_handled

#: Permissions of a unix socket.
_SOCKET_MODE = 0o660
#: Libraries whose own lines say nothing to operators.
_QUIET = ("httpcore", "httpx", "asyncio")

log = logging.getLogger("fastroute.page")


def run(settings: PageSettings) -> int:
    """Run until a signal ends it."""
    logs.set_up(settings.log_format, settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    raise_descriptor_limit()
    listeners = open_streams(settings.listen, _SOCKET_MODE)
    try:
        asyncio.run(_serve(settings, listeners))
    finally:
        remove_paths(listeners)
    return 0


async def _serve(settings: PageSettings, listeners: list[Listener]) -> None:
    fleet = WatchedFleet(settings.router_url, settings.controller_url, settings.token_file)
    unix = all(listener.address.kind == "unix" for listener in listeners)
    hosts = {address.host.lower() for address in settings.listen if address.host} | set(settings.host)
    server = AdminServer(make_app(fleet, read_assets(), hosts=hosts, unix=unix))
    notifier = Notifier(os.environ)

    def end(number: int, frame: FrameType | None) -> None:
        notifier.stopping()
        server.should_exit = True

    with signals_handled({signal.SIGTERM: end, signal.SIGINT: end}):
        watching = asyncio.create_task(fleet.run())
        watching.add_done_callback(lambda _: setattr(server, "should_exit", True))
        for listener in listeners:
            log.info("the page is at %s", listener.name)
        notifier.ready("serves")
        keep_little_free_memory()
        await server.answer([listener.socket for listener in listeners])
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if not watching.cancelled() and watching.exception() is not None:
        raise watching.exception()  # type: ignore[misc]
