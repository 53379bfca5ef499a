"""The process groups of our workers, in a memory file: the next supervisor ends what this one could not.  One edge.

A process id may have been given to another process by then, so a group counts as ours only if one of its processes has
our mark in its environment, or its leader was started when ours was.
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
#: Seconds until processes that the kernel told to end, when their supervisor did, are killed.
END_TIMEOUT = 1.0
_POLL_INTERVAL = 0.02


class ProcessGroups:
    """The leaders of all groups, as the memory file ``fd`` has them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            record = json.loads(os.pread(fd, 1 << 20, 0) or b"{}")
        except ValueError:
            record = {}
        self.mark: str = record.get("mark") or secrets.token_hex(16)
        #: Leader -> when it was started.
        self._groups: dict[int, str] = {int(pid): start for pid, start in record.get("groups", {}).items()}

    def add(self, pid: int) -> None:
        """A process, the leader of its group, was started."""
        self._groups[pid] = _start_time(pid)
        self._write()

    def remove(self, pid: int) -> None:
        """It has ended, and its group with it."""
        self._groups.pop(pid, None)
        self._write()

    def end_all(self) -> list[int]:
        """End every group that an earlier supervisor left; returns their leaders."""
        ours = [pid for pid in self._groups if self._ours(pid)]
        deadline = time.monotonic() + END_TIMEOUT
        while any(self._ours(pid) for pid in ours) and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL)
        for pid in ours:
            if self._ours(pid):
                kill_group(pid, signal.SIGKILL)
        self._groups.clear()
        self._write()
        return ours

    def _write(self) -> None:
        data = json.dumps({"mark": self.mark, "groups": self._groups}).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def _ours(self, group: int) -> bool:
        if _start_time(group) == self._groups[group] != "":
            return True
        marked = f"{MARK}={self.mark}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                if _fields(int(path.name))[2] == str(group) and marked in (path / "environ").read_bytes():
                    return True
        return False


def kill_group(group: int, number: int) -> None:
    """Signal a whole group, if it still exists.  Group 0 would be our own."""
    if group <= 1:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _fields(pid: int) -> list[str]:
    """``/proc/PID/stat`` behind the name: state, parent, group, ..."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _start_time(pid: int) -> str:
    """When a process was started, in the kernel's ticks; empty: it does not run."""
    with contextlib.suppress(OSError, IndexError):
        fields = _fields(pid)
        return "" if fields[0] in "ZX" else fields[19]
    return ""
