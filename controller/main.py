"""``fastroute-controller``: the program's entry.  Reads the configuration, then puts the rooms together.

SIGTERM and SIGINT end the program and change no route: stopping a controller must not stop a site.  SIGHUP reads FILE
and the static file again.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from fastroute.controller import views
from fastroute.controller.admin import Admin, Published
from fastroute.controller.engines import Engines, key_source_name, static_source_name
from fastroute.controller.events import ControllerEvents
from fastroute.controller.files.config_file import ConfigFile
from fastroute.controller.files.state_file import StateFile
from fastroute.controller.key_holder import KeyHolder
from fastroute.controller.linger import Linger
from fastroute.controller.metrics import Timings, collect_from
from fastroute.controller.mode import Mode, ModeContext, WatchedFile
from fastroute.controller.options import configuration_file, parse
from fastroute.controller.route_sources import RouteSources
from fastroute.controller.settings import ControllerSettings
from fastroute.controller.swarm.board import SwarmBoard
from fastroute.controller.swarm.peers import SwarmListing, peer_settings
from fastroute.controller.swarm.program import swarm_told
from fastroute.router.runtime import logs
from fastroute.router.runtime.descriptor_limit import raise_descriptor_limit
from fastroute.router.runtime.free_memory import keep_little_free_memory
from fastroute.router.runtime.listen import Listener, open_streams
from fastroute.router.runtime.notify import Notifier
from fastroute.router.runtime.own_files import doubt
from fastroute.router.runtime.signals import signals_handled
from fastroute.router.runtime.start import start

# What only some settings need is imported where they ask for it: YAML, Jinja2 and watchdog are 4 MB.
if TYPE_CHECKING:
    from fastroute.controller.files.static_file import StaticFile
    from fastroute.controller.nginx_mode.mode import NginxMode
    from fastroute.controller.router_mode.mode import RouterMode

#: Permissions of a unix admin socket: whoever may write to it may change things.
_ADMIN_MODE = 0o660


def main() -> int:
    """Run the controller as the command line, the environment and FILE say; the exit code of the process."""
    return start(_read, run)


def _read(width: int) -> ControllerSettings:
    settings = parse(sys.argv[1:], os.environ, width)
    if settings.static:
        from fastroute.controller.files.static import read_static
        from fastroute.router.config.configuration_file import read_file

        read_static(read_file(settings.static), settings.static)
    _mode_of(settings).check(settings)
    return settings


def _mode_of(settings: ControllerSettings) -> type[RouterMode] | type[NginxMode]:
    """What ``--mode`` names."""
    if settings.mode == "nginx":
        from fastroute.controller.nginx_mode.mode import NginxMode

        return NginxMode
    from fastroute.controller.router_mode.mode import RouterMode

    return RouterMode


def _warn_of_state_dir(settings: ControllerSettings, events: ControllerEvents) -> None:
    if settings.state_dir and (why := doubt(settings.state_dir)):
        text = "what is not ours there is not believed, but others can remove what is kept"
        events.write("warning", f"state-dir {settings.state_dir}: {why}; {text}")


def run(settings: ControllerSettings) -> int:
    """Run until a signal ends it."""
    logs.set_up(settings.log_format, settings.log_level)
    for library in ("urllib3", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    raise_descriptor_limit()
    listeners = open_streams([settings.admin], _ADMIN_MODE) if settings.admin else []
    readers = open_streams(settings.admin_read, _ADMIN_MODE)
    peers = open_streams([settings.peers_listen] if settings.peers_listen else [], _ADMIN_MODE)
    events, registry = ControllerEvents(), CollectorRegistry()
    timings = Timings(registry)
    _warn_of_state_dir(settings, events)
    sources = RouteSources(nginx=settings.mode == "nginx", nginx_version=settings.nginx_version)
    mode: Mode = _mode_of(settings)(ModeContext(settings, events, sources, timings.acked))
    board = SwarmBoard()
    engines = Engines(settings, events, mode.sink, timings.decided, board)
    sources.engines = engines.reconcilers
    key_holder = _key_holder(settings, events, mode, engines)
    sources.static = static = _static(settings, events, mode)
    config = _config_file(settings, events, engines)
    watched = [*(file for file in (static, config) if file), *mode.watched()]
    files = [file.read for file in watched]
    collect_from(registry, sources, files, mode)
    published = Published(
        sources, mode, events, registry, engines.posts, files, settings.admin_token_file, key_holder,
        swarm=(lambda: _whole_swarm(settings)) if settings.peers else None,
    )  # fmt: skip
    mode.start()
    if key_holder:
        key_holder.start()
    notifier = Notifier(os.environ)
    linger = Linger(settings.linger, engines.stop)
    with (
        swarm_told(settings, board, peers, engines, mode, events, lambda: _own_containers(sources)),
        _watching(watched) as reread,
        _admin(published, listeners, readers),
        _signals(engines, published, reread, notifier, linger),
    ):
        try:
            notifier.ready("watches")
            keep_little_free_memory()
            engines.run()
        finally:
            if key_holder:
                key_holder.close()
            mode.close()
            if static:
                static.close()
    return 0


def _whole_swarm(settings: ControllerSettings) -> SwarmListing:
    # Imported when somebody asks: httpx has 5 MB.
    from fastroute.controller.swarm.listing import swarm_listing

    return swarm_listing(peer_settings(settings))


def _own_containers(sources: RouteSources) -> bytes:
    return json.dumps(views.containers(sources.views().values()), separators=(",", ":")).encode()


def _static(settings: ControllerSettings, events: ControllerEvents, mode: Mode) -> StaticFile | None:
    if settings.static is None:
        return None
    from fastroute.controller.files.static_file import StaticFile

    source = static_source_name(settings)
    return StaticFile(settings.static, source, mode.sink(lambda: source), events)


def _key_holder(
    settings: ControllerSettings, events: ControllerEvents, mode: Mode, engines: Engines
) -> KeyHolder | None:
    def source() -> str:
        return key_source_name(settings, engines.reconcilers[0].source)

    sink = mode.key_sink(source)
    return KeyHolder(sink, StateFile.of_keys(settings.state_dir), events, lambda: bool(source())) if sink else None


def _config_file(settings: ControllerSettings, events: ControllerEvents, engines: Engines) -> ConfigFile | None:
    file = configuration_file(sys.argv[1:])
    if file is None:
        return None
    return ConfigFile(file, settings, lambda: parse(sys.argv[1:], os.environ), engines.posts, events)


@contextmanager
def _watching(watched: Sequence[WatchedFile]) -> Iterator[Callable[[], None]]:
    """Reads each of ``watched`` now, again when it changes, and when what is yielded is called."""
    if not watched:
        yield lambda: None
        return
    from fastroute.controller.files.watch import Watcher

    by_path = {file.path: file for file in watched}
    watcher = Watcher(by_path, lambda path: by_path[path].reread())
    for file in watched:
        # After the watcher's first look, so that no change is missed between the two.
        file.reread()
    watcher.start()
    try:
        yield watcher.ask
    finally:
        watcher.stop()


@contextmanager
def _admin(published: Published, listeners: list[Listener], readers: list[Listener]) -> Iterator[None]:
    admin = Admin(published, listeners, readers) if listeners or readers else None
    if admin:
        admin.start()
    try:
        yield
    finally:
        if admin:
            admin.stop()


@contextmanager
def _signals(
    engines: Engines, published: Published, reread: Callable[[], None], notifier: Notifier, linger: Linger
) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        notifier.stopping()
        published.ending.set()
        linger.end()

    def hang_up(number: int, frame: FrameType | None) -> None:
        notifier.reloading()
        engines.call(reread)
        engines.call(lambda: notifier.ready("watches"))

    with signals_handled({signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: hang_up}):
        yield
