"""Starts the supervisor of workers, as the master runs it; it ends at SIGTERM, or when the master has ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence

from fastroute.router.config.settings import Settings
from fastroute.router.config.worker import WorkerSettings
from fastroute.router.runtime import inheritance, logs
from fastroute.router.sidecar.announcer import WorkerAnnouncer
from fastroute.router.sidecar.router_peer import Credentials
from fastroute.router.supervisor.process_groups import ProcessGroups
from fastroute.router.supervisor.supervisor import ORPHANED_STOP_TIMEOUT, Supervisor


def main(argv: list[str]) -> int:
    """Keep the workers running until the master ends it; ``argv``: as the master makes it."""
    inherited = inheritance.read(inheritance.settings_fd(argv))
    settings = Settings.from_json(inherited.settings)
    logs.set_up(settings.log_format, settings.log_level)
    channel_fd, plan_fd, groups_fd = inherited.worker_fds
    signals, write_end = socket.socketpair()
    for end in (signals, write_end):
        end.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGUSR1):
        # ^C in a terminal signals the whole process group; the master decides what it means.
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(write_end.fileno(), warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP, signal.SIGUSR1])
    announcer = WorkerAnnouncer((), Credentials(), socket.socket(fileno=channel_fd))
    announcer.selector.register(signals, selectors.EVENT_READ, "signals")
    announcer.selector.register(inherited.lifeline_fd, selectors.EVENT_READ, "lifeline")
    supervisor = Supervisor(announcer, ProcessGroups(groups_fd), lambda: read_plan(plan_fd))
    supervisor.begin(time.monotonic())
    while not supervisor.over:
        supervisor.step(time.monotonic())
        ready = supervisor.wait()
        if "signals" in ready:
            _read_signals(supervisor, signals)
        if "lifeline" in ready:
            announcer.selector.unregister(inherited.lifeline_fd)
            supervisor.stop(time.monotonic(), ORPHANED_STOP_TIMEOUT)
    # A thread that hangs (a probe) must not delay the end.
    sys.stderr.flush()
    os._exit(0)


def _read_signals(supervisor: Supervisor, signals: socket.socket) -> None:
    now = time.monotonic()
    for number in dict.fromkeys(signals.recv(4096)):
        if number == signal.SIGCHLD:
            supervisor.reap(now)
        elif number == signal.SIGHUP:
            supervisor.reload(now)
        elif number == signal.SIGTERM:
            supervisor.stop(now)


def read_plan(fd: int) -> tuple[Sequence[WorkerSettings], float]:
    """The workers as the master wants them now, and how long requests in flight may take."""
    settings = Settings.from_json(json.loads(os.pread(fd, os.fstat(fd).st_size, 0)))
    return settings.workers, settings.drain_timeout
