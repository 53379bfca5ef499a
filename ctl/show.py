"""Showing: one object as JSON, YAML, names or a table.  An edge: the only place that prints results.

Tables have no frames, so that they can be cut by columns; on a terminal they fit its width, in a pipe nothing is cut.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fastroute.ctl.errors import CtlError
from fastroute.ctl.settings import Settings

#: Seconds between two looks of --watch.
WATCH = 2.0
_PIPE_WIDTH = 10_000

_STYLES = {
    "ready": "green", "draining": "yellow", "stale": "yellow", "pending": "yellow", "probing": "yellow",
    "paused": "yellow", "ejected": "red", "unhealthy": "red", "error": "red", "stopped": "dim", "disabled": "dim",
}  # fmt: skip


def console() -> Console:
    """Standard output.  NO_COLOR is respected, and a pipe gets neither colour nor line breaks."""
    out = Console(file=sys.stdout, highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(file=sys.stdout, highlight=False, width=_PIPE_WIDTH)


def state(name: str) -> Text:
    """A state, in its colour."""
    return Text(name, _STYLES.get(name, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table without frames; what is no ``Text`` is shown as it is, without markup."""
    found = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        number = name in ("WEIGHT", "REQUESTS", "IN FLIGHT", "FAILURES", "TX", "RX", "BACKUP")
        found.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return found


def show(settings: Settings, found: dict[str, Any], tables: Callable[[bool], Iterable[RenderableType]],
         names: Iterable[str]) -> None:  # fmt: skip
    """Print ``found`` in the format asked for; ``tables(wide)`` makes what people see."""
    if settings.format == "json":
        print(json.dumps(found, indent=2))
    elif settings.format == "yaml":
        print(yaml.safe_dump(found, sort_keys=False), end="")
    elif settings.format == "name":
        print("".join(f"{name}\n" for name in names), end="")
    else:
        out = console()
        with nullcontext() if out.is_terminal else out.capture() as captured:
            for one in tables(settings.format == "wide"):
                out.print(one)
        if captured is not None:
            print("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()), end="")


def watched(settings: Settings, once: Callable[[], int]) -> int:
    """``once()``, and with --watch again and again until interrupted; returns the exit code."""
    if not settings.watch:
        return once()
    out = console()
    while True:
        try:
            if out.is_terminal:
                out.clear()
            once()
        except CtlError as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            return 0
        sys.stdout.flush()
        try:
            time.sleep(WATCH)
        except KeyboardInterrupt:
            return 0


def age(moment: str | None) -> str:
    """How long ago ``moment`` (RFC 3339) was: ``3s``, ``5m``, ``2h``, ``4d``; ``-`` when never."""
    if not moment:
        return "-"
    try:
        then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return moment
    return duration((datetime.now(UTC) - then).total_seconds())


def duration(seconds: float) -> str:
    """``seconds`` in the largest unit of which there are at least two (or one of seconds)."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"


def size(number: int) -> str:
    """Bytes, in a unit that people read."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
