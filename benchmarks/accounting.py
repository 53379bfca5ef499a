"""What processes cost: CPU, memory, system calls, over a whole tree of them, read from /proc."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of CPU so far, in user space and in the kernel."""

    user: float
    system: float

    def __sub__(self, other: Usage) -> Usage:
        return Usage(max(0.0, self.user - other.user), max(0.0, self.system - other.system))


def tree(pid: int) -> list[int]:
    """``pid`` and all that descends from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def usage(pids: list[int]) -> Usage:
    """CPU of all ``pids``: the total in nanoseconds from the scheduler, split by the kernel's ticks."""
    user = system = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]), int(fields[12])
        total = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
        share = ticks[0] / sum(ticks) if sum(ticks) else 0.0
        user += total * share
        system += total - total * share
    return Usage(user, system)


def resident(pids: list[int]) -> list[float]:
    """RSS of each process, in MB."""
    return [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6 for pid in pids]


def proportional(pids: list[int]) -> list[float]:
    """PSS of each process, in MB: a page that several share counts once among them."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    sizes = [re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE) for rollup in rollups]
    return [int(size[1]) * 1024 / 1e6 if size else 0.0 for size in sizes]


@contextlib.contextmanager
def system_calls(pids: list[int]) -> Iterator[dict[str, int]]:
    """Count the system calls of ``pids`` inside the block: known when it ends, none where strace is not allowed."""
    counts: dict[str, int] = {}
    with tempfile.NamedTemporaryFile(prefix="fastroute-strace-") as out:
        command = ["strace", "-f", "-c", "-o", out.name, *(word for pid in pids for word in ("-p", str(pid)))]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
            time.sleep(0.5)
            yield counts
            tracer.send_signal(2)
            tracer.wait(10)
        for line in Path(out.name).read_text().splitlines():
            found = re.fullmatch(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)", line)
            if found and found[2] != "total":
                counts[found[2]] = int(found[1])


def machine() -> str:
    """What this ran on, in general terms."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kernel = re.match(r"\d+\.\d+", platform.release())
    versions = [
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()})",
        f"Linux {kernel[0] if kernel else platform.release()}",
        f"Python {platform.python_version()}",
        *(_version(*command) for command in (("nginx", "-v"), ("uwsgi-core", "--version"), ("wrk", "-v"))),
    ]
    return ", ".join(version for version in versions if version)


def _version(program: str, option: str) -> str:
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
    return f"{'uWSGI' if program == 'uwsgi-core' else program} {found[0]}" if found else ""
