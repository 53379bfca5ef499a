"""Showing: one object as JSON, YAML, names or a table.  An edge: the only place that prints results.

Tables have no frames, so that they can be cut by columns; on a terminal they fit its width, in a pipe nothing is cut.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import yaml
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fastroute.ctl.settings import CtlSettings
from fastroute.ctl.terminal import safe, write_own
from fastroute.router.runtime.logs import printable

_PIPE_WIDTH = 10_000

_STYLES = {
    "ready": "green", "draining": "yellow", "stale": "yellow", "pending": "yellow", "probing": "yellow",
    "paused": "yellow", "maintenance": "yellow",
    "ejected": "red", "unhealthy": "red", "error": "red", "stopped": "dim", "disabled": "dim",
    "valid": "green", "renewing": "green", "asking": "yellow", "self-signed": "yellow", "failed": "red",
}  # fmt: skip
_NUMBERS = (
    "WEIGHT",
    "REQUESTS",
    "RUNNING",
    "FAILED",
    "TX",
    "RX",
    "BACKUP",
    "LINE",
    "WAITING",
    "MAX",
    "RATE/S",
    "5XX/S",
    "P50 MS",
    "P95 MS",
)
_PROSE = ("CONTAINER", "MESSAGE", "REASON", "ROUTES", "WHY", "PROBLEM", "VALUE", "ORIGIN")


def console() -> Console:
    """Standard output.  NO_COLOR is respected, and a pipe gets neither colour nor line breaks."""
    out = Console(file=sys.stdout, highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(file=sys.stdout, highlight=False, width=_PIPE_WIDTH)


def state(name: str) -> Text:
    """A state, in its colour."""
    return Text(name, _STYLES.get(name, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table without frames; what is no ``Text`` is shown as it is, without markup.

    Where there is no room, prose and the names of containers are folded; numbers and addresses are not.
    """
    grid = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        justify: Literal["right", "left"] = "right" if name in _NUMBERS else "left"
        grid.add_column(name, justify=justify, overflow="fold", no_wrap=name not in _PROSE)
    for row in rows:
        grid.add_row(*(_escaped(cell if isinstance(cell, Text) else Text(str(cell))) for cell in row))
    return grid


def _escaped(text: Text) -> Text:
    """``text`` with what is not printable escaped, line ends too: before rich counts its columns."""
    if not text.plain.isprintable():
        text.plain = printable(text.plain)
    return text


def show(settings: CtlSettings, result: dict[str, Any], tables: Callable[[bool], Iterable[RenderableType]],
         names: Iterable[str]) -> None:  # fmt: skip
    """Print ``result`` in the format asked for; ``tables(wide)`` makes what people see."""
    if settings.format == "json":
        print(as_json(result, indent=2))
    elif settings.format == "yaml":
        print(yaml.safe_dump(result, sort_keys=False), end="")
    elif settings.format == "name":
        print("".join(f"{printable(name)}\n" for name in names), end="")
    else:
        wide = settings.format == "wide"
        (settings.paint or write_own)(drawn(tables(wide), wide))


def as_json(result: object, indent: int | None = None) -> str:
    """``result`` as JSON in printable ASCII: nothing of it has to be escaped once more, which would break it."""
    return json.dumps(result, indent=indent).replace("\x7f", "\\u007f")


def remark(settings: CtlSettings, text: str) -> None:
    """Something beside the result, for people: on standard error, or under the tables that --watch draws."""
    line = safe(f"fastroute-ctl: {text}\n")
    (settings.paint or sys.stderr.write)(line)


def drawn(tables: Iterable[RenderableType], wide: bool = False) -> str:
    """The text of ``tables`` for standard output: nothing in it that a terminal would obey, but for our own colours.

    ``wide``: as wide as they are, whatever room the terminal has."""
    out = console()
    if wide:
        out.width = _PIPE_WIDTH
    with out.capture() as captured:
        for part in tables:
            out.print(_escaped(part) if isinstance(part, Text) else part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def age(moment: str | None) -> str:
    """How long ago ``moment`` (RFC 3339) was: ``3s``, ``5m``, ``2h``, ``4d``; ``-`` when never."""
    if not moment:
        return "-"
    try:
        then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return moment
    return duration((datetime.now(UTC) - then).total_seconds())


def left(moment: str | None) -> str:
    """How long it is to ``moment`` (RFC 3339), as :func:`age`; empty: there is no such moment."""
    if not moment:
        return ""
    try:
        then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return moment
    return duration((then - datetime.now(UTC)).total_seconds())


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
