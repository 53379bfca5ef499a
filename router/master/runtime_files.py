"""The pid file and the paths of sockets: by them others find the router that serves here.

They belong to one process at a time: a router that only wants to take over does not own them yet, and one that handed
over owns them no more.  Privileges that are no longer needed are dropped as soon as the files are open.
"""

from __future__ import annotations

import contextlib
import os

from fastroute.router.config.settings import Settings
from fastroute.router.master.sockets import ListeningSockets
from fastroute.router.runtime import listen, privileges
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.own_files import open_own


class RuntimeFiles:
    """Opens the pid file and drops privileges; ``StartError`` when that can't be done."""

    def __init__(self, settings: Settings, sockets: ListeningSockets) -> None:
        self._pidfile, self._pidfile_fd, self._owned = settings.pidfile, -1, False
        try:
            if self._pidfile:
                users = () if settings.uid is None else (settings.uid,)
                self._pidfile_fd = open_own(self._pidfile, os.O_WRONLY | os.O_CREAT, 0o644, users)
            paths = (listener.address.path for listener in sockets if listener.inode)
            privileges.drop(settings.uid, settings.gid, paths)
        except OSError as error:
            raise StartError(f"{error.filename or 'uid, gid'}: {error.strerror}") from None

    def take(self) -> None:
        """They are this router's now: write our process id."""
        self._owned = True
        if self._pidfile_fd >= 0:
            os.ftruncate(self._pidfile_fd, 0)
            os.pwrite(self._pidfile_fd, f"{os.getpid()}\n".encode(), 0)

    def leave(self) -> None:
        """They are another router's now."""
        self._owned = False

    def remove(self, sockets: ListeningSockets) -> None:
        """Remove them, if they are this router's."""
        if not self._owned:
            return
        listen.remove_paths(sockets)
        if self._pidfile:
            with contextlib.suppress(OSError):
                os.unlink(self._pidfile)
