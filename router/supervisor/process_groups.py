"""Which process groups are ours, in a memory file that outlives us: a successor ends what we could not.  One edge.

A number alone may be somebody else's by then, so a group counts as ours only if one of its processes has our mark in
its environment, or its leader began when ours did.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import time
from pathlib import Path

MARK = "FASTROUTE_WORKER_OF"
#: Seconds for those who were told to end (by the kernel, when their parent did) until they are killed.
PATIENCE = 1.0


class ProcessGroups:
    """``fd`` is the memory file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            found = json.loads(os.pread(fd, 1 << 20, 0) or b"{}")
        except ValueError:
            found = {}
        self.mark: str = found.get("mark") or secrets.token_hex(16)
        self._groups: dict[int, str] = {int(pid): began for pid, began in found.get("groups", {}).items()}

    def add(self, pid: int) -> None:
        """A process, leader of its group, was started."""
        self._groups[pid] = _began(pid)
        self._write()

    def remove(self, pid: int) -> None:
        """It is gone, and its group with it."""
        self._groups.pop(pid, None)
        self._write()

    def end_all(self) -> list[int]:
        """End every group of whoever held this file before; the leaders' ids."""
        left = list(self._groups)
        found = [pid for pid in left if self._ours(pid)]
        deadline = time.monotonic() + PATIENCE
        while any(self._ours(pid) for pid in found) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in found:
            if self._ours(pid):
                kill_group(pid, signal.SIGKILL)
        self._groups.clear()
        self._write()
        return found

    def _write(self) -> None:
        data = json.dumps({"mark": self.mark, "groups": self._groups}).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def _ours(self, group: int) -> bool:
        if _began(group) == self._groups[group] != "":
            return True
        marked = f"{MARK}={self.mark}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                if _fields(int(path.name))[2] == str(group) and marked in (path / "environ").read_bytes():
                    return True
        return False


def kill_group(group: int, number: int) -> None:
    """Signal a whole group, if there is any of it.  Zero would be our own."""
    if group <= 1:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _fields(pid: int) -> list[str]:
    """``/proc/PID/stat`` behind the name: state, parent, group, ..."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _began(pid: int) -> str:
    """When a process that is alive began, in the kernel's ticks; empty: there is none."""
    with contextlib.suppress(OSError, IndexError):
        fields = _fields(pid)
        return "" if fields[0] in "ZX" else fields[19]
    return ""
