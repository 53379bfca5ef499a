"""A forked child has what it was given and nothing else of the master's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: The master: handlers, a wakeup descriptor, and more descriptors than the child is to have.
MASTER = """
import os, signal, sys
from fastroute.router.master.forking import fork, prepare
prepare(['child'])
kept, _ = os.pipe()
for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
wakeup, write_end = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(write_end)
settings = os.memfd_create("settings")
pid = fork("relay-7", "child", settings, [kept])
os.waitpid(pid, 0) if len(sys.argv) < 2 else print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(os.read(wakeup, 9).hex(), kept, settings, len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""
CHILD = """
import json, os, signal, sys
def main(argv):
    os.kill(os.getpid(), signal.SIGCHLD)
    listing = [int(fd) for fd in os.listdir("/proc/self/fd")]
    print(json.dumps({
        "argv": argv, "same": sys.argv == argv, "fds": [fd for fd in listing if os.path.exists(f"/proc/self/fd/{fd}")],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "handled": [n for n in signal.valid_signals() if callable(signal.getsignal(n))],
        "wakeup": signal.set_wakeup_fd(-1), "comm": open("/proc/self/comm").read(),
        "cmdline": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
    }), flush=True)
    return 0
"""


def run(folder: Path, child: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "child.py").write_text(child)
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", MASTER, *arguments], env=environ, capture_output=True, text=True)


def test_it_has_its_descriptors_no_handlers_and_a_name_of_its_own(tmp_path: Path) -> None:
    lines = run(tmp_path, CHILD).stdout.splitlines()
    child: dict[str, Any] = json.loads(lines[0])
    wakeups, kept, settings, blocked = lines[1].split()
    assert child["argv"] == ["child", "--settings-fd", settings]
    assert child["same"]
    assert child["fds"] == [0, 1, 2, *sorted((int(kept), int(settings)))]
    assert child["blocked"] == sorted((signal.SIGUSR1, signal.SIGHUP))
    assert (child["handled"], child["wakeup"]) == ([], -1)
    assert (child["comm"], child["cmdline"]) == ("relay-7\n", ["child"])
    assert wakeups == f"{signal.SIGCHLD:02x}", "the child's end, and not what was sent to the child"
    assert blocked == "0"


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("return 3", 3, ""),
        ("raise SystemExit('it has no state')", 1, "it has no state\n"),
        ("raise SystemExit", 0, ""),
        ("raise ValueError('a bug')", 1, "ValueError: a bug\n"),
    ],
)
def test_it_ends_as_a_program_does_and_never_returns_to_the_master(
    tmp_path: Path, body: str, code: int, text: str
) -> None:
    ended = run(tmp_path, f"def main(argv):\n    {body}\n", "code")
    assert ended.stdout.splitlines()[0] == str(code)
    assert len(ended.stdout.splitlines()) == 2
    assert ended.stderr.endswith(text)
