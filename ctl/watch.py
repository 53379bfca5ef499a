"""``--watch``: the same thing again every two seconds, redrawn in place on a terminal, one below the other in a pipe.

A frame is written at once and over the last one, line by line, so that nothing flickers.  It is drawn on the
terminal's second screen; at the end the first is back, with the last frame on it.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastroute.ctl.errors import CtlError
from fastroute.ctl.settings import CtlSettings
from fastroute.ctl.show import console
from fastroute.ctl.terminal import safe, write_own

#: Seconds between two frames.
REDRAW_INTERVAL = 2.0
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def watched(settings: CtlSettings, once: Callable[[], int]) -> int:
    """``once()``, and with --watch again and again until interrupted; returns the exit code."""
    if not settings.watch:
        return once()
    if not console().is_terminal or settings.format in ("json", "yaml", "name"):
        return _append(once)
    with second_screen() as draw:
        while True:
            draw(_frame(settings, once))
            time.sleep(REDRAW_INTERVAL)


def _append(once: Callable[[], int]) -> int:
    while True:
        try:
            once()
        except CtlError as error:
            print(f"fastroute-ctl: {error}", file=sys.stderr)
        sys.stdout.flush()
        time.sleep(REDRAW_INTERVAL)


def _frame(settings: CtlSettings, once: Callable[[], int]) -> str:
    painted: list[str] = []
    settings.paint = painted.append
    try:
        once()
    except CtlError as error:
        painted.append(safe(f"fastroute-ctl: {error}\n"))
    finally:
        settings.paint = None
    return "".join(painted)


def fitted(frame: str, lines: int) -> list[str]:
    """The lines of ``frame``; where the screen has too few, the last one says how many are missing."""
    rows = frame.splitlines()
    if len(rows) <= lines:
        return rows
    room = max(lines - 1, 0)
    return [*rows[:room], f"... {len(rows) - room} more lines"]


@contextmanager
def second_screen() -> Iterator[Callable[[str], None]]:
    """What draws one frame over the last, as long as the block runs."""
    last = ""

    def draw(frame: str) -> None:
        nonlocal last
        last = frame
        visible = fitted(frame, shutil.get_terminal_size().lines - 1)
        body = "".join(f"{line}{_REST_OF_LINE}\n" for line in visible)
        write_own(f"{_HOME}{body}{_REST_OF_SCREEN}")
        sys.stdout.flush()

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    write_own(_ENTER)
    try:
        yield draw
    finally:
        signal.signal(signal.SIGTERM, before)
        write_own(f"{_LEAVE}{last}")
        sys.stdout.flush()
