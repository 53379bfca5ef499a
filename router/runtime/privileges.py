"""uWSGI's ``uid`` and ``gid``: root opens the sockets, somebody else serves.  One edge.

As the original does it: with root's rights only (anybody else stays who they are), groups and all; the unix sockets
that were made go to the new owner, who could not let anybody in otherwise.  Not as the original: ``uid`` alone leaves
nobody in root's group, who may read and write what root's files let their group; the user's own group is taken.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from collections.abc import Iterable

from fastroute.router.runtime.logs import get_logger

log = get_logger("fastroute.master")


def drop(uid: int | None, gid: int | None, paths: Iterable[str]) -> None:
    """Become ``uid`` and ``gid``, and give them ``paths``.  None: stay; but no ``gid`` is that of the user ``uid``."""
    if uid is None and gid is None:
        return
    if os.geteuid() != 0:
        if uid not in (None, os.geteuid()) or gid not in (None, os.getegid()):
            log.warning("uid, gid: not root, so this stays user %d and group %d", os.geteuid(), os.getegid())
        return
    if gid is None and uid:
        gid = _group_of(uid)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=False)
    os.setgroups([])
    if gid is not None:
        os.setgid(gid)
    if uid is not None:
        os.setuid(uid)


def _group_of(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        text = f"user {uid} has no entry in /etc/passwd that names its group: set gid too"
        raise OSError(errno.EINVAL, text) from None
