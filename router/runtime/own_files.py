"""Files that only we and root may have written: a file of somebody else in their place is refused.  One edge.

A directory may be writable by others (``/tmp``, a shared volume).  There a symbolic link would have us overwrite a file
elsewhere, with root's rights, and a file of somebody else's would be believed.  Standard library only, for the relay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path


class NotOurs(PermissionError):
    """Somebody else may have made this file; ``why`` says by what that shows."""

    def __init__(self, path: str | os.PathLike[str], why: str) -> None:
        super().__init__(errno.EPERM, why, os.fspath(path))
        self.why = why


def open_own(path: str | os.PathLike[str], flags: int, mode: int = 0o600, users: Collection[int] = ()) -> int:
    """``os.open`` of a regular file of one name, owned by us, root or one of ``users``; else :class:`NotOurs`."""
    try:
        # O_NONBLOCK: a named pipe would keep us waiting for its other end.
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOurs(path, "it is a symbolic link, which is not followed here; remove it") from None
        if error.errno == errno.ENXIO:
            raise NotOurs(path, "a regular file expected") from None
        raise
    try:
        _check(path, os.fstat(fd), {0, os.geteuid(), *users})
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_own(path: str | os.PathLike[str]) -> tuple[bytes, float]:
    """The content of a file that we wrote, and when that was; :class:`NotOurs` when others could have."""
    with open(open_own(path, os.O_RDONLY), "rb") as opened:
        info = os.fstat(opened.fileno())
        if _writable_by_others(info):
            raise NotOurs(path, f"others may write to it (mode {stat.S_IMODE(info.st_mode):03o}), and could have")
        return opened.read(), info.st_mtime


def replace_own(path: Path, data: bytes, temporary: Path, *, sync: bool) -> None:
    """Replace the content of ``path`` by ``data``, as a whole or not at all; ``temporary`` is made for it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as opened:
        opened.write(data)
        opened.flush()
        if sync:
            os.fsync(opened.fileno())
    os.replace(temporary, path)


def open_log(path: str, flags: int = 0) -> int:
    """Append to the log ``path``.  A symbolic link (``/dev/stdout``) is followed if we or root made it."""
    flags |= os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if (owner := os.lstat(path).st_uid) not in (0, os.geteuid()):
        raise NotOurs(path, f"it is a symbolic link of user {owner}, which is not followed")
    return os.open(path, flags, 0o640)


def doubt(directory: str | os.PathLike[str]) -> str:
    """Who else may put files into ``directory``; empty when nobody, or there is none."""
    try:
        info = os.stat(directory)
    except OSError:
        return ""
    if info.st_uid not in (0, os.geteuid()):
        return f"it is user {info.st_uid}'s"
    return f"everybody may write there (mode {stat.S_IMODE(info.st_mode):04o})" if info.st_mode & stat.S_IWOTH else ""


def _writable_by_others(info: os.stat_result) -> bool:
    """Our own groups are not others: Kubernetes' ``fsGroup`` makes all files of a volume writable for one."""
    ours = info.st_gid in {0, os.getegid(), *os.getgroups()}
    return bool(info.st_mode & stat.S_IWOTH) or (bool(info.st_mode & stat.S_IWGRP) and not ours)


def _check(path: str | os.PathLike[str], info: os.stat_result, users: Collection[int]) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise NotOurs(path, "a regular file expected")
    if info.st_uid not in users:
        raise NotOurs(path, f"it is user {info.st_uid}'s, and one of {_named(users)} expected")
    if info.st_nlink > 1:
        raise NotOurs(path, f"it has {info.st_nlink} names (hard links), one expected")


def _named(users: Collection[int]) -> str:
    return ", ".join("root" if user == 0 else f"user {user}" for user in sorted(users))
