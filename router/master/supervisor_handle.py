"""What the master keeps for the supervisor of workers: its channel to control, its plan, its record."""

from __future__ import annotations

import json
import os
import signal
import socket

from fastroute.router.config.settings import Settings
from fastroute.router.master.child_process import ChildProcess
from fastroute.router.runtime.inheritance import Inheritance


class SupervisorHandle:
    """One for each master, whatever the generation: workers outlive a reload, and a supervisor that is killed."""

    def __init__(self, lifeline_fd: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control_fd = ours.detach()
        """Control's end: a subscription socket that only the supervisor writes to."""
        self._fds = [theirs.detach(), os.memfd_create("fastroute-workers"), os.memfd_create("fastroute-groups")]
        self._lifeline_fd = lifeline_fd
        self._settings: Settings | None = None
        self.child = ChildProcess("workers", "fastroute.router.supervisor.main", self._inheritance)

    def children(self, settings: Settings) -> list[ChildProcess]:
        """The supervisor, if ``settings`` have work for it, or it has been there before."""
        if self._settings is None and settings.workers:
            self._write(settings)
        return [self.child] if self._settings is not None else []

    def reload(self, settings: Settings) -> None:
        """``settings`` count from now on; a supervisor that was started with them has them."""
        if self._settings is not None and self._settings is not settings:
            self._write(settings)
            self.child.signal(signal.SIGHUP)

    def _write(self, settings: Settings) -> None:
        self._settings = settings
        data = json.dumps(settings.to_json()).encode()
        os.pwrite(self._fds[1], data, 0)
        os.ftruncate(self._fds[1], len(data))

    def _inheritance(self) -> Inheritance:
        assert self._settings is not None
        return Inheritance(self._settings.to_json(), lifeline_fd=self._lifeline_fd, worker_fds=self._fds)
