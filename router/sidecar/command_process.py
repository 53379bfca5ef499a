"""The command that ``announce`` runs: started, signalled, reaped, with everybody who is left to us as first process."""

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
    """Let the kernel signal this process when its parent ends, however it does.  For the time between fork and exec."""
    parent = os.getppid()
    # A static interpreter or a foreign libc may lack it: then there is just no such signal.
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

    ``end_signal`` is what the kernel sends it when we are killed; ``output``: a descriptor for all it prints (then it
    reads nothing, either).
    """
    given = None if output is None else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, env=dict(environ), cwd=cwd, stdin=given, stdout=output, stderr=output, process_group=0,
            preexec_fn=lambda: die_with_parent(end_signal),
        )  # fmt: skip
    except FileNotFoundError as error:
        missing = "command not found" if error.filename != cwd else f"no directory {cwd}"
        raise CommandError(f"{command[0]}: {missing}", NOT_FOUND) from None
    except OSError as error:
        raise CommandError(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from None
    # It is reaped with all others.
    process.returncode = 0
    return process.pid


def reap(pid: int) -> int | None:
    """Collect everybody who ended; the exit code of ``pid``, as a shell tells it, if it is among them."""
    code = None
    while True:
        try:
            found, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if found == 0:
            return code
        if found == pid:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else KILLED - ended


def fill_in(command: Sequence[str], port: int) -> list[str]:
    """``command`` with its ``{port}``."""
    return [word.replace("{port}", str(port)) for word in command]
