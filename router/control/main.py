"""Starts the control process: descriptors in, edges up, until the lifeline ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

from fastroute.router import descriptors, logs
from fastroute.router.config.settings import Settings
from fastroute.router.control import admin, stats
from fastroute.router.control.control import Control, state_directory
from fastroute.router.control.state import StateStore


def main() -> None:
    """``python -m fastroute.router.control.main --settings-fd N``, as the master runs it."""
    inherited = descriptors.read(descriptors.settings_fd(sys.argv))
    settings = Settings.from_json(inherited.settings)
    logs.set_up(settings.log_format, settings.log_level)
    asyncio.run(_run(settings, inherited))


async def _run(settings: Settings, inherited: descriptors.Inheritance) -> None:
    loop = asyncio.get_running_loop()
    control = Control(settings, StateStore((inherited.state_fds[0], inherited.state_fds[1]), state_directory(settings)))
    over = asyncio.Event()
    loop.add_reader(inherited.lifeline_fd, over.set)
    loop.add_signal_handler(signal.SIGTERM, control.drain)
    # ^C in a terminal reaches the whole process group; the master decides what it means.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    control.start(_sockets(inherited.channel_fds), _sockets(inherited.subscription_fds), inherited.own)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(control.run(), name="control"),
            tasks.create_task(admin.serve(control, _sockets(inherited.admin_fds)), name="admin"),
            tasks.create_task(stats.serve(control, _sockets(inherited.stats_fds)), name="stats"),
        ]
        await over.wait()
        control.save()
        for task in running:
            task.cancel()
    # Whatever still hangs in a thread (a slow resolver) must not hold the end.
    os._exit(0)


def _sockets(fds: list[int]) -> list[socket.socket]:
    return [socket.socket(fileno=fd) for fd in fds]


if __name__ == "__main__":
    main()
