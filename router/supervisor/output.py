"""Logs what workers print, line by line.  One edge; bounded memory, whatever they print."""

from __future__ import annotations

import contextlib
import logging
import os
import select

#: Longer lines are cut into pieces.
MAX_LINE = 8192
_READ_SIZE = 65_536

log = logging.getLogger("fastroute.worker")


class WorkerOutput:
    """Standard output and error of one process, in one pipe."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: The start of a line whose end has not come yet.
        self._rest = b""
        self.fd, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.fd, False)

    def read(self) -> bool:
        """Log the lines that have come; False at the end of the pipe."""
        try:
            data = os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= MAX_LINE:
            lines.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        if not data and self._rest:
            lines.append(self._rest)
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            if text:
                log.info("%s: %s", self.name, text, extra={"worker": self.name})
        return bool(data)

    def started(self) -> None:
        """The process has inherited the write end: close ours."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """The process has ended: log what is left in the pipe."""
        self.started()
        with contextlib.suppress(OSError):
            while self.read() and self._more():
                pass
        os.close(self.fd)

    def _more(self) -> bool:
        return bool(select.select([self.fd], [], [], 0)[0])
