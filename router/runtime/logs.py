"""Log lines on standard error: ``text`` for people, ``json`` for machines.  Standard library only; the relay uses it.

* The message says everything by itself: text shows only it, and operators grep for it.  Fields given as ``extra``
  go into JSON beside it.
* One line per record and one ``write`` per line, so that processes that share standard error don't mix theirs.
* What came from the network can't forge a line: control characters are escaped.
* A warning about what others do passes :class:`RateLimit` first, or :class:`KindLimit` where they may be many.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Hashable
from typing import TextIO

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(log_format: str | None, level: str, stream: TextIO | None = None) -> None:
    """Send all logging to ``stream`` (None: standard error).  ``log_format`` None: text on a terminal, else json."""
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    as_text = log_format == "text" or (log_format is None and target.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # A log that can't be written must neither stop the program nor print tracebacks into itself.
    logging.raiseExceptions = False


def get_logger(name: str) -> logging.Logger:
    """The logger of one room; ``name`` is its ``__name__``."""
    return logging.getLogger(name)


def timestamp(seconds: float) -> str:
    """``seconds`` since the epoch in RFC 3339, UTC, with milliseconds."""
    milliseconds = int(seconds * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z info message``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback is folded into it."""
        text = record.getMessage()
        if record.exc_info:
            text += f" | {self.formatException(record.exc_info)}"
        return f"{timestamp(record.created)} {record.levelname.lower()} {printable(text)}"


class JsonFormatter(logging.Formatter):
    """One object a line: ``ts``, ``level``, ``msg``, ``logger``, and the fields given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, object] = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            "logger": record.name,
        }
        for name, value in vars(record).items():
            if name not in _STANDARD_FIELDS:
                line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def printable(text: str) -> str:
    """``text`` with everything that could end a line, or steer a terminal, escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class RateLimit:
    """Lets a repeated warning through once per ``interval`` seconds, and knows how many were held back.

    Remembers at most ``size`` different things; the oldest is forgotten first, so that a flood of new ones costs no
    memory (each may then be logged again a little early).
    """

    def __init__(self, interval: float = 10.0, size: int = 1024) -> None:
        self._interval = interval
        self._size = size
        #: When each was logged last, and how often it was held back since.
        self._logged: dict[Hashable, tuple[float, int]] = {}

    def allow(self, what: Hashable, now: float) -> int | None:
        """How often ``what`` was held back since it was last logged (0: not at all), or None: hold it back now too."""
        logged_at, held = self._logged.get(what, (now - self._interval, 0))
        if now - logged_at < self._interval:
            self._logged[what] = (logged_at, held + 1)
            return None
        self._logged.pop(what, None)
        if len(self._logged) >= self._size:
            del self._logged[next(iter(self._logged))]
        self._logged[what] = (now, 0)
        return held


class KindLimit:
    """For warnings that strangers cause: once per ``interval`` for each ``who``, and for all of them together at most
    ``lines`` of one kind in that time.  Otherwise a flood from many forged senders is a line for each of them.

    Kinds must be few and ours: what is remembered of them is never forgotten.
    """

    def __init__(self, interval: float, lines: int, size: int = 1024) -> None:
        self._interval, self._lines = interval, lines
        self._each = RateLimit(interval, size)
        #: Kind -> when its interval began, lines logged in it, held back since the last one.
        self._kinds: dict[str, tuple[float, int, int]] = {}

    def allow(self, kind: str, who: Hashable, now: float) -> int | None:
        """How many of ``kind`` were held back since one was last logged, or None: hold it back now too."""
        began, lines, held = self._kinds.get(kind, (now, 0, 0))
        if now - began >= self._interval:
            began, lines = now, 0
        if lines >= self._lines or self._each.allow((who, kind), now) is None:
            self._kinds[kind] = began, lines, held + 1
            return None
        self._kinds[kind] = began, lines + 1, 0
        return held

    def last(self, kind: str) -> bool:
        """True when all the lines of ``kind`` for this interval were logged."""
        return self._kinds.get(kind, (0.0, 0, 0))[1] >= self._lines
