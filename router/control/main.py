"""Starts the control process: descriptors in, edges up, until the lifeline ends.

Of all controls that hold the same memory files only one has the state, the sockets and the relays: the one with the
lock on the first file.  A successor is started beside the one that serves and stands by for the lock; SIGHUP makes the
one that has it save, let go and end, so that nobody notices the change.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import signal
import socket
import sys
from pathlib import Path

from fastroute.router.admin_http.server import SHUTDOWN_TIMEOUT, AdminServer
from fastroute.router.config.settings import Settings
from fastroute.router.control import admin, stats
from fastroute.router.control.control import Control
from fastroute.router.control.state import SnapshotError, StateStore
from fastroute.router.runtime import inheritance, logs
from fastroute.router.runtime.descriptor_limit import raise_descriptor_limit
from fastroute.router.runtime.free_memory import keep_little_free_memory
from fastroute.router.runtime.full_collections import keep_collections_short
from fastroute.router.runtime.own_files import doubt

#: Seconds between attempts to get the lock.
_LOCK_POLL_INTERVAL = 0.002
_SHARED_DIRECTORY = "files of others there are ignored, but others can remove the snapshot"


def main(argv: list[str]) -> int:
    """Serve until another control has the state, or the master ends it; ``argv``: as the master makes it."""
    inherited = inheritance.read(inheritance.settings_fd(argv))
    settings = Settings.from_json(inherited.settings)
    logs.set_up(settings.log_format, settings.log_level)
    raise_descriptor_limit()
    keep_little_free_memory()
    keep_collections_short()
    successor = stand_by(inherited)
    if not successor and settings.state_dir and (why := doubt(settings.state_dir)):
        logs.get_logger("fastroute.router").warning("state-dir %s: %s; %s", settings.state_dir, why, _SHARED_DIRECTORY)
    directory = Path(settings.state_dir) if settings.state_dir else None
    state = StateStore((inherited.state_fds[0], inherited.state_fds[1]), directory, successor=successor)
    try:
        asyncio.run(_run(settings, inherited, state))
    except SnapshotError as error:
        sys.exit(f"the pools of the control before can't be read: {error}")
    return 0


def stand_by(inherited: inheritance.Inheritance) -> bool:
    """Until this process has the lock; whether another had it.  Ends the process when the master is gone."""
    waits = False
    while True:
        try:
            fcntl.lockf(inherited.state_fds[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            return waits
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if not waits:
            waits = True
            inheritance.report(inherited.report_fd, inheritance.STANDBY)
        if select.select([inherited.lifeline_fd], [], [], _LOCK_POLL_INTERVAL)[0]:
            os._exit(0)


async def _run(settings: Settings, inherited: inheritance.Inheritance, state: StateStore) -> None:
    loop = asyncio.get_running_loop()
    control = Control(settings, state)
    over, orphaned = asyncio.Event(), asyncio.Event()

    def on_lifeline() -> None:
        orphaned.set()
        over.set()

    loop.add_reader(inherited.lifeline_fd, on_lifeline)
    loop.add_signal_handler(signal.SIGTERM, control.drain)
    loop.add_signal_handler(signal.SIGHUP, over.set)
    # ^C in a terminal reaches the whole process group; the master decides what it means.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    # The master blocks the signal until its child is ready for it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    control.start(
        _sockets(inherited.channel_fds), _sockets(inherited.leaving_fds), _sockets(inherited.subscription_fds),
        _sockets(inherited.challenge_fds), inherited.own, inherited.own_sockets,
        lambda: inheritance.report(inherited.report_fd, inheritance.READY),
    )  # fmt: skip
    servers = {
        name: (AdminServer(app, control.connections[name]), _sockets(fds))
        for name, app, fds in (
            ("admin", admin.make_app(control), inherited.admin_fds),
            ("admin-read", admin.make_app(control, read_only=True), inherited.admin_read_fds),
        )
    }
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(server.answer(fds), name=name) for name, (server, fds) in servers.items()]
        running = [
            tasks.create_task(control.run(), name="control"),
            tasks.create_task(stats.serve(control, _sockets(inherited.stats_fds)), name="stats"),
            tasks.create_task(_show_life(inherited), name="life"),
        ]
        if settings.otlp is not None:
            running.append(tasks.create_task(_export_spans(settings.otlp, control), name="spans"))
        await over.wait()
        for server, _ in servers.values():
            server.finish()
        control.close()
        fcntl.lockf(inherited.state_fds[0], fcntl.LOCK_UN)
        if not orphaned.is_set():
            await asyncio.wait(answers, timeout=2 * SHUTDOWN_TIMEOUT)
        for task in (*running, *answers):
            task.cancel()
    # Whatever still hangs in a thread (a slow resolver) must not hold the end.
    os._exit(0)


async def _export_spans(url: str, control: Control) -> None:
    # Not imported without --otlp: httpx has 10 MB.
    from fastroute.router.control.span_exporter import SpanExporter

    await SpanExporter(url, control.spans, control.boot_id).run()


async def _show_life(inherited: inheritance.Inheritance) -> None:
    while inherited.signs_of_life:
        inheritance.report(inherited.report_fd, inheritance.ALIVE)
        await asyncio.sleep(inherited.signs_of_life)


def _sockets(fds: list[int]) -> list[socket.socket]:
    return [socket.socket(fileno=fd) for fd in fds]
