"""DNS challenges by a command of the user's: ``COMMAND set|clear NAME VALUE`` of a TXT record.  One edge.

No shell is involved, and what the command prints is logged.  It should return once the record can be looked up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence

from fastroute.router.runtime.logs import printable

#: Seconds that the command may take, and characters of its output that are logged, the last ones.
HOOK_TIMEOUT = 300.0
_MAX_OUTPUT = 2_000

log = logging.getLogger("fastroute.certs")


class HookFailed(Exception):
    """The command did not do what it was asked for."""


class DnsHook:
    """``command`` as words, without the action; ``timeout`` in seconds."""

    def __init__(self, command: Sequence[str], timeout: float = HOOK_TIMEOUT) -> None:
        self._command, self._timeout = tuple(command), timeout

    @contextlib.contextmanager
    def record(self, name: str, value: str) -> Iterator[None]:
        """Have the TXT record ``name`` with ``value`` meanwhile; :class:`HookFailed` when it can't be had."""
        try:
            self._run("set", name, value)
            yield
        finally:
            try:
                self._run("clear", name, value)
            except HookFailed as error:
                log.warning("%s", error)

    def _run(self, action: str, name: str, value: str) -> None:
        call = f"the DNS hook {self._command[0]} {action} {name}"
        try:
            process = subprocess.Popen(
                [*self._command, action, name, value], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise HookFailed(f"{call} can't be started: {error.strerror}") from None
        try:
            output, _ = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise HookFailed(f"{call} does not end within {self._timeout:g} s") from None
        text = printable(output[-_MAX_OUTPUT:].decode("utf-8", "replace").strip())
        if text:
            log.info("%s: %s", call, text)
        if process.returncode:
            raise HookFailed(f"{call} ends with {process.returncode}: {text[-200:] or 'it printed nothing'}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
