"""What can go wrong, as exit codes (docs/reference/ctl.md).  Each text is one line, and says what to do about it."""

from __future__ import annotations

DONE, FAILED, USAGE, UNREACHABLE, DEGRADED, DOWN, TIMED_OUT = range(7)
#: HTTP's: nobody knows the thing, or the verb.
NOT_THERE = (404, 405)


class CtlError(Exception):
    """The verb could not do what it was asked for.  ``exit_code`` is the program's."""

    exit_code = FAILED


class Unreachable(CtlError):
    """Who was to be asked does not answer."""

    exit_code = UNREACHABLE


class Answered(CtlError):
    """Who was asked says no; ``status`` is that of HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status
