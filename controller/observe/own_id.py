"""Which container this process runs in, if any, as ``/proc/self/mountinfo`` tells."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

#: The three files that an engine makes for each container, and binds into it from the container's own folder.
_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
#: The file in its own file system: Docker's .../ID/hostname, podman's .../ID/userdata/hostname.
_SOURCE = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf)")
_MOUNTS = Path("/proc/self/mountinfo")


def own_id(mounts: Path = _MOUNTS) -> str:
    """The id of our container; empty: none.

    Other mounts say nothing: those of ``--ipc``, of secrets and of volumes may come from another container's folder.
    With ``network_mode: container:X`` the files are X's, and so is all that we want to know: the networks."""
    ids: dict[str, str] = {}
    with suppress(OSError):
        for line in mounts.read_text(errors="replace").splitlines():
            fields = line.split(" ")
            if len(fields) > 4 and fields[4] in _FILES and (match := _SOURCE.search(fields[3])):
                # A later mount at the same place hides an earlier one.
                ids[fields[4]] = match[1]
    return next((ids[file] for file in _FILES if file in ids), "")
