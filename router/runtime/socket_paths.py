"""Unix sockets at paths: bound, and taken from whoever is in the way.  An edge; standard library only.

A path is replaced only when it is a socket that nobody listens on, or where that was asked for (``replace``): then
whoever listens there keeps the connections that it has, and those that come are ours.  The directory is locked
meanwhile, so that of two routers that start at once only one takes the path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator

from fastroute.router.protocol.address import Address

#: The kernel cuts it down to net.core.somaxconn: as large as the system allows, now and after a change of it.
BACKLOG = 2**31 - 1
#: Seconds to wait for another router that opens its sockets; anybody who may read the directory could hold the lock.
LOCK_TIMEOUT = 5.0


class ListenError(Exception):
    """A socket can't be opened: one line that says which, why, and what to do."""


def bind_path(
    address: Address, kind: socket.SocketKind, mode: int, *, replace: bool
) -> tuple[socket.socket, Address, tuple[int, int]]:
    """A socket at the path of ``address`` with the permissions ``mode``; device and inode of what was made there."""
    with _locked_directory(address.path):
        try:
            _remove_stale(address, kind)
        except OSError as error:
            if not replace or error.errno != errno.EADDRINUSE:
                raise
        # Somebody may connect at any moment: what is taken away is there until the new socket is.
        fresh = Address("unix", path=f"{address.path}.new") if os.path.lexists(address.path) else address
        if fresh is not address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh.path)
        before = os.umask(0o777 & ~mode)
        try:
            sock = bind_unix(fresh, kind)
        finally:
            os.umask(before)
        if fresh is not address:
            os.rename(fresh.path, address.path)
        info = os.lstat(address.path)
    return sock, address, (info.st_dev, info.st_ino)


def bind_unix(address: Address, kind: socket.SocketKind) -> socket.socket:
    """A socket at the path, or the abstract name, of ``address``; listening, if it is one for connections."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.bind(address.sockaddr())
        if kind != socket.SOCK_DGRAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _locked_directory(path: str) -> Iterator[None]:
    try:
        fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        # Sockets can be made in a directory that can't be read; then there is nothing to lock.
        yield
        return
    try:
        _lock(fd, path)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, path: str) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise ListenError(f"cannot listen on {path}: another process keeps its directory locked") from None
            time.sleep(0.01)


def _remove_stale(address: Address, kind: socket.SocketKind) -> None:
    try:
        mode = os.lstat(address.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"cannot listen on {address}: it exists and is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.sockaddr())
        except ConnectionRefusedError:
            os.unlink(address.path)
            return
        except OSError as error:
            # EAGAIN: its queue is full; EPROTOTYPE: a socket of the other kind.  Somebody is there.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
