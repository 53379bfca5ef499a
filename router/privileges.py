"""uWSGI's ``uid`` and ``gid``: root opens the sockets, somebody else serves.  One edge.

As the original does it: with root's rights only (anybody else stays who they are), groups and all; the unix sockets
that were made go to the new owner, who could not let anybody in otherwise.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from fastroute.router.logs import get_logger

log = get_logger("fastroute.master")


def drop(uid: int | None, gid: int | None, paths: Iterable[str]) -> None:
    """Become ``uid`` and ``gid`` (None: stay), and give them ``paths``."""
    if uid is None and gid is None:
        return
    if os.geteuid() != 0:
        if uid not in (None, os.geteuid()) or gid not in (None, os.getegid()):
            log.warning("uid, gid: not root, so this stays user %d and group %d", os.geteuid(), os.getegid())
        return
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=False)
    os.setgroups([])
    if gid is not None:
        os.setgid(gid)
    if uid is not None:
        os.setuid(uid)
