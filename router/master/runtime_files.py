"""What shows that a router is *the* router here: its pid file and the paths of its sockets.

They belong to one process at a time: a router that only wants to take over has not got them yet, and one that handed
over has them no more.  Privileges that are no longer needed go as soon as the files are open.
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
        self._file, self._fd, self._ours = settings.pidfile, -1, False
        try:
            if self._file:
                users = () if settings.uid is None else (settings.uid,)
                self._fd = open_own(self._file, os.O_WRONLY | os.O_CREAT, 0o644, users)
            paths = (listener.address.path for listener in sockets if listener.inode)
            privileges.drop(settings.uid, settings.gid, paths)
        except OSError as error:
            raise StartError(f"{error.filename or 'uid, gid'}: {error.strerror}") from None

    def take(self) -> None:
        """It is ours."""
        self._ours = True
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def leave(self) -> None:
        """It is another's."""
        self._ours = False

    def give_up(self, sockets: ListeningSockets) -> None:
        """Remove what shows it, if it is ours."""
        if not self._ours:
            return
        listen.remove_paths(sockets)
        if self._file:
            with contextlib.suppress(OSError):
                os.unlink(self._file)
