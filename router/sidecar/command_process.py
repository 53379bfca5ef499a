"""Starts the command that ``announce`` runs, and reaps it with all orphans that the first process inherits."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

#: A shell's codes: not found, found but not executable, 128 + signal.
NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 128
_PR_SET_PDEATHSIG = 1


class CommandError(Exception):
    """The command can't be started; ``code`` is what a shell would end with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def die_with_parent(number: int) -> None:
    """Have the kernel signal this process when its parent ends, however it does.  Call it between fork and exec."""
    parent = os.getppid()
    # A static interpreter or another libc may lack prctl: then there is just no such signal.
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    end_signal: int = signal.SIGTERM,
    cwd: str | None = None,
    output: int | None = None,
) -> int:
    """Start ``command`` in a process group of its own, so that ^C reaches us alone; its process id.

    The kernel sends it ``end_signal`` when we are killed.  ``output`` is a descriptor for all that it prints; then it
    has no standard input, either.
    """
    stdin = None if output is None else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, env=dict(environ), cwd=cwd, stdin=stdin, stdout=output, stderr=output, process_group=0,
            preexec_fn=lambda: die_with_parent(end_signal),
        )  # fmt: skip
    except FileNotFoundError as error:
        missing = "command not found" if error.filename != cwd else f"no directory {cwd}"
        raise CommandError(f"{command[0]}: {missing}", NOT_FOUND) from None
    except OSError as error:
        raise CommandError(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from None
    # reap() collects it with all others, and Popen must not.
    process.returncode = 0
    return process.pid


def reap(pid: int) -> int | None:
    """Collect every process that ended; the exit code of ``pid``, as a shell has it, if it is among them."""
    code = None
    while True:
        try:
            ended_pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if ended_pid == 0:
            return code
        if ended_pid == pid:
            number = os.waitstatus_to_exitcode(status)
            code = number if number >= 0 else KILLED - number


def fill_in(command: Sequence[str], port: int) -> list[str]:
    """``command`` with ``{port}`` replaced."""
    return [word.replace("{port}", str(port)) for word in command]
