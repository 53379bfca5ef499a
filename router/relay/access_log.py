"""The access log of one relay: lines gathered and written a buffer at a time.  Several relays append to one file.

* A request never waits for its log.  A regular file is appended to in one call; what may not take all at once (a pipe,
  a terminal, a socket) is asked first and gets no more than it takes whole, so lines never mix.
* What cannot be written stops nothing: lines are counted as lost, that is said once, and said again when it is over.
* A line that a full disk cut in two is ended before the next one begins.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from typing import Final

from fastroute.router.relay.access_line import MAX_LINE, AccessRecord, json_line, queue_time, text_line
from fastroute.router.runtime.own_files import open_log

#: Bytes of lines that are written without waiting for the next flush.
FLUSH_SIZE: Final = 32_768
#: Requests whose lines are made in one go: well under 0.1 ms, and few enough to stay in the cache.
RECORDS_PER_BATCH: Final = 16
#: Bytes that wait for a reader that does not read, at most; what comes then is lost.
MAX_UNWRITTEN: Final = 1 << 20
#: Seconds between attempts to open a file that could not be opened.
OPEN_RETRY_INTERVAL: Final = 1.0

STANDARD_OUTPUT: Final = "-"


class AccessLog:
    """Writes the lines of one relay.

    * ``path`` is a file, or ``-`` for standard output.
    * ``log_format`` is text, json, or None (text on a terminal, else json).
    * ``warn`` logs what goes wrong.
    """

    def __init__(self, path: str, log_format: str | None, warn: Callable[[str], None], now: float) -> None:
        self._path = path
        self._warn = warn
        self._fd = -1
        self._regular = True
        self._opened_at = now - OPEN_RETRY_INTERVAL
        self._ended: list[AccessRecord] = []
        self._lines: list[bytes] = []
        self._size = 0
        self._unwritten = b""
        self._lost = 0
        self._line_cut = False
        self._problem = ""
        self._offset = time.time() - now
        self._second = -1
        self._stamp = b""
        self._open(now)
        self._text = log_format == "text" or (log_format is None and self._fd >= 0 and os.isatty(self._fd))

    @property
    def waiting(self) -> bool:
        """True while there are lines to write."""
        return bool(self._ended or self._lines or self._unwritten)

    def add(self, record: AccessRecord, now: float) -> None:
        """One more request has ended."""
        self._ended.append(record)
        if len(self._ended) >= RECORDS_PER_BATCH:
            self._compose()
            if self._size >= FLUSH_SIZE:
                self.flush(now)

    def _compose(self) -> None:
        """The lines of all that ended; in one go, while this code is in the processor's cache."""
        for record in self._ended:
            line = self._line(record)
            self._lines.append(line)
            self._size += len(line)
        self._ended.clear()

    def _line(self, record: AccessRecord) -> bytes:
        wall = record.ended + self._offset
        second = int(wall)
        if second != self._second:
            self._second = second
            form = "%d/%b/%Y:%H:%M:%S %z" if self._text else "%Y-%m-%dT%H:%M:%S"
            self._stamp = time.strftime(form, (time.localtime if self._text else time.gmtime)(self._second)).encode()
        queue = queue_time(record, self._offset)
        if self._text:
            return text_line(record, self._stamp, queue)
        return json_line(record, b"%b.%03dZ" % (self._stamp, wall % 1 * 1000), queue)

    def flush(self, now: float) -> None:
        """Write what there is, as far as it is taken."""
        self._compose()
        self._offset = time.time() - now
        if self._lines:
            data = b"".join(self._lines)
            self._lines.clear()
            self._size = 0
            if len(self._unwritten) + len(data) > MAX_UNWRITTEN:
                self._lose(data, "its reader is too slow")
            else:
                self._unwritten += data
        if self._unwritten:
            self._write(now)

    def reopen(self, now: float) -> None:
        """The file was renamed: go on in a new one.  The old one is kept when that fails."""
        self.flush(now)
        if self._path == STANDARD_OUTPUT:
            return
        old, self._fd = self._fd, -1
        self._open(now)
        if self._fd < 0:
            self._fd = old
        elif old >= 0:
            os.close(old)
            self._line_cut = False

    def _open(self, now: float) -> None:
        self._opened_at = now
        if self._path == STANDARD_OUTPUT:
            self._fd = sys.__stdout__.fileno() if sys.__stdout__ is not None else -1
        else:
            try:
                self._fd = open_log(self._path, os.O_NONBLOCK | os.O_NOCTTY)
            except OSError as error:
                self._report_problem(error.strerror or str(error))
                return
        if self._fd >= 0:
            self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def _write(self, now: float) -> None:
        if self._fd < 0 and now - self._opened_at >= OPEN_RETRY_INTERVAL:
            self._open(now)
        if self._fd < 0:
            self._lose(self._unwritten, self._problem)
            self._unwritten = b""
        elif self._regular:
            self._append()
        else:
            self._write_lines()

    def _append(self) -> None:
        data, self._unwritten = self._unwritten, b""
        if self._line_cut:
            data = b"\n" + data
        try:
            taken = os.write(self._fd, data)
        except OSError as error:
            self._lose(data[self._line_cut :], error.strerror or str(error))
            return
        self._line_cut = data[taken - 1] != 10
        if taken < len(data):
            self._lose(data[taken:], os.strerror(errno.ENOSPC))
        else:
            self._report_recovery()

    def _write_lines(self) -> None:
        """Whole lines, ``MAX_LINE`` bytes at most in one call: a pipe that is ready takes these at once."""
        ready = select.poll()
        ready.register(self._fd, select.POLLOUT)
        data, at = self._unwritten, 0
        try:
            while at < len(data) and ready.poll(0):
                piece = data[at : at + MAX_LINE]
                at += os.write(self._fd, piece[: piece.rfind(b"\n") + 1] or piece)
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(data[at:], error.strerror or str(error))
            self._unwritten = b""
            return
        self._unwritten = data[at:]
        if not self._unwritten:
            self._report_recovery()

    def _lose(self, data: bytes, reason: str) -> None:
        self._lost += data.count(b"\n")
        self._report_problem(reason)

    def _report_problem(self, reason: str) -> None:
        if not self._problem:
            self._problem = reason
            self._warn(f"access log {self._path}: {reason}; requests are served, their lines are lost for now")

    def _report_recovery(self) -> None:
        if self._problem:
            self._problem = ""
            self._warn(f"access log {self._path}: is written again; {self._lost} lines were lost")
            self._lost = 0
