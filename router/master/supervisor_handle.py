"""What the master holds for the supervisor of workers: its channel to control, its plan, its record of processes."""

from __future__ import annotations

import json
import os
import signal
import socket

from fastroute.router.config.settings import Settings
from fastroute.router.master.child_process import ChildProcess
from fastroute.router.runtime.inheritance import Inheritance

#: The module that the supervisor runs.
SUPERVISOR = "fastroute.router.supervisor.main"


class SupervisorHandle:
    """One for each master, whatever the generation: workers outlive a reload, and a supervisor that is killed."""

    def __init__(self, lifeline_fd: int) -> None:
        control_end, supervisor_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        #: Control's end of the channel: a subscription socket that only the supervisor writes to.
        self.control_fd = control_end.detach()
        self._plan_fd = os.memfd_create("fastroute-workers")
        self._groups_fd = os.memfd_create("fastroute-groups")
        self._supervisor_fd = supervisor_end.detach()
        self._lifeline_fd = lifeline_fd
        self._settings: Settings | None = None
        #: The supervisor itself.
        self.process = ChildProcess("workers", SUPERVISOR, self._inheritance)

    def children(self, settings: Settings) -> list[ChildProcess]:
        """The supervisor, if ``settings`` name workers, or it runs already."""
        if self._settings is None and settings.workers:
            self._write_plan(settings)
        return [self.process] if self._settings is not None else []

    def reload(self, settings: Settings) -> None:
        """Have the supervisor read its plan again, unless it was started with these ``settings``."""
        if self._settings is not None and self._settings is not settings:
            self._write_plan(settings)
            self.process.signal(signal.SIGHUP)

    def _write_plan(self, settings: Settings) -> None:
        self._settings = settings
        data = json.dumps(settings.to_json()).encode()
        os.pwrite(self._plan_fd, data, 0)
        os.ftruncate(self._plan_fd, len(data))

    def _inheritance(self) -> Inheritance:
        assert self._settings is not None
        worker_fds = [self._supervisor_fd, self._plan_fd, self._groups_fd]
        return Inheritance(self._settings.to_json(), lifeline_fd=self._lifeline_fd, worker_fds=worker_fds)
